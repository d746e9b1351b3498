"""A peer that joins a router as anybody would."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import crochet
from autobahn.twisted.wamp import ApplicationSession
from autobahn.twisted.websocket import WampWebSocketClientFactory, connectWS
from autobahn.wamp.auth import create_authenticator
from autobahn.wamp.serializer import JsonSerializer
from twisted.internet.defer import maybeDeferred
from twisted.internet.ssl import Certificate, optionsForClientTLS

crochet.setup()


class Refused(Exception):
    """The peer could not join; the reason as the router, or the network, gave it."""


class Peer:
    """A WAMP client that joins once; every method blocks."""

    def __init__(
        self, url: str, authid: str, secret: str, ca_pem: bytes | None = None, method: str = ""
    ) -> None:
        self.authid, self.secret = authid, secret
        self.methods = [method or "wampcra"]
        self.session: Any = None
        self.reason = ""
        self.settled, self.gone = threading.Event(), threading.Event()
        peer = self

        class Session(ApplicationSession):
            def onConnect(self) -> None:
                self.join("paradrop", peer.methods, peer.authid)

            def onChallenge(self, challenge: Any) -> str:
                return create_authenticator(
                    "wampcra", authid=peer.authid, secret=peer.secret
                ).on_challenge(self, challenge)

            def onJoin(self, details: Any) -> None:
                peer.session = self
                peer.id, peer.role = details.session, details.authrole
                peer.settled.set()

            def onLeave(self, details: Any) -> None:
                peer.reason = details.reason
                super().onLeave(details)

        class Factory(WampWebSocketClientFactory):
            def clientConnectionLost(self, connector: Any, reason: Any) -> None:
                peer.reason = peer.reason or f"connection lost: {reason.value}"
                peer.gone.set()
                peer.settled.set()

            clientConnectionFailed = clientConnectionLost

        @crochet.run_in_reactor
        def connect() -> Any:
            factory = Factory(Session, url=url, serializers=[JsonSerializer()])
            trust = Certificate.loadPEM(ca_pem) if ca_pem else None
            options = optionsForClientTLS(factory.host, trust) if factory.isSecure else None
            return connectWS(factory, options, timeout=10)

        self._connector = connect().wait(10)
        if not self.settled.wait(15):
            raise Refused("nothing happened")
        if self.session is None:
            raise Refused(self.reason)

    def run(self, method: str, *args: Any, **kwargs: Any) -> Any:
        """Call a method of the session and wait for its answer."""

        @crochet.run_in_reactor
        def ask() -> Any:
            return maybeDeferred(getattr(self.session, method), *args, **kwargs)

        return ask().wait(10)

    def serve(self, **procedures: Callable[..., Any]) -> None:
        """Register procedures as a device does, below `org.paradrop` and with its pdid."""
        for name, endpoint in procedures.items():
            self.run("register", endpoint, f"org.paradrop.{name}.{self.authid}")

    def leave(self) -> None:
        crochet.run_in_reactor(self._connector.disconnect)().wait(10)
        assert self.gone.wait(10)
