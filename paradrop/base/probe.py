"""A look whether somebody listens on a TCP port again, without a word to it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.protocol import ClientFactory, Protocol
from twisted.python.failure import Failure

from paradrop.base.connector import Connector


class _Look(Protocol):
    def connectionMade(self) -> None:
        transport: Any = self.transport
        transport.abortConnection()
        self.factory.answered()


class Probe(ClientFactory):
    """
    Connects to a port every `LEAST` to `MOST` seconds (at random, so that many devices do not do
    it together), hangs up at once, and calls back at the first connection; then it is over.

    A refused SYN costs a router that is down nothing; it is the handshakes of TLS, WebSocket and
    WAMP that have to be rare.

    @ivar looks: connections that were tried.
    """

    protocol = _Look
    noisy = False
    LEAST = 3.0
    MOST = 8.0
    TIMEOUT = 5.0

    def __init__(
        self, reactor: Any, host: str, port: int, random: Any, answered: Callable[[], object]
    ) -> None:
        self.reactor = reactor
        self.host = host
        self.port = port
        self.random = random
        self.looks = 0
        self._answered = answered
        self._timer: Any = None
        self._connector: Any = None

    def start(self) -> None:
        """Look for the first time after a while."""
        self._timer = self.reactor.callLater(self.random.uniform(self.LEAST, self.MOST), self._look)

    def stop(self) -> None:
        """Look no more; nobody is called back."""
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None
        connector, self._connector = self._connector, None
        if connector is not None:
            connector.disconnect()

    def answered(self) -> None:
        if self._connector is not None:
            self._connector = None
            self._answered()

    def clientConnectionFailed(self, connector: Any, reason: Failure) -> None:
        if self._connector is not None:
            self._connector = None
            self.start()

    def _look(self) -> None:
        self.looks += 1
        self._timer = None
        self._connector = Connector(self, self.host, self.port, self.TIMEOUT, self.reactor)
        self._connector.connect()
