"""Whose files the daemon's are: the owner's of its configuration home, also when root runs it."""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterable
from pathlib import Path

from paradrop.base.disk import lacks, unless_disk_takes_nothing


def become_owner(home: Path, made: Iterable[Path], runtime: Path) -> None:
    """
    Root becomes the owner of `home`, for good; anybody else stays who he is.

    @param made: folders that root may just have made, for the owner.
    @param runtime: the runtime home; made, and given to the owner.
    @raise OSError: a folder cannot be made or given away, for another reason than a disk that is
        full or read-only.
    """
    with unless_disk_takes_nothing():
        runtime.mkdir(mode=0o755, parents=True, exist_ok=True)
    owner = home.stat()
    if os.geteuid() != 0 or owner.st_uid == 0:
        return
    for folder in (*made, runtime):
        with unless_disk_takes_nothing():
            if not lacks(folder) and folder.stat().st_uid == 0:
                os.chown(folder, owner.st_uid, owner.st_gid)
    try:
        name = pwd.getpwuid(owner.st_uid).pw_name
        os.initgroups(name, owner.st_gid)
    except KeyError:  # an owner without an account has no other groups
        os.setgroups([])
    os.setgid(owner.st_gid)
    os.setuid(owner.st_uid)
