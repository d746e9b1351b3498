"""The file of today, those of the days before, and how long they are kept."""

import contextlib
import os
import re
import shutil
import stat
import time
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import IO

from paradrop.base import settings
from paradrop.base.disk import lacks, takes_nothing
from paradrop.base.durable import sync_folder
from paradrop.base.logline import local_date, parse

LOG_NAME = "log"

_FILE_MODE = 0o640
# One digit is what Twisted's DailyLogFile writes, and so did earlier versions.
_DATE = re.compile(r"(\d{4})_(\d{1,2})_(\d{1,2})")


class DailyFile:
    """
    The file `name` in a folder, appended to in whole lines, turned over when the date changes.

    What a power cut left of a line stays alone on that line: appending starts on a fresh one.

    Files of earlier dates are removed, the oldest first, where they are too old, or all files
    together, that of today included, are too large. Age is counted from the last date before today
    of which there is a file, not from today: a clock that jumps ahead, and is set right before the
    next midnight, costs nothing. What was logged while the clock stood in the past is as old as its
    file says, which is touched when the clock jumps ahead. A file of today that grows over half of
    `max_bytes` takes its date at once, in place of one that had it before.

    @param max_days: days that files are kept; 0 for ever; None for `settings.LOG_MAX_DAYS`.
    @param max_bytes: what all files may take; 0 for no bound; None for `settings.LOG_MAX_BYTES`.
    @raise OSError: the file cannot be opened; also from every method. A disk that is full or
        read-only is no error of the constructor: the file is opened when that takes something.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        name: str = LOG_NAME,
        max_days: float | None = None,
        max_bytes: int | None = None,
    ) -> None:
        self.path = Path(folder, name)
        self._max_days = max_days
        self._max_bytes = max_bytes
        self._descriptor: int | None = None
        self._late = False  # the disk has taken no file yet, and maybe no folder
        self._day: date | None = None  # of the records inside; None while there are none
        self._older = 0  # bytes in the files of earlier dates
        try:
            self._open()
        except OSError as error:
            if not (takes_nothing(error) or lacks(self.path.parent)):
                raise
            self._late = True
            return  # it is opened when there is something to append
        today = date.today()
        if self._day not in (None, today):
            self._turn_over(today)
        self._prune(today)

    def append(self, day: date, lines: bytes) -> None:
        """Hand complete lines of one date to the system, all or (if it raises) none of them."""
        if self._descriptor is None:
            self._open()
        if self._day not in (None, day):
            self._turn_over(day)
            self._prune(day)
        assert self._descriptor is not None
        size = os.fstat(self._descriptor).st_size
        limit = self._limit()
        if self._day is not None and size + len(lines) > limit / 2:
            self._turn_over(day, replace=True)
            size = 0
            self._prune(day)
        elif self._older and self._older + size + len(lines) > limit:
            self._prune(day, size + len(lines))
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
        if self._late:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        self._descriptor = os.open(self.path, flags, _FILE_MODE)
        try:
            found = os.fstat(self._descriptor)
            _end_line(self._descriptor)
            self._day = self._day_inside(found.st_mtime) if found.st_size else None
            sync_folder(self.path.parent)
        except OSError:
            self.close()
            raise
        self._late = False

    def _day_inside(self, changed: float) -> date:
        """The date of the records; of the last change, if there is none that is whole."""
        with self.path.open("rb") as stream:
            for record in parse(stream):
                return local_date(record["timestamp"])
        return local_date(changed)

    def _turn_over(self, day: date, replace: bool = False) -> None:
        """Give the file the name of the date of its records, and begin a new one for a day."""
        assert self._descriptor is not None
        assert self._day is not None
        os.fdatasync(self._descriptor)
        if self._is_at(self.path):
            dated = self.path.with_name(f"{self.path.name}.{self._day:%Y_%m_%d}")
            if dated.exists() and not replace:  # after a step of the clock
                if not _ends_with(dated, self.path):  # not even before a power cut
                    _append_file(self.path, dated)
                self.path.unlink()
            else:
                self.path.replace(dated)
            if (day - self._day).days > 1:
                os.utime(dated)
        self.close()
        self._open()

    def _prune(self, today: date, size: int = 0) -> None:
        """
        Remove what is too old or too much.

        @param size: bytes of the file of today.
        """
        files = dated_files(self.path.parent, self.path.name)
        days = [day for day, _, _ in files if day < today]
        kept = _usable(self._max_days, "LOG_MAX_DAYS")
        room = self._limit() - size
        self._older = sum(status.st_size for _, _, status in files)
        for day, path, status in files:
            last = max(day, local_date(status.st_mtime))
            if (kept and days and (days[-1] - last).days >= kept) or self._older > room:
                with contextlib.suppress(OSError):
                    path.unlink()
                    self._older -= status.st_size

    def _limit(self) -> float:
        limit = _usable(self._max_bytes, "LOG_MAX_BYTES")
        return limit or float("inf")

    def _is_at(self, path: Path) -> bool:
        assert self._descriptor is not None
        try:
            return os.path.samestat(path.stat(), os.fstat(self._descriptor))
        except FileNotFoundError:
            return False


def _usable(given: object, name: str) -> float:
    """What was given, if it is a number that is not negative; else the setting."""
    usable = isinstance(given, int | float) and not isinstance(given, bool)
    return given if usable and 0 <= given < float("inf") else settings.number(name)  # type: ignore


def dated_files(folder: Path, name: str = LOG_NAME) -> list[tuple[date, Path, os.stat_result]]:
    """The regular files of dates in a folder, oldest first; none in a folder that is not there."""
    return sorted(_dated_files(folder, name), key=lambda item: item[:2])


def _dated_files(folder: Path, name: str) -> Iterator[tuple[date, Path, os.stat_result]]:
    with contextlib.suppress(OSError):
        for path in folder.iterdir():
            start, _, rest = path.name.rpartition(".")
            match = _DATE.fullmatch(rest) if start == name else None
            with contextlib.suppress(ValueError, OverflowError, OSError):
                if match:
                    day = date(*map(int, match.groups()))
                    status = path.stat()
                    if stat.S_ISREG(status.st_mode):
                        yield day, path, status


def may_hold(day: date, status: os.stat_result, target: float) -> bool:
    """
    Whether the file of a date can hold a record later than a time (seconds since the epoch).

    The date is the local one of when it was written; where the time zone was another (by up to a
    day) then, the file's own time tells.
    """
    try:
        end, later = (time.mktime((day + timedelta(days)).timetuple()) for days in (1, 2))
    except (ValueError, OverflowError, OSError):  # the year 9999 has no day after it
        return True
    return end > target or target < status.st_mtime < later


def _end_line(descriptor: int) -> None:
    """End the last line of an open file if it was torn."""
    size = os.fstat(descriptor).st_size
    if size and os.pread(descriptor, 1, size - 1) != b"\n":
        os.write(descriptor, b"\n")


def _ends_with(path: Path, part: Path) -> bool:
    """Whether the contents of one file are the end of another."""
    size = part.stat().st_size
    if path.stat().st_size < size:
        return False
    with path.open("rb") as whole, part.open("rb") as stream:
        whole.seek(-size, os.SEEK_END)
        return all(whole.read(len(chunk)) == chunk for chunk in _chunks(stream))


def _chunks(stream: IO[bytes]) -> Iterator[bytes]:
    return iter(lambda: stream.read(1 << 16), b"")


def _append_file(source: Path, target: Path) -> None:
    with source.open("rb") as reader, target.open("ab+") as writer:
        _end_line(writer.fileno())
        shutil.copyfileobj(reader, writer)
        writer.flush()
        os.fsync(writer.fileno())
