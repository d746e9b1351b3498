"""A fault is a value: what happens, with which parameters, and how it is known to have happened."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Generic, TypeVar

from harness.errors import InfrastructureError

T = TypeVar("T")

SOON = 10.0
"""Seconds within which a fault that was done has to show."""


class UnprovenError(InfrastructureError):
    """A fault was done, and did not happen: what the test then sees says nothing of the device."""


class Fault(ABC, Generic[T]):
    """One kind of fault; T is the protocol of `harness.machine.protocols` that it needs.

    A kind is a frozen dataclass. Its fields are the parameters: text, numbers or truth values,
    which can be written to YAML (see `harness.fault.catalogue`). No parameter is a secret.

    @cvar name: on the time line and in YAML: `link down`.
    @cvar target: what suffers it: `machine`, `cable`, `clock` or `node`.
    @cvar needs: the word of `@pytest.mark.needs` that a test has to ask for; empty: none.
    @cvar lasts: whether it goes on until it is ended. One that does not is over when it is done.
    """

    name: ClassVar[str]
    target: ClassVar[str]
    needs: ClassVar[str] = ""
    lasts: ClassVar[bool] = False

    @property
    def place(self) -> str:
        """Where a fault that lasts takes effect: a target has one fault at a time in each place."""
        return self.target

    def before(self, on: T) -> Any:
        """Look, before the fault begins, at whatever it has to change; `proof` compares."""
        return None

    @abstractmethod
    def begin(self, on: T) -> None:
        """Do it. If it has begun already, nothing more happens."""

    @abstractmethod
    def proof(self, on: T, before: Any) -> Mapping[str, object]:
        """Look whether it has happened, as soon as it has begun.

        @param before: what `before` has found.
        @return: what shows it, for the time line.
        @raise UnprovenError: it has not.
        """

    def end(self, on: T) -> None:
        """Undo one that lasts, also if it has not begun."""

    @staticmethod
    def soon(look: Callable[[], bool]) -> bool:
        """Whether something that is looked at again and again is so, within some seconds: a kernel
        takes a moment to notice."""
        deadline = time.monotonic() + SOON
        while not look():
            if time.monotonic() > deadline:
                return False
            time.sleep(0.01)
        return True

    def unproven(self, why: str) -> UnprovenError:
        return UnprovenError(f"{self.name} did not happen: {why}")
