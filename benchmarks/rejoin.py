"""
Until a router that was away for 10 minutes has its clients back: `BaseClientFactory` against
Twisted's ReconnectingClientFactory as documented, with its delays set to the same 1 s and 60 s.

`CLIENTS` of each wait for the same real router in one process; all losses and the return are the
same moments for both. What it costs is counted beside it: WebSocket handshakes, and connections
that were tried (ours: attempts and bare looks whether the port answers).
"""

from __future__ import annotations

import socket
import threading
import time
from statistics import median
from typing import Any

from autobahn.twisted.wamp import ApplicationSessionFactory
from autobahn.twisted.websocket import WampWebSocketClientFactory, connectWS
from autobahn.wamp.serializer import MsgPackSerializer
from autobahn.wamp.types import ComponentConfig
from twisted.internet.protocol import ReconnectingClientFactory

from benchmarks.table import Row
from benchmarks.wamp import PDID, Bare, Ours, in_reactor, router
from paradrop.base import settings, tls

AWAY = 600
"""Seconds."""

CLIENTS = 50


class Count:
    """What one side did since `begin`."""

    def __init__(self) -> None:
        self.joined: list[float] = []
        self.handshakes = 0
        self.tried = 0

    def begin(self) -> None:
        self.__init__()  # type: ignore[misc]


class Theirs(Bare):
    def onJoin(self, details: Any) -> None:
        self.config.extra["count"].joined.append(time.monotonic())
        self.config.extra["client"].resetDelay()


class Documented(WampWebSocketClientFactory, ReconnectingClientFactory):
    initialDelay = delay = 1
    maxDelay = 60
    noisy = False
    count: Count

    def startedConnecting(self, connector: Any) -> None:
        self.count.tried += 1

    def buildProtocol(self, addr: Any) -> Any:
        self.count.handshakes += 1
        return super().buildProtocol(addr)

    def clientConnectionFailed(self, connector: Any, reason: Any) -> None:
        self.retry(connector)  # type: ignore[no-untyped-call]

    def clientConnectionLost(self, connector: Any, reason: Any) -> None:
        self.retry(connector)  # type: ignore[no-untyped-call]


def _start_theirs(url: str, token: str, count: Count) -> Documented:
    extra: dict[str, Any] = {"token": token, "count": count}
    sessions: Any = ApplicationSessionFactory(ComponentConfig(realm="paradrop", extra=extra))
    sessions.session = Theirs
    client = Documented(  # type: ignore[no-untyped-call]
        sessions, url=url, serializers=[MsgPackSerializer()]
    )
    client.count, extra["client"] = count, client
    connectWS(client, tls.client_options(client.host))
    return client


def _start_ours(url: str, token: str, count: Count) -> Any:
    client = Ours.start(url, PDID, extra=token).client
    assert client is not None

    def changed(was: Any, now: str, why: str) -> None:
        if now == "ready":
            count.joined.append(time.monotonic())

    client.observe(changed)
    return client


def _wait(count: Count, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while len(count.joined) < CLIENTS:
        if time.monotonic() > deadline:
            raise TimeoutError(f"{len(count.joined)} of {CLIENTS} joined within {seconds:g} s")
        time.sleep(0.05)


def _answers(port: int, found: list[float]) -> None:
    """Note when somebody listens on a port."""
    while True:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                found.append(time.monotonic())
                return
        time.sleep(0.02)


def run() -> list[Row]:
    """@return: the time to the rejoin, and what it costs."""
    mine, others = Count(), Count()
    with router() as (node, token):
        settings.WAMP_PING_TIMEOUT = 60  # a hundred clients of one process share two cores
        url = node.url()
        ours = [in_reactor(_start_ours, url, token, mine) for _ in range(CLIENTS)]
        theirs = [in_reactor(_start_theirs, url, token, others) for _ in range(CLIENTS)]
        _wait(mine, 120)
        _wait(others, 120)
        time.sleep(12)  # so that these sessions have lasted
        node.stop()
        mine.begin()
        others.begin()
        before = [(client.handshakes, client.looks) for client in ours]
        time.sleep(AWAY)
        retries = [client.retries for client in ours]
        back: list[float] = []
        watcher = threading.Thread(target=_answers, args=(node.tls_port, back), daemon=True)
        watcher.start()
        node.start()
        watcher.join(30)
        _wait(mine, 200)
        _wait(others, 200)
        mine.handshakes = sum(
            client.handshakes - then for client, (then, _) in zip(ours, before, strict=True)
        )
        looks = sum(client.looks - then for client, (_, then) in zip(ours, before, strict=True))
        mine.tried = sum(retries) + looks
        for client in theirs:
            in_reactor(client.stopTrying)
        in_reactor(lambda: [client.goodbye() for client in ours] and None)
    own = median(joined - back[0] for joined in mine.joined)
    other = median(joined - back[0] for joined in others.joined)
    against = "ReconnectingClientFactory"
    return [
        Row(f"rejoin after {AWAY / 60:g} min away", own, other, "s", other / own, 3, against),
        Row(
            "WebSocket handshakes for it",
            mine.handshakes / CLIENTS,
            others.handshakes / CLIENTS,
            "each",
            others.handshakes / mine.handshakes,
            1,
            against,
        ),
        Row(
            "connections tried meanwhile",
            mine.tried / CLIENTS,
            others.tried / CLIENTS,
            "each",
            others.tried / mine.tried,
            None,
            against,
        ),
    ]
