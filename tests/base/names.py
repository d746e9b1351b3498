"""A resolver of the tests' own, where the reactor wants one: names mean what a test says."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.interfaces import IHostnameResolver, IHostResolution
from zope.interface import implementer


@implementer(IHostResolution)
class _Resolution:
    def __init__(self, name: str) -> None:
        self.name = name

    def cancel(self) -> None:
        raise NotImplementedError  # as Twisted's own


@implementer(IHostnameResolver)
class Names(dict[str, list[str]]):
    """
    The addresses of each name, in the order in which they are given out.

    @ivar asked: the names that were looked up.
    @ivar silent: whether lookups are never answered.
    """

    def __init__(self, known: dict[str, list[str]] | None = None) -> None:
        super().__init__(known or {})
        self.asked: list[str] = []
        self.silent = False

    def resolveHostName(
        self,
        resolutionReceiver: Any,
        hostName: str,
        portNumber: int = 0,
        addressTypes: Any = None,
        transportSemantics: str = "TCP",
    ) -> _Resolution:
        self.asked.append(hostName)
        resolution = _Resolution(hostName)
        resolutionReceiver.resolutionBegan(resolution)
        if not self.silent:
            for address in self.get(hostName, []):
                kind = IPv6Address if ":" in address else IPv4Address
                resolutionReceiver.addressResolved(kind("TCP", address, portNumber))
            resolutionReceiver.resolutionComplete()
        return resolution


@contextmanager
def installed(names: Names, reactor: Any) -> Iterator[Names]:
    from twisted.internet import reactor as twisted

    before = reactor(lambda: twisted.installNameResolver(names))  # type: ignore[attr-defined]
    try:
        yield names
    finally:
        reactor(lambda: twisted.installNameResolver(before) and None)  # type: ignore[attr-defined]
