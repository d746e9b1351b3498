"""Devices of the tests, which join a real router."""

from __future__ import annotations

import itertools
from typing import Any

from twisted.internet.defer import Deferred, gatherResults, maybeDeferred

from harness.node import Node
from paradrop.base.cxbr import BaseSession
from paradrop.daemon.session import sign

numbers = itertools.count()


class Device(BaseSession):
    """As existing callers write them: every callback overridden, none of the base's called."""

    def onConnect(self) -> None:
        self.extra["made"].append(self)
        self.join(self.config.realm, ["wampcra"], self.pdid)

    def onChallenge(self, challenge: Any) -> Any:
        return sign(challenge, self.extra["token"])

    def onJoin(self, details: Any) -> Any:
        self.extra.get("before", lambda: None)()
        made = maybeDeferred(self.extra.get("during", lambda session: None), self)
        joined = made.addCallback(lambda _: BaseSession.onJoin(self, details))
        self.extra.get("after", lambda: None)()
        return joined

    def onLeave(self, details: Any) -> None:
        self.extra.get("left", lambda: None)()

    def onDisconnect(self) -> None:
        pass


class Devices:
    """Starts sessions of devices of their own; leaves them all at the end."""

    def __init__(self, node: Node, reactor: Any) -> None:
        self.node = node
        self.reactor = reactor
        self.begun: list[Deferred[Any]] = []
        self.sessions: list[BaseSession] = []

    def begin(
        self, url: str | None = None, token: str | None = None, reconnect: bool = True, **extra: Any
    ) -> Any:
        pdid = f"cxbr-{next(numbers)}"
        token = token or self.node.enroll(pdid)
        return self.reactor.begin(
            self._start, url or self.node.url(), pdid, {"token": token, **extra}, reconnect
        )

    def _start(self, url: str, pdid: str, extra: Any, reconnect: bool) -> Deferred[Any]:
        kind = extra.get("kind", Device)
        started: Deferred[Any] = kind.start(
            url, pdid, extra=extra | {"made": self.sessions}, reconnect=reconnect
        )
        self.begun.append(started)
        return started

    def join(self, url: str | None = None, **extra: Any) -> Any:
        return self.begin(url, **extra).wait(20)

    def leave_all(self) -> Deferred[Any]:
        for started in self.begun:
            started.addErrback(lambda _: None)
            started.cancel()
        return gatherResults([session.leave() for session in self.sessions])


def drop(session: BaseSession) -> None:
    """Lose its TCP connection without a word."""
    session._transport.transport.abortConnection()
