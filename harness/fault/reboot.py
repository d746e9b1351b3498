"""A device that boots anew without losing its power: by order, by a watchdog, by a panic."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from harness.errors import DeviceError
from harness.fault.fault import Fault
from harness.fault.injector import Injector
from harness.machine.protocols import Reboots

BOOT_ID = "cat /proc/sys/kernel/random/boot_id"
"""What no two boots of a machine have in common; random(4)."""

_SOON = 1
"""Seconds on the device from the answer to an order until it is carried out."""


@dataclass(frozen=True)
class Rebooted(Fault[Reboots]):
    """@param by: a shell command that leads to it."""

    name: ClassVar[str] = "reboot"
    target: ClassVar[str] = "machine"
    needs: ClassVar[str] = "reboot"

    by: str = "reboot"

    def before(self, on: Reboots) -> str:
        return on.succeed(BOOT_ID)

    def begin(self, on: Reboots) -> None:
        with on.rebooting():
            on.succeed(f"(sleep {_SOON}; {self.by}) </dev/null >/dev/null 2>&1 &")

    def proof(self, on: Reboots, before: str) -> Mapping[str, object]:
        now = on.succeed(BOOT_ID)
        if now == before:  # the command was carried out: it is the device that did not obey
            raise DeviceError(f"`{self.by}` did not reboot it")
        return {"boot": now.strip()}


class Reboot:
    """What a test says of a device that reboots by itself."""

    def __init__(self, machine: Reboots, injector: Injector) -> None:
        self._machine = machine
        self._injector = injector

    def by(self, command: str) -> None:
        """Run a command that has the device reboot, and wait until it has booted.

        @param command: `reboot`, or one that starves a watchdog or makes the kernel panic: what
            then happens is wanted.
        @raise DeviceError: it does not reboot.
        @raise BootError: it does not come up again.
        """
        self._injector.begin(Rebooted(command), self._machine)
