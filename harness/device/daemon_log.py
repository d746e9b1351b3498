"""The log of the daemon on a device, read over mgmt."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Callable
from typing import Any

from harness.device.base import Device, check_seconds
from harness.errors import DeviceError, SuiteError

Record = dict[str, Any]
"""A record of the log: message, type, extra, package, module, timestamp, pdid, line."""


class DaemonLog:
    """What the daemon has logged since this was made.

    Today's file and the rotated ones are read as one, oldest first. Lines that were there before,
    and that a power cut takes away, are not missed.
    """

    def __init__(self, device: Device) -> None:
        self._device = device
        # rotated files sort by their date, and before today's has one
        self._cat = f"cat {device.config_home}/logs/log.* {device.config_home}/logs/log 2>/dev/null"
        self._before = self.lines()

    def lines(self) -> list[str]:
        """All lines in the files, as they are, also from before this was made."""
        return self._device.run(self._cat).text.splitlines()

    def records(self, event: str | None = None) -> list[Record]:
        """The records since this was made.

        @param event: only those that carry this in `extra`.
        """
        if not isinstance(event, str | None):
            raise SuiteError(f"{event!r:.80} is no event of the log")
        found = []
        lines = self.lines()
        known = (now == then for now, then in zip(lines, self._before, strict=False))
        for line in lines[sum(1 for _ in itertools.takewhile(bool, known)) :]:
            try:
                found.append(json.loads(line))
            except ValueError:
                continue  # the last line, while it is being written
        return [r for r in found if event is None or _event(r) == event]

    def wait_for(
        self,
        event: str,
        timeout: float = 60,
        where: Callable[[Record], bool] = lambda record: True,
    ) -> Record:
        """The first record with this event, as soon as it is there.

        @raise DeviceError: there is none within `timeout` seconds.
        """
        check_seconds(timeout)
        deadline = time.monotonic() + timeout
        while True:
            seen = len(self.lines())
            for record in self.records(event):
                if where(record):
                    return record
            left = deadline - time.monotonic()
            try:
                self._device.wait_until_succeeds(f"test $({self._cat} | wc -l) -gt {seen}", left)
            except DeviceError as error:
                raise DeviceError(
                    f"logged no {event} within {timeout:g} s",
                    device=self._device.name,
                    evidence="\n".join(self.lines()[-5:]),
                ) from error


def _event(record: Record) -> str | None:
    extra = record.get("extra")
    return extra.get("event") if isinstance(extra, dict) else None
