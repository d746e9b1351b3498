"""The wall clock of a device, stepped while it runs."""

from __future__ import annotations

import time
from collections.abc import Callable

from harness.evidence.timeline import Timeline
from harness.fault.injector import injected


class Clock:
    """@param succeed: runs a shell command on the device and returns its output."""

    def __init__(self, device: str, succeed: Callable[[str], str], timeline: Timeline) -> None:
        self._device = device
        self._succeed = succeed
        self._timeline = timeline

    def now(self) -> int:
        """The device's idea of the time, in seconds since the epoch."""
        return int(self._succeed("date +%s"))

    def set(self, epoch: float) -> None:
        """Step the clock to `epoch`, in seconds since the epoch."""
        with injected(self._timeline, "clock set", device=self._device, to=int(epoch)):
            self._succeed(f"date -u -s @{int(epoch)}")

    def reset(self) -> None:
        """Step it back to the harness's own time."""
        self.set(time.time())
