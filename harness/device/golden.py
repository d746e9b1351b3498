"""Golden states: a machine that booted once, from which every fresh device starts.

A state is the RAM as a file, which clones map copy-on-write, the rest of the machine, and the
state disk. Where QEMU can't have the RAM apart, it is with the rest. The state is kept beside the
images under a key that hashes all it was made from, is made once by whoever needs it first, and is
whole or not there (`harness.image.cache`).
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from harness.device import machine
from harness.errors import ImageError
from harness.image import cache, digest

NEEDS = 2 * machine.MEMORY_MIB << 20
"""Bytes of disk to begin with: RAM and state disk, if all of both were in use."""


@dataclass(frozen=True)
class Golden:
    """A golden state on disk; its files never change.

    @param with_ram: the RAM is part of `state`, not a file of its own.
    """

    folder: Path
    key: str
    with_ram: bool = False

    @property
    def ram(self) -> Path:
        return self.folder / "ram"

    @property
    def state(self) -> Path:
        """The machine without its disk, as QEMU migrates it."""
        return self.folder / "state"

    @property
    def disk(self) -> Path:
        return self.folder / "disk"

    @property
    def console(self) -> Path:
        """What the console showed during the boot."""
        return self.folder / "console.log"


_verified: dict[Path, Golden] = {}


def find(
    arch: str,
    facts: Iterable[str],
    make: Callable[[Golden], None],
    progress: Callable[[str], None],
    *,
    with_ram: bool = False,
) -> Golden:
    """The golden state of a machine; it is made if there is none that is whole.

    @param facts: everything that decides what is in it, beside QEMU and this code.
    @param make: boots a machine and leaves its files.
    @param progress: called with a line whenever something takes time.
    @param with_ram: see `Golden`; one of the facts has to tell of it.
    @raise ImageError: it can't be kept.
    """
    key = _key(arch, facts)
    known = _place(arch, key)
    if known in _verified and known.is_dir():  # whole when this process looked at it first
        cache.renew(known)
        return _verified[known]

    def build(folder: Path) -> cache.Manifest:
        free = shutil.disk_usage(folder).free
        if free < NEEDS:
            raise ImageError(
                f"{free >> 20} MiB are free at {folder.parent}, a golden state may take "
                f"{NEEDS >> 20}",
                hint="make room, or point XDG_CACHE_HOME elsewhere",
            )
        progress(f"{arch}: booting once, for the golden state")
        make(Golden(folder, key, with_ram))
        return {"architecture": arch, "key": key}

    folder, _ = cache.entry(known.name, build, progress)
    _verified[known] = Golden(folder, key, with_ram)
    return _verified[known]


def place(arch: str, facts: Iterable[str]) -> Path:
    """Where a golden state is, if there is one."""
    return _place(arch, _key(arch, facts))


def _key(arch: str, facts: Iterable[str]) -> str:
    code = digest.code(digest.IMAGE, digest.DEVICE)
    return digest.key(code=code, arch=arch, facts=list(facts))


def _place(arch: str, key: str) -> Path:
    return cache.folder() / f"golden-{arch}-{key[:16]}"


def copy_disk(source: Path, target: Path) -> None:
    """Copy a sparse file, without what is not in it (lseek(2), SEEK_DATA)."""
    target.touch(mode=0o600)
    with source.open("rb") as old, target.open("r+b") as new:
        size = os.fstat(old.fileno()).st_size
        new.truncate(size)
        begin = 0
        while begin < size:
            try:
                begin = os.lseek(old.fileno(), begin, os.SEEK_DATA)
            except OSError:  # nothing but a hole is left
                break
            end = os.lseek(old.fileno(), begin, os.SEEK_HOLE)
            while begin < end:
                begin += _copy(old.fileno(), new.fileno(), begin, end - begin)


def _copy(source: int, target: int, begin: int, count: int) -> int:
    try:
        return os.copy_file_range(source, target, count, begin, begin)
    except OSError as error:
        if error.errno not in (errno.EXDEV, errno.EOPNOTSUPP):  # file systems of two kinds
            raise
    os.lseek(target, begin, os.SEEK_SET)
    return os.sendfile(target, source, begin, count)
