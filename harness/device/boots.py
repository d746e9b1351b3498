"""The boots of a machine since it got its power, and the panics that nobody wanted."""

from __future__ import annotations

import math
from pathlib import Path

from harness.device import kernel
from harness.errors import DeviceError

RESET_SECONDS = 1
"""One reboot may reset a machine several times, a PC within milliseconds; no system boots in so
short a time."""


class Boots:
    """What the console printed before the machine got its power does not count.

    @param device: name for errors.
    @param log: what its console prints is added to it.
    @ivar count: how often it has rebooted since it got its power.
    @ivar panicked: whether QEMU has told of a panic, which needs a driver in the machine.
    """

    def __init__(self, device: str, log: Path) -> None:
        self._device = device
        self._log = log
        self._earlier: DeviceError | None = None
        self.begin()

    def begin(self) -> None:
        """The machine gets its power, or that of a saved state."""
        self.count = 0
        self.panicked = False
        self._reset_at = -math.inf
        self._began = self._wanted = self._size()
        self._wanted_count = 0

    def end(self) -> None:
        """The machine loses its power. A panic that nobody wanted is not forgotten, unless it
        hangs: to cut the power is what a test does about that."""
        try:
            self.check_answering()
        except DeviceError:
            return
        try:
            self.check_kernel()
        except DeviceError as panic:
            self._earlier = panic

    def reset(self, now: float) -> bool:
        """It is reset. @return: whether that is a reboot, not the same one as a moment ago."""
        if now - self._reset_at <= RESET_SECONDS:
            return False
        self._reset_at = now
        self.count += 1
        self._began = self._size()
        return True

    def expect_no_more(self) -> None:
        """The reboots and panics until now were wanted; what comes is not."""
        self.panicked = False
        self._wanted, self._wanted_count = self._size(), self.count

    def check_kernel(self, *, gone: bool = False) -> None:
        """Look whether the kernel has panicked, although nobody wanted that.

        QEMU's word is enough. The console's is believed of a machine that has rebooted since,
        hangs, or is gone: anything on it may print the same.

        @param gone: it has ended, or does not answer.
        @raise DeviceError: it has, with what the console showed; it may have rebooted since.
        """
        if self._earlier is not None:
            raise self._earlier
        text = self._shown(self._wanted)
        found = kernel.panic(text)
        rebooted = self.count > self._wanted_count or kernel.rebooted(text)
        believed = gone or rebooted or kernel.hangs(text)
        if found is not None and (self.panicked or believed):
            raise DeviceError(str(found), device=self._device, evidence=found.printed)
        if self.panicked:
            raise self.error(str(kernel.Panic()))

    def check_answering(self) -> None:
        """@raise DeviceError: the kernel's last line tells of a panic that hangs, or of a halt."""
        shown = self._shown(self._began)
        if kernel.hangs(shown):
            self.check_kernel()
        if kernel.halted(shown):
            raise self.error("the device was halted from inside")

    def autopsy(self, *, rebooted: bool = False) -> None:
        """It does not answer: look whether the device itself is why.

        @param rebooted: it has, after it was asked.
        @raise DeviceError: so it is.
        """
        self.check_kernel(gone=True)
        if rebooted:
            raise self.error("the device rebooted meanwhile")
        self.check_answering()

    def error(self, what: str) -> DeviceError:
        """An error with the last lines of the console."""
        return DeviceError(what, device=self._device, evidence=self.last_lines())

    def last_lines(self) -> str:
        """The last lines of the console, of this boot and earlier ones."""
        return "\n".join(self._shown(0).splitlines()[-20:]) or "printed nothing"

    def _size(self) -> int:
        """Bytes in the log, which QEMU writes before it tells of what follows."""
        return self._log.stat().st_size if self._log.exists() else 0

    def _shown(self, since: int) -> str:
        """What the console showed. @param since: bytes in its log."""
        if not self._log.exists():
            return ""
        with self._log.open("rb") as log:
            log.seek(since)
            return log.read().decode(errors="replace").replace("\r\n", "\n")
