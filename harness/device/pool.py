"""The next device, made ready while the last one is in use."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from harness.device import memory
from harness.device.base import Device
from harness.errors import HarnessError

NEEDS = 1 << 30
"""Bytes of memory that have to be free, so that a device is made before it is asked for: what a
machine may grow to (256 MiB of RAM, 64 of translated code, QEMU itself) and the same again for
whatever is started meanwhile."""


class Pool:
    """At most one device of a kind, started and untouched.

    @param make: makes and starts a device; called in a thread that lives as long as the pool,
        since processes end with the thread that has started them (`harness.child`).
    """

    def __init__(self, make: Callable[[str], Device]) -> None:
        self._make = make
        self._thread = ThreadPoolExecutor(1, "pool")
        self._spare: dict[str, Future[Device]] = {}

    def warm(self, kind: str) -> bool:
        """Have a device made, unless there is one, or memory is short.

        @return: whether one is there, or on its way.
        """
        if kind not in self._spare:
            if memory.available() < NEEDS:
                return False
            self._spare[kind] = self._thread.submit(self._make, kind)
        return True

    def wait(self, kind: str) -> None:
        """Wait until the device that is on its way, if any, is there or has failed."""
        if kind in self._spare:
            self._spare[kind].exception()

    def take(self, kind: str) -> Device | None:
        """The device that was made ready; None where there is none that lives."""
        spare = self._spare.pop(kind, None)
        if spare is None:
            return None
        try:
            device = spare.result()
        except Exception:  # whoever makes the next one is told why, such as that the disk is full
            return None
        try:
            device.check()
        except HarnessError:
            device.close()
            return None
        return device

    def empty(self) -> None:
        """End the devices that nobody took."""
        for kind in list(self._spare):
            if (device := self.take(kind)) is not None:
                device.close()

    def close(self) -> None:
        """End all that is left. Devices that were taken have to have ended."""
        self.empty()
        self._thread.shutdown()
