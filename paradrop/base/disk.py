"""A disk that takes nothing more, because it is full or read-only."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_ERRORS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS})


def takes_nothing(error: OSError) -> bool:
    """Whether a write failed only because the disk is full or read-only."""
    return error.errno in _ERRORS


@contextmanager
def unless_disk_takes_nothing() -> Iterator[None]:
    """Go on where a write fails only because the disk is full or read-only."""
    try:
        yield
    except OSError as error:
        if not takes_nothing(error):
            raise


def lacks(folder: str | os.PathLike[str]) -> bool:
    """Whether a folder is not there and can't be made, as its disk is full or read-only."""
    path = Path(folder)
    if path.exists():
        return False
    there = next(parent for parent in path.absolute().parents if parent.exists())
    return condition(there) in ("full", "read-only")


def condition(folder: str | os.PathLike[str]) -> str:
    """
    @param folder: any folder on the disk.
    @return: `ok`; `full`, if it has no free block or no free inode for us; `read-only`; or
        `unknown`, if there is no such folder.
    """
    try:
        found = os.statvfs(folder)
    except OSError:
        return "unknown"
    if found.f_flag & os.ST_RDONLY:
        return "read-only"
    # A file system without a fixed number of inodes, such as btrfs, says that it has none at all.
    no_inode = found.f_files > 0 and found.f_favail == 0
    return "full" if found.f_bavail == 0 or no_inode else "ok"
