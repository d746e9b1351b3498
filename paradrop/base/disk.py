"""A disk that takes nothing more, because it is full or read-only."""

from __future__ import annotations

import errno
import os

_ERRORS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS})


def takes_nothing(error: OSError) -> bool:
    """Whether a write failed only because the disk is full or read-only."""
    return error.errno in _ERRORS


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
