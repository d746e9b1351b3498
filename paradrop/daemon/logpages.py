"""
The log in pages small enough for a message, read from where the page before ended.

A cursor is the file (by its inode: it is renamed at midnight), the offset to go on from, a checksum
of what stands before that (an inode is given again once its file was removed), and the time of the
last record, for when that file is gone.
"""

from __future__ import annotations

import base64
import contextlib
import math
import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from paradrop.base.logdaily import LOG_NAME, dated_files, may_hold
from paradrop.base.logline import may_be_later, record_of

MAX_RECORDS = 1000
MAX_BYTES = 256 * 1024
"""A page is at most this long, as text in the log; one longer record is a page of its own."""

LINE_LIMIT = 64 * 1024 * 1024
"""Bytes of a line that are read at once; a longer one is no record."""

MAX_RECORD = 1024 * 1024
"""Bytes of the longest record that is sent whole, as text in the log."""

_CHECKED = 256  # bytes before the offset that are in the checksum

_MOST = 2**62
"""Far above the offset in any file, and below what `pread` takes."""


class _Cursor(NamedTuple):
    inode: int
    offset: int
    check: int
    last: float

    def __str__(self) -> str:
        return base64.urlsafe_b64encode(":".join(map(repr, self)).encode()).decode()

    @classmethod
    def of(cls, text: str) -> _Cursor:
        try:
            inode, offset, check, last = base64.urlsafe_b64decode(text).decode().split(":")
            found = cls(int(inode), int(offset), int(check), float(last))
            if not 0 <= found.offset < _MOST:
                raise ValueError("no offset in a file")
            return found
        except (ValueError, TypeError, AttributeError) as error:
            raise ValueError(f"{text!r} is no cursor of a page of the log") from error

    def fits(self, path: Path) -> bool:
        """Whether this is the file that the page before ended in."""
        try:
            if path.stat().st_ino != self.inode:
                return False
            with path.open("rb") as stream:
                return _check(stream, self.offset) == self.check
        except OSError:
            return False


def read(folder: str, since: float, cursor: str | None, limit: int) -> dict[str, Any]:
    """
    @param since: seconds since the epoch; only later records are given.
    @param cursor: of the page before, None to begin.
    @return: `{"records": [...], "cursor": str | None}`, oldest first; no cursor after the last.
    @raise ValueError: the cursor is none of ours, or the limit is not a positive number.
    """
    if isinstance(limit, bool) or not isinstance(limit, int) or limit < 1:
        raise ValueError(f"limit {limit!r} is not a positive number of records")
    since = _time(since)
    limit = min(limit, MAX_RECORDS)
    files = _files(Path(folder), since)
    offset = 0
    if cursor is not None:
        before = _Cursor.of(cursor)
        if rest := _from(before, [path for path, _ in files]):
            files = [(path, True) for path in rest]
            offset = before.offset
        else:
            since = max(since, before.last)
    records: list[dict[str, Any]] = []
    size = 0
    for path in [path for path, wanted in files if wanted]:
        # A file may be removed meanwhile, for its age; one that can't be read hides no other.
        with contextlib.suppress(OSError), path.open("rb") as stream:
            stream.seek(offset)
            offset = 0
            for start, line in _lines(stream):
                record = record_of(line) if may_be_later(line, since) else None
                if record is None or record["timestamp"] <= since:
                    continue
                if records and (len(records) == limit or size + len(line) > MAX_BYTES):
                    inode = os.fstat(stream.fileno()).st_ino
                    check = _check(stream, start)
                    end = _Cursor(inode, start, check, float(records[-1]["timestamp"]))
                    return {"records": records, "cursor": str(end)}
                records.append(_shortened(record, len(line)))
                size += len(line)
    return {"records": records, "cursor": None}


def _time(since: float) -> float:
    try:
        found = float(since)
    except OverflowError:
        found = math.nan
    if math.isnan(found):
        raise ValueError(f"since {since!r:.40} is no time")
    return found


def _shortened(record: dict[str, Any], size: int) -> dict[str, Any]:
    """
    A record that a message can hold: a router closes the session at one that is too large.

    @param size: of its line, in bytes.
    @return: the record, or, if it is longer than `MAX_RECORD`, one whose message is cut, and whose
        `extra` has only its event and the size of the whole.
    """
    if size <= MAX_RECORD:
        return record
    extra = record.get("extra")
    event = extra.get("event") if isinstance(extra, dict) else None
    kept = {key: value for key, value in record.items() if key not in ("message", "extra")}
    if len(str(kept)) > MAX_BYTES:  # only a foreign line has more than that in it
        kept = {"timestamp": record["timestamp"]}
    message = str(record.get("message", ""))[: MAX_BYTES // 8]
    return {
        **kept,
        "message": f"{message} [cut]",
        "extra": {"cut": size} | ({"event": str(event)[:100]} if event is not None else {}),
    }


def _files(folder: Path, since: float) -> list[tuple[Path, bool]]:
    """All of them, oldest first, and whether each can hold a record later than `since`."""
    files = [(path, may_hold(day, status, since)) for day, path, status in dated_files(folder)]
    if (folder / LOG_NAME).is_file():
        files.append((folder / LOG_NAME, True))
    return files


def _from(cursor: _Cursor, paths: list[Path]) -> list[Path]:
    """From the file of the cursor on; nothing where that is gone."""
    for index, path in enumerate(paths):
        if cursor.fits(path):
            return paths[index:]
    return []


def _lines(stream: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Whole lines with their offsets; one that is still being written waits."""
    start = stream.tell()
    whole = True
    while line := stream.readline(LINE_LIMIT):
        ended = line.endswith(b"\n")
        if not ended and len(line) < LINE_LIMIT:
            return
        if whole and ended:  # damage may be longer, and is passed over in pieces
            yield start, line
        whole = ended
        start += len(line)


def _check(stream: BinaryIO, offset: int) -> int:
    begin = max(0, offset - _CHECKED)
    return zlib.crc32(os.pread(stream.fileno(), offset - begin, begin))
