"""A network cable that is pulled while the device runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar

from harness.fault.fault import Fault
from harness.fault.injector import Injector
from harness.machine.protocols import Cable


@dataclass(frozen=True)
class LinkDown(Fault[Cable]):
    """@param link: the network that the cable belongs to."""

    name: ClassVar[str] = "link down"
    target: ClassVar[str] = "cable"
    needs: ClassVar[str] = "link"
    lasts: ClassVar[bool] = True

    link: str = "wan"

    @property
    def place(self) -> str:
        return f"cable of {self.link}"

    def begin(self, on: Cable) -> None:
        on.plug(False)

    def proof(self, on: Cable, before: None) -> Mapping[str, object]:
        if not self.soon(lambda: not on.is_plugged()):
            raise self.unproven(f"the cable of {self.link} is still in")
        return {"plugged": False}

    def end(self, on: Cable) -> None:
        on.plug(True)


class Link:
    """What a test says of one cable."""

    def __init__(self, name: str, cable: Cable, injector: Injector) -> None:
        self.name = name
        self._fault = LinkDown(name)
        self._cable = cable
        self._injector = injector

    def down(self) -> None:
        """Unplug: nothing passes in either direction, and neither end is told."""
        self._injector.begin(self._fault, self._cable)

    def up(self) -> None:
        """Replug."""
        self._injector.end(self._fault, self._cable)

    @contextmanager
    def unplugged(self) -> Iterator[None]:
        """The cable is out inside the block and back after it, whatever happens there."""
        with self._injector.held(self._fault, self._cable):
            yield
