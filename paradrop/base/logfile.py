"""
The log on the disk: one file a day, written by one thread, read back by time.

`log` is the file of today; `log.YYYY_MM_DD` holds the records of that (local) date and no others.
"""

import contextlib
import math
import os
import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import date
from pathlib import Path
from typing import IO, Any

from paradrop.base.logdaily import LOG_NAME, DailyFile, dated_files, may_hold
from paradrop.base.logline import Record, encode, later, lines_by_date, local_date, parse, text
from paradrop.base.logqueue import RecordQueue

__all__ = [
    "LOG_NAME",
    "DailyFile",
    "PrintLogThread",
    "Record",
    "encode",
    "local_date",
    "parse",
    "read_since",
    "text",
]

BATCH_SIZE = 16384
"""Records that are written by one call of the system, at most. After each call, the thread waits
for its turn, while others log."""

GATHER_TIME = 0.01
"""Seconds for which records are gathered, so that not each of them wakes the thread."""

SYNC_INTERVAL = 1.0
"""Seconds that a written record may wait to be synced to the disk."""

RETRY_INTERVAL = 1.0
"""Seconds until a write that failed (disk full, folder gone) is tried again."""


def _ignore(*_: object) -> None:
    """What a thread does with what nobody asked for."""


class PrintLogThread(threading.Thread):
    """
    All writing to the log file, from one thread: it takes records from the queue, in order.

    Records are gathered for `GATHER_TIME`, and those that are waiting then go to the system in one
    write (at most `BATCH_SIZE`). So a killed process loses what was logged since the last write: of
    `GATHER_TIME`, and of the time that the write itself takes. A power cut loses what was written
    within the last `SYNC_INTERVAL`, and the time that the sync itself takes.

    While the file cannot be written, records are kept and tried again every `RETRY_INTERVAL`. What
    a `RecordQueue` refuses meanwhile is counted, and `onLost` makes the record of it, which follows
    those that were kept.

    @param path: the folder of the file; it must exist.
    @param queue: where records (see `Record`) are put: a `RecordQueue`, or any queue of the
        standard library, whose `task_done` is called, where it has one, after the write. None only
        wakes the thread; an event is set once all before it is written.
    @param name: the name of the file of today.
    @param onTrouble: called with one line of text when writing begins to fail, and when records
        are lost because it still fails at the end.
    @param onLost: called with the number of records that were refused, and whether the file could
        not be written at all; returns a record that says so, or None.
    @param maxDays: see `DailyFile`, as for `maxBytes`.
    @raise OSError: the file cannot be opened.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        queue: "queue.Queue[Any] | queue.SimpleQueue[Any]",
        name: str,
        onTrouble: Callable[[str], object] = _ignore,
        onLost: Callable[[int, bool], Record | None] = _ignore,
        maxDays: float | None = None,
        maxBytes: int | None = None,
    ) -> None:
        super().__init__(name="PrintLogThread", daemon=True)
        self.queue = queue
        self.writer = DailyFile(path, name, maxDays, maxBytes)
        self._on_trouble = onTrouble
        self._on_lost = onLost
        self._task_done: Callable[[], object] | None = getattr(queue, "task_done", None)
        self._troubled = False
        self._stopping = threading.Event()
        self._hurry = threading.Event()
        self._sync_due = math.inf  # monotonic time
        self._lost = 0  # refused, and not said yet
        self._given_up = 0  # taken from the queue, and not written at the end
        self._failed = False  # since the last record of what was refused

    def run(self) -> None:
        """Write until `stop` was called and the queue is empty."""
        while not (self._stopping.is_set() and self.queue.empty()):
            self._write(self._take())
            if time.monotonic() >= self._sync_due:
                self._sync()
        self._sync()

    def flush(self, timeout: float) -> bool:
        """
        Wait until the records that were put into the queue (a `RecordQueue`) so far are written.

        @param timeout: seconds.
        @return: whether they are.
        """
        deadline = time.monotonic() + timeout
        written = threading.Event()
        if isinstance(self.queue, RecordQueue) and not self.queue.wait_for_room(timeout):
            return False
        self.queue.put(written)
        self._hurry.set()
        return written.wait(max(0.0, deadline - time.monotonic()))

    def stop(self) -> None:
        """Ask the thread to write what is in the queue, to sync, and to end."""
        self._stopping.set()
        self._hurry.set()
        with contextlib.suppress(queue.Full):
            self.queue.put_nowait(None)

    def close(self) -> None:
        """Write what came after the end of the thread, and close the file."""
        while not self.queue.empty():
            self._write(self._take())
        self._sync()
        self.writer.close()
        if self._given_up:
            self._on_trouble(f"{self._given_up} records were lost: {self.writer.path} has no room")

    def _take(self) -> list[Any]:
        wait = None if self._sync_due == math.inf else max(0.0, self._sync_due - time.monotonic())
        batch: list[Any] = []
        take = self.queue.get_nowait
        with contextlib.suppress(queue.Empty):
            batch.append(self.queue.get(timeout=wait))
            if self.queue.qsize() < BATCH_SIZE:
                self._hurry.wait(GATHER_TIME)
                if not self._stopping.is_set():
                    self._hurry.clear()
            batch += [take() for _ in range(min(self.queue.qsize(), BATCH_SIZE - 1))]
        return batch

    def _write(self, batch: list[Any]) -> None:
        if isinstance(self.queue, RecordQueue):
            self._lost += self.queue.made_room(batch)
        count, written = 0, True
        for day, lines in lines_by_date(batch):
            count += len(lines)
            written &= self._append(day, lines)
        if self._lost and written:
            self._say_lost()
        if not self._given_up and count < len(batch):
            for item in batch:
                if isinstance(item, threading.Event):
                    item.set()
        if self._task_done:
            for _ in batch:
                self._task_done()

    def _append(self, day: date, lines: Sequence[str]) -> bool:
        data = "".join(lines).encode("ascii")
        while True:
            try:
                self.writer.append(day, data)
            except OSError as error:
                self._report(error)
                if self._stopping.wait(RETRY_INTERVAL):
                    self._given_up += len(lines)
                    return False
            else:
                self._set_troubled(False)
                self._sync_due = min(self._sync_due, time.monotonic() + SYNC_INTERVAL)
                return True

    def _say_lost(self) -> None:
        lost, self._lost = self._lost, 0
        failed, self._failed = self._failed, False
        record = self._on_lost(lost, failed)
        if record is not None:
            for run in lines_by_date([record]):
                self._append(*run)

    def _sync(self) -> None:
        try:
            self.writer.sync()
        except OSError as error:
            self._report(error)
        self._sync_due = math.inf

    def _report(self, error: OSError) -> None:
        if not self._troubled:
            self._set_troubled(True)
            self._on_trouble(f"log file {self.writer.path} cannot be written: {error}")

    def _set_troubled(self, troubled: bool) -> None:
        self._troubled = troubled
        self._failed = self._failed or troubled
        if isinstance(self.queue, RecordQueue):
            self.queue.stall(troubled)


def read_since(
    folder: str | os.PathLike[str], target: float, purge: bool = False
) -> Iterator[Record]:
    """
    The records later than a time, file after file, oldest file first, each in its own order.

    Only one line at a time is held, and only files that can hold such records are opened. What is
    appended after the first record was asked for is left; a file that is turned over meanwhile is
    read once; one that cannot be read is passed over.

    @param target: seconds since the epoch.
    @param purge: remove each dated file that was read to its end.
    """
    with contextlib.ExitStack() as stack:
        current: IO[bytes] | None = None
        with contextlib.suppress(OSError):
            current = stack.enter_context(Path(folder, LOG_NAME).open("rb"))
        identity = os.fstat(current.fileno()) if current else None
        for path, before in list(_dated_files(Path(folder), target)):
            if identity and os.path.samestat(identity, before):
                continue  # turned over since it was opened above
            with contextlib.suppress(OSError), path.open("rb") as stream:
                yield from later(stream, target, before.st_size)
                if purge and path.stat().st_size == before.st_size:
                    path.unlink()
        if current and identity:
            yield from later(current, target, identity.st_size)


def _dated_files(folder: Path, target: float) -> Iterator[tuple[Path, os.stat_result]]:
    """The files of dates that can hold records later than a time, oldest first."""
    for day, path, status in dated_files(folder):
        if may_hold(day, status, target):
            yield path, status
