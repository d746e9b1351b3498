"""
The log in pages small enough for a message, read from where the page before ended.

A cursor is the file (by its inode: it is renamed at midnight), the offset to go on from, and the
time of the last record, for when that file is gone.
"""

from __future__ import annotations

import base64
import json
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from paradrop.base.output import LOG_NAME

_DATED = re.compile(re.escape(LOG_NAME) + r"\.(\d{4})_(\d{1,2})_(\d{1,2})")

MAX_RECORDS = 1000
MAX_BYTES = 256 * 1024
"""A page is at most this long, as text in the log; one longer record is a page of its own."""


def read(folder: str, since: float, cursor: str | None, limit: int) -> dict[str, Any]:
    """
    @param since: seconds since the epoch; only later records are given.
    @param cursor: of the page before, None to begin.
    @return: `{"records": [...], "cursor": str | None}`, oldest first; no cursor after the last.
    @raise ValueError: the cursor is none of ours, or the limit is not a positive number.
    """
    if isinstance(limit, bool) or not isinstance(limit, int) or limit < 1:
        raise ValueError(f"limit {limit!r} is not a positive number of records")
    since = float(since)
    inode, offset, last = _decode(cursor)
    limit = min(limit, MAX_RECORDS)
    records: list[dict[str, Any]] = []
    size = 0
    files = _files(Path(folder), since, inode)
    if inode is not None and not (files and files[0].stat().st_ino == inode):
        since = max(since, last)
    for path in files:
        with path.open("rb") as stream:
            own = _inode(stream)
            if own == inode:
                stream.seek(offset)
            for start, line in _lines(stream):
                record = _parse(line, since)
                if record is None:
                    continue
                if records and (len(records) == limit or size + len(line) > MAX_BYTES):
                    return {
                        "records": records,
                        "cursor": _encode(own, start, records[-1]["timestamp"]),
                    }
                records.append(record)
                size += len(line)
    return {"records": records, "cursor": None}


def _files(folder: Path, since: float, inode: int | None) -> list[Path]:
    """Oldest first: from that of the cursor on, or those of days that end after `since`."""
    dated = []
    for path in folder.iterdir():
        match = _DATED.fullmatch(path.name)
        if match and path.is_file():
            dated.append((tuple(map(int, match.groups())), path))
    files = [path for _, path in sorted(dated)]
    if (folder / LOG_NAME).is_file():
        files.append(folder / LOG_NAME)
    for index, path in enumerate(files):
        if inode is not None and path.stat().st_ino == inode:
            return files[index:]
    return [path for path in files if _may_hold(path, since)]


def _may_hold(path: Path, since: float) -> bool:
    match = _DATED.fullmatch(path.name)
    if match is None:
        return True
    year, month, day = map(int, match.groups())
    # mktime, of local dates as the names are, takes the day after the last one of a month
    return time.mktime((year, month, day + 1, 0, 0, 0, 0, 0, -1)) > since


def _lines(stream: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Whole lines with their offsets; one that is still being written waits."""
    start = stream.tell()
    for line in stream:
        if not line.endswith(b"\n"):
            return
        yield start, line
        start += len(line)


def _parse(line: bytes, since: float) -> dict[str, Any] | None:
    try:
        record = json.loads(line)
        later = isinstance(record, dict) and float(record["timestamp"]) > since
    except (ValueError, KeyError, TypeError):
        return None
    return record if later else None


def _inode(stream: BinaryIO) -> int:
    return os.fstat(stream.fileno()).st_ino


def _encode(inode: int, offset: int, last: float) -> str:
    return base64.urlsafe_b64encode(f"{inode}:{offset}:{last}".encode()).decode()


def _decode(cursor: str | None) -> tuple[int | None, int, float]:
    if cursor is None:
        return None, 0, 0.0
    try:
        inode, offset, last = base64.urlsafe_b64decode(cursor).decode().split(":")
        return int(inode), int(offset), float(last)
    except (ValueError, TypeError, AttributeError) as error:
        raise ValueError(f"{cursor!r} is no cursor of a page of the log") from error
