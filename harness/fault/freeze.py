"""A device that stands still: nothing on it runs, but it keeps its memory and its connections."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar

from harness.fault.fault import Fault
from harness.fault.injector import Injector
from harness.machine.protocols import Pause


@dataclass(frozen=True)
class Frozen(Fault[Pause]):
    """Nothing on the device runs; time goes on around it."""

    name: ClassVar[str] = "freeze"
    target: ClassVar[str] = "machine"
    needs: ClassVar[str] = "freeze"
    lasts: ClassVar[bool] = True

    def begin(self, on: Pause) -> None:
        on.pause()

    def proof(self, on: Pause, before: None) -> Mapping[str, object]:
        if not self.soon(on.is_paused):
            raise self.unproven("the device still runs")
        return {"paused": True}

    def end(self, on: Pause) -> None:
        on.resume()


class Freeze:
    """What a test says of a device that can stand still."""

    def __init__(self, pause: Pause, injector: Injector) -> None:
        self._pause = pause
        self._injector = injector

    @contextmanager
    def held(self) -> Iterator[None]:
        """The device stands still inside the block and goes on after it."""
        with self._injector.held(Frozen(), self._pause):
            yield
