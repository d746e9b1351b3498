"""
The log on the disk: one file a day, written by one thread, read back by time.

`log` is the file of today; `log.YYYY_MM_DD` holds the records of that (local) date and no others.
"""

import contextlib
import itertools
import json
import math
import os
import queue
import re
import shutil
import stat
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import IO, Any

from paradrop.base.durable import sync_folder

LOG_NAME = "log"

Record = dict[str, Any]
"""One log record; see `paradrop.base.output` for its keys."""

BATCH_SIZE = 512
"""Records that are written by one call of the system, at most."""

SYNC_INTERVAL = 1.0
"""Seconds that a written record may wait to be synced to the disk."""

RETRY_INTERVAL = 1.0
"""Seconds until a write that failed (disk full, folder gone) is tried again."""

_FILE_MODE = 0o640
# One digit is what Twisted's DailyLogFile writes, and so did earlier versions.
_DATED_NAME = re.compile(re.escape(LOG_NAME) + r"\.(\d{4})_(\d{1,2})_(\d{1,2})")


class DailyFile:
    """
    The file `name` in a folder, appended to in whole lines, turned over when the date changes.

    What a power cut left of a line stays alone on that line: appending starts on a fresh one.

    @raise OSError: the file cannot be opened; also from every method.
    """

    def __init__(self, folder: str | os.PathLike[str], name: str = LOG_NAME) -> None:
        self.path = Path(folder, name)
        self._descriptor: int | None = None
        self._day: date | None = None  # of the records inside; None while there are none
        self._open()
        if self._day not in (None, date.today()):
            self._turn_over()

    def append(self, day: date, lines: bytes) -> None:
        """Hand complete lines of one date to the system, all or (if it raises) none of them."""
        if self._descriptor is None:
            self._open()
        if self._day not in (None, day):
            self._turn_over()
        assert self._descriptor is not None
        size = os.fstat(self._descriptor).st_size
        try:
            rest = memoryview(lines)
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]
        except OSError:
            with contextlib.suppress(OSError):
                os.ftruncate(self._descriptor, size)
            raise
        self._day = day

    def sync(self) -> None:
        """Bring what was appended to the disk; open anew if somebody moved the file away."""
        if self._descriptor is not None:
            os.fdatasync(self._descriptor)
            if not self._is_at(self.path):
                self.close()
                self._open()

    def close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _open(self) -> None:
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        self._descriptor = os.open(self.path, flags, _FILE_MODE)
        found = os.fstat(self._descriptor)
        _end_line(self._descriptor)
        self._day = self._day_inside(found.st_mtime) if found.st_size else None
        sync_folder(self.path.parent)

    def _day_inside(self, changed: float) -> date:
        """The date of the records; of the last change, if there is none that is whole."""
        with self.path.open("rb") as stream:
            for record in parse(stream):
                return local_date(record["timestamp"])
        return local_date(changed)

    def _turn_over(self) -> None:
        """Give the file the name of the date of its records, and begin a new one."""
        assert self._day is not None
        assert self._descriptor is not None
        os.fdatasync(self._descriptor)
        if self._is_at(self.path):
            dated = self.path.with_name(f"{self.path.name}.{self._day:%Y_%m_%d}")
            if dated.exists():
                # After a step of the clock. A power cut before the unlink doubles records: better
                # than losing them.
                _append_file(self.path, dated)
                self.path.unlink()
            else:
                self.path.rename(dated)
        self.close()
        self._open()

    def _is_at(self, path: Path) -> bool:
        assert self._descriptor is not None
        try:
            return os.path.samestat(path.stat(), os.fstat(self._descriptor))
        except FileNotFoundError:
            return False


class PrintLogThread(threading.Thread):
    """
    All writing to the log file, from one thread: it takes records from the queue, in order.

    Records that are waiting go to the system in one write (at most `BATCH_SIZE`), and `task_done`
    is called for them after it. So a killed process loses what was still in the queue; a power cut
    loses what was written within the last `SYNC_INTERVAL`, and the time that the sync itself takes.
    While the file cannot be written, records are kept and tried again every `RETRY_INTERVAL`.

    @param path: the folder of the file; it must exist.
    @param queue: where records (see `Record`) are put; None only wakes the thread.
    @param name: the name of the file of today.
    @param onTrouble: called once, with one line of text, when writing begins to fail.
    @raise OSError: the file cannot be opened.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        queue: "queue.Queue[Record | None]",
        name: str,
        onTrouble: Callable[[str], object] = lambda text: None,
    ) -> None:
        super().__init__(name="PrintLogThread", daemon=True)
        self.queue = queue
        self.writer = DailyFile(path, name)
        self._on_trouble = onTrouble
        self._troubled = False
        self._stopping = threading.Event()
        self._sync_due = math.inf  # monotonic time

    def run(self) -> None:
        """Write until `stop` was called and the queue is empty."""
        while not (self._stopping.is_set() and self.queue.empty()):
            self._write(self._take())
            if time.monotonic() >= self._sync_due:
                self._sync()
        self._sync()

    def stop(self) -> None:
        """Ask the thread to write what is in the queue, to sync, and to end."""
        self._stopping.set()
        with contextlib.suppress(queue.Full):
            self.queue.put_nowait(None)

    def close(self) -> None:
        """Write what came after the end of the thread, and close the file."""
        while not self.queue.empty():
            self._write(self._take())
        self._sync()
        self.writer.close()

    def _take(self) -> list[Record | None]:
        wait = None if self._sync_due == math.inf else max(0.0, self._sync_due - time.monotonic())
        batch: list[Record | None] = []
        with contextlib.suppress(queue.Empty):
            batch.append(self.queue.get(timeout=wait))
            while len(batch) < BATCH_SIZE:
                batch.append(self.queue.get_nowait())
        return batch

    def _write(self, batch: list[Record | None]) -> None:
        records = [record for record in batch if record is not None]
        for day, group in itertools.groupby(records, _day_of):
            self._append(day, b"".join(map(encode, group)))
        for _ in batch:
            self.queue.task_done()

    def _append(self, day: date, lines: bytes) -> None:
        while True:
            try:
                self.writer.append(day, lines)
            except OSError as error:
                self._report(error)
                if self._stopping.wait(RETRY_INTERVAL):
                    return
            else:
                self._troubled = False
                self._sync_due = min(self._sync_due, time.monotonic() + SYNC_INTERVAL)
                return

    def _sync(self) -> None:
        try:
            self.writer.sync()
        except OSError as error:
            self._report(error)
        self._sync_due = math.inf

    def _report(self, error: OSError) -> None:
        if not self._troubled:
            self._troubled = True
            self._on_trouble(f"log file {self.writer.path} cannot be written: {error}")


def encode(record: Record) -> bytes:
    """
    One line of JSON. What JSON cannot hold becomes text; a record is never lost for it.
    """
    try:
        return _encode(record)
    except Exception:  # keys that are no text, cycles, NaN, a dict that changes meanwhile
        return _encode({str(key): _plain(value) for key, value in list(record.items())})


def parse(stream: IO[bytes], size: float = math.inf) -> Iterator[Record]:
    """
    The records in an open log file. A line that is torn or foreign is passed over.

    @param size: bytes to read; what was appended later is left.
    """
    for line in stream:
        size -= len(line)
        if size < 0:
            return
        try:
            record = json.loads(line.strip(b"\0 \t\r\n"))
            if math.isfinite(record["timestamp"]):
                yield record
        except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
            continue


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
                yield from _later(parse(stream, before.st_size), target)
                if purge and path.stat().st_size == before.st_size:
                    path.unlink()
        if current and identity:
            yield from _later(parse(current, identity.st_size), target)


def local_date(timestamp: float) -> date:
    """
    The local date at a time; at a time that has none (out of range), today.

    @param timestamp: seconds since the epoch.
    """
    try:
        return date.fromtimestamp(timestamp)
    except (TypeError, ValueError, OverflowError, OSError):
        return date.today()


def _day_of(record: Record) -> date:
    return local_date(record.get("timestamp", math.nan))


def _later(records: Iterable[Record], target: float) -> Iterator[Record]:
    return (record for record in records if record["timestamp"] > target)


def _dated_files(folder: Path, target: float) -> Iterator[tuple[Path, os.stat_result]]:
    """The regular files of dates that end after a time, oldest first."""
    dated = []
    with contextlib.suppress(OSError):
        for path in folder.iterdir():
            match = _DATED_NAME.fullmatch(path.name)
            with contextlib.suppress(ValueError, OverflowError, OSError):
                day = date(*map(int, match.groups())) if match else None
                status = path.stat()
                if day and stat.S_ISREG(status.st_mode) and _end_of(day) > target:
                    dated.append((day, path, status))
    for _, path, status in sorted(dated, key=lambda item: item[:2]):
        yield path, status


def _end_of(day: date) -> float:
    return time.mktime((day + timedelta(days=1)).timetuple())


def _end_line(descriptor: int) -> None:
    """End the last line of an open file if it was torn."""
    size = os.fstat(descriptor).st_size
    if size and os.pread(descriptor, 1, size - 1) != b"\n":
        os.write(descriptor, b"\n")


def _append_file(source: Path, target: Path) -> None:
    with source.open("rb") as reader, target.open("ab+") as writer:
        _end_line(writer.fileno())
        shutil.copyfileobj(reader, writer)
        writer.flush()
        os.fsync(writer.fileno())


def text(value: object) -> str:
    """`str(value)`, whatever its class does."""
    try:
        return str(value)
    except Exception:
        return f"<{type(value).__name__} that has no text>"


def _plain(value: object) -> object:
    if isinstance(value, dict):
        return {text(key): _scalar(inner) for key, inner in list(value.items())}
    return _scalar(value)


def _scalar(value: object) -> object:
    if isinstance(value, float):
        return value if math.isfinite(value) else text(value)
    if isinstance(value, int):
        return value if -(2**63) <= value < 2**64 else text(value)
    return value if value is None or isinstance(value, str) else text(value)


_encoder = json.JSONEncoder(allow_nan=False, default=text, separators=(",", ":"))


def _encode(record: Record) -> bytes:
    return _encoder.encode(record).encode("ascii") + b"\n"
