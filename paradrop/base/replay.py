"""What a router registered and subscribed to once, for the sessions that come after."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Wanted:
    """A registration or subscription that every session of a connection makes anew."""

    kind: str  # "register" or "subscribe"
    handler: Any
    uri: str | None
    options: Any

    @property
    def key(self) -> tuple[Any, ...]:
        """A procedure has one endpoint, a topic any number of handlers."""
        if self.kind == "register" and self.uri is not None:
            return (self.kind, self.uri)
        return (self.kind, self.uri, self.handler)


class Replay:
    """The registrations and subscriptions of a connection, in the order in which they were made."""

    def __init__(self) -> None:
        self._wanted: dict[tuple[Any, ...], Wanted] = {}
        self._refusals: Counter[tuple[Any, ...]] = Counter()

    def add(self, wanted: Wanted) -> None:
        self._wanted.pop(wanted.key, None)
        self._wanted[wanted.key] = wanted

    def made(self, wanted: Wanted) -> None:
        """The router has it again."""
        del self._refusals[wanted.key]

    def refused(self, wanted: Wanted) -> int:
        """@return: how many times in a row the router has refused it."""
        self._refusals[wanted.key] += 1
        return self._refusals[wanted.key]

    def remove(self, matches: Callable[[Wanted], bool]) -> None:
        self._wanted = {key: one for key, one in self._wanted.items() if not matches(one)}

    def __contains__(self, wanted: Wanted) -> bool:
        return self._wanted.get(wanted.key) is wanted

    def __iter__(self) -> Iterator[Wanted]:
        return iter(list(self._wanted.values()))
