"""
Connecting to a host by whichever of its addresses answers first, of either family.

Twisted's `connectTCP` and `connectSSL` know one IPv4 address of a name. Its endpoints know all of
them, but do not tell a `ReconnectingClientFactory` what it needs to hear.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable
from itertools import zip_longest
from typing import Any, cast

from twisted.internet.abstract import isIPAddress, isIPv6Address
from twisted.internet.address import HostnameAddress, IPv4Address, IPv6Address
from twisted.internet.error import (
    ConnectError,
    DNSLookupError,
    NotConnectingError,
    TimeoutError,
    UserError,
)
from twisted.internet.interfaces import IConnector, IResolutionReceiver
from twisted.internet.protocol import ClientFactory
from twisted.python.failure import Failure
from zope.interface import implementer  # type: ignore[import-untyped]


class NoAnswer(ConnectError):
    """None of a host's addresses could be connected to; the text says why for each."""

    def __init__(self, text: str) -> None:
        super().__init__(string=text)  # type: ignore[no-untyped-call]

    def __str__(self) -> str:
        return str(self.args[0])


class NotInTime(NoAnswer, TimeoutError):
    """No address of a host answered within the time limit."""


@implementer(IConnector)
class Connector:
    """
    Connects a client factory to a host, as Twisted's connectors do: the factory hears of the
    beginning, the failure and the loss of every connection, and may say `connect` again.

    The addresses of a name are tried in the resolver's order with the families taking turns, the
    next one as soon as the one before has failed or has not answered for `AHEAD` seconds. The first
    that answers is taken ("Happy Eyeballs", RFC 8305).

    @param timeout: seconds for all of it, the lookup of the name included.
    @param tls: called at each attempt; gives how to speak TLS
        (`IOpenSSLClientConnectionCreator`). What it raises is the failure of that attempt.
    @ivar host: a name, or an address without brackets.
    @ivar state: `disconnected`, `connecting` or `connected`.
    """

    AHEAD = 0.25

    def __init__(
        self,
        factory: Any,
        host: str,
        port: int,
        timeout: float,
        reactor: Any,
        tls: Callable[[], Any] | None = None,
    ) -> None:
        self.factory = factory
        self.host = host
        self.port = port
        self.timeout = timeout
        self.reactor = reactor
        self.tls = tls
        self.state = "disconnected"
        self._attempt: _Attempt | None = None
        self._timer: Any = None
        self._started = False

    def connect(self) -> None:
        """@raise RuntimeError: it is connecting or connected."""
        if self.state != "disconnected":
            raise RuntimeError(f"can't connect while {self.state}")
        self.state = "connecting"
        if not self._started:
            self._started = True
            self.factory.doStart()
        self._timer = self.reactor.callLater(self.timeout, self._time_out)
        self.factory.startedConnecting(self)
        if self.state != "connecting":  # the factory has thought better of it
            return
        try:
            options = self.tls() if self.tls is not None else None
        except Exception as error:
            self._failed(error)
        else:
            self._attempt = _Attempt(self, options)
            self._attempt.begin()

    def stopConnecting(self) -> None:
        """@raise NotConnectingError: there is no attempt to stop."""
        if self.state != "connecting":
            raise NotConnectingError("we're not trying to connect")
        self._failed(UserError())

    def disconnect(self) -> None:
        """Stop the attempt, or close the connection."""
        if self.state == "connecting":
            self.stopConnecting()
        elif self._attempt is not None:
            self._attempt.disconnect()

    def getDestination(self) -> IPv4Address | IPv6Address | HostnameAddress:
        """The address of the URL, which may be a name."""
        if isIPAddress(self.host):
            return IPv4Address("TCP", self.host, self.port)
        if isIPv6Address(self.host):
            return IPv6Address("TCP", self.host, self.port)
        return HostnameAddress(self.host.encode(), self.port)

    def answered(self, address: Any) -> Any:
        """@return: the protocol for the connection to this address."""
        self.state = "connected"
        self._end_timer()
        return self.factory.buildProtocol(address)

    def lost(self, reason: Failure) -> None:
        self._ended(self.factory.clientConnectionLost, reason)

    def failed(self, error: BaseException) -> None:
        """No address of the host answered."""
        self._failed(error)

    def _failed(self, error: BaseException) -> None:
        self._ended(self.factory.clientConnectionFailed, Failure(error))

    def _time_out(self) -> None:
        what = self._attempt.unanswered() if self._attempt is not None else self.host
        self._failed(NotInTime(f"{what} within {self.timeout:g} s"))

    def _ended(self, tell: Callable[[Any, Failure], object], reason: Failure) -> None:
        self._end_timer()
        attempt, self._attempt = self._attempt, None
        if attempt is not None:
            attempt.stop()
        self.state = "disconnected"
        tell(self, reason)
        if self.state == "disconnected" and self._started:
            self._started = False
            self.factory.doStop()

    def _end_timer(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None


@implementer(IResolutionReceiver)
class _Attempt:
    """One attempt of a connector: the addresses of its host, raced until one answers."""

    def __init__(self, connector: Connector, options: Any) -> None:
        self._connector = connector
        self._reactor = connector.reactor
        self._port = connector.port
        self._options = options
        self._resolved = False
        self._found: list[Any] = []
        self._waiting: deque[str] = deque()
        self._racing: dict[str, Any] = {}  # Twisted's connector for each address
        self._failures: dict[str, BaseException] = {}
        self._winner: Any = None
        self._over = False
        self._timer: Any = None

    def begin(self) -> None:
        host = self._connector.host
        if isIPAddress(host) or isIPv6Address(host):
            self._race([host])
        else:
            self._reactor.nameResolver.resolveHostName(self, host, portNumber=self._port)

    def resolutionBegan(self, resolutionInProgress: Any) -> None:
        pass  # Twisted's own resolver can't be cancelled

    def addressResolved(self, address: Any) -> None:
        self._found.append(address)

    def resolutionComplete(self) -> None:
        if self._over:
            return
        addresses = [address.host for address in _taking_turns(self._found)]
        if addresses:
            self._race(addresses)
        else:
            self._connector.failed(DNSLookupError(f"no address of {self._connector.host} is known"))

    def answered(self, host: str, address: Any) -> Any:
        self._winner = self._racing.pop(host)
        self.stop()
        return self._connector.answered(address)

    def lost(self, reason: Failure) -> None:
        self._connector.lost(reason)

    def failed(self, host: str, error: BaseException) -> None:
        if self._over:
            return
        del self._racing[host]
        self._failures[host] = error
        if self._waiting:
            self._next()
        elif not self._racing:
            several = len(self._failures) > 1
            self._connector.failed(NoAnswer(self._told()) if several else error)

    def unanswered(self) -> str:
        """What it has come to so far, where that is too late."""
        if not self._resolved:
            return f"no answer to the lookup of {self._connector.host}"
        silent = " and ".join(self._shown(host) for host in [*self._racing, *self._waiting])
        return "; ".join(filter(None, [self._told(), f"no answer from {silent}"]))

    def stop(self) -> None:
        """Give up all addresses but the one that has answered."""
        self._over = True
        self._end_timer()
        racing, self._racing = self._racing, {}
        for connector in racing.values():
            connector.stopConnecting()

    def disconnect(self) -> None:
        self._winner.disconnect()

    def _race(self, addresses: Iterable[str]) -> None:
        self._resolved = True
        self._waiting.extend(addresses)
        self._next()

    def _next(self) -> None:
        self._end_timer()
        host = self._waiting.popleft()
        if self._waiting:
            self._timer = self._reactor.callLater(self._connector.AHEAD, self._next)
        try:
            self._racing[host] = self._connect(host, _Address(self, host))
        except OSError as error:  # such as a zone that there is not
            self._racing[host] = None
            self.failed(host, NoAnswer(f"{host} can't be connected to: {error.strerror}"))

    def _connect(self, host: str, factory: _Address) -> Any:
        if self._options is None:
            return self._reactor.connectTCP(host, self._port, factory, None)
        return self._reactor.connectSSL(host, self._port, factory, self._options, None)

    def _end_timer(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None

    def _told(self) -> str:
        return "; ".join(
            f"{self._shown(host)}: {_short(error)}" for host, error in self._failures.items()
        )

    def _shown(self, host: str) -> str:
        return f"{bracketed(host)}:{self._port}"


class _Address(ClientFactory):
    """Tells an attempt what became of one of its addresses."""

    noisy = False

    def __init__(self, attempt: _Attempt, host: str) -> None:
        self._attempt = attempt
        self._host = host

    def buildProtocol(self, addr: Any) -> Any:
        return self._attempt.answered(self._host, addr)

    def clientConnectionFailed(self, connector: Any, reason: Failure) -> None:
        self._attempt.failed(self._host, cast(BaseException, reason.value))

    def clientConnectionLost(self, connector: Any, reason: Failure) -> None:
        self._attempt.lost(reason)


def bracketed(host: str) -> str:
    """A host as it stands before a port (RFC 3986, 3.2.2). The zone of an address is left out: it
    means something on this machine only (RFC 6874, 4)."""
    return f"[{without_zone(host)}]" if isIPv6Address(host) else host


def without_zone(host: str) -> str:
    return host.partition("%")[0] if isIPv6Address(host) else host


def _taking_turns(found: list[Any]) -> list[Any]:
    """Addresses of both families in turn, beginning with the family of the first one."""
    known = list({address.host: address for address in found}.values())
    first = [address for address in known if type(address) is type(known[0])]
    others = [address for address in known if type(address) is not type(known[0])]
    turns = zip_longest(first, others)
    return [address for turn in turns for address in turn if address is not None]


def _short(error: BaseException) -> str:
    code = getattr(error, "osError", None)
    return os.strerror(code) if isinstance(code, int) else str(error)
