"""The wall clock of a device, stepped while it runs."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from harness.fault.fault import Fault
from harness.fault.injector import Injector
from harness.machine.protocols import Commands

_TOLERANCE = 60
"""Seconds that a slow device may take from the step of its clock to the look at it."""


@dataclass(frozen=True)
class ClockSet(Fault[Commands]):
    """@param to: what the clock then says, in whole seconds since the epoch."""

    name: ClassVar[str] = "clock set"
    target: ClassVar[str] = "clock"
    needs: ClassVar[str] = "clock"

    to: int

    def begin(self, on: Commands) -> None:
        on.succeed(f"date -u -s @{self.to}")

    def proof(self, on: Commands, before: None) -> Mapping[str, object]:
        says = now(on)
        if not 0 <= says - self.to <= _TOLERANCE:
            raise self.unproven(f"the clock says {says}, not {self.to}")
        return {"clock": says}


def now(on: Commands) -> int:
    """What the clock of a device says, in seconds since the epoch."""
    return int(on.succeed("date +%s"))


class Clock:
    """What a test says of the clock of a device."""

    def __init__(self, commands: Commands, injector: Injector) -> None:
        self._commands = commands
        self._injector = injector

    def now(self) -> int:
        """The device's idea of the time, in seconds since the epoch."""
        return now(self._commands)

    def set(self, epoch: float) -> None:
        """Step the clock to `epoch`, in seconds since the epoch."""
        self._injector.begin(ClockSet(int(epoch)), self._commands)

    def reset(self) -> None:
        """Step it back to the harness's own time."""
        self.set(time.time())
