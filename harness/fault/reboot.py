"""A device that boots anew without losing its power: by order, by a watchdog, by a panic."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

from harness.errors import DeviceError
from harness.evidence.timeline import Timeline
from harness.fault.injector import injected

BOOT_ID = "cat /proc/sys/kernel/random/boot_id"
"""What no two boots of a machine have in common; random(4)."""

_SOON = 1
"""Seconds on the device from the answer to an order until it is carried out."""


class Reboot:
    """@param succeed: runs a shell command on the device and returns its output.
    @param awaited: the device reboots in its block, and has booted when it ends; supplied by its
        kind.
    """

    def __init__(
        self,
        device: str,
        succeed: Callable[[str], str],
        awaited: Callable[[], AbstractContextManager[None]],
        timeline: Timeline,
    ) -> None:
        self._device = device
        self._succeed = succeed
        self._awaited = awaited
        self._timeline = timeline

    def by(self, command: str) -> None:
        """Run a command that has the device reboot, and wait until it has booted.

        @param command: `reboot`, or one that starves a watchdog or makes the kernel panic: what
            then happens is wanted.
        @raise DeviceError: it does not reboot.
        @raise BootError: it does not come up again.
        """
        with injected(self._timeline, "reboot", device=self._device, by=command):
            before = self._succeed(BOOT_ID)
            with self._awaited():
                self._succeed(f"(sleep {_SOON}; {command}) </dev/null >/dev/null 2>&1 &")
            if self._succeed(BOOT_ID) == before:
                raise DeviceError(f"`{command}` did not reboot it", device=self._device)
