"""Removing from the cache what nobody has used for long.

An entry goes under its lock, and first loses its name: a run that is killed here leaves nothing
that looks whole.
"""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from harness.errors import ImageError
from harness.image import cache

_ENTRY = re.compile(r"[a-z][\w-]*-[0-9a-f]{16}")
_LEFTOVER = re.compile(r"\.(.+)\.tmp-[^.]+")
_DAY = 86400 * 10**9


@dataclass(frozen=True)
class Removed:
    """Something that was in the cache. `size` is what its files take on disk, shared or not."""

    name: str
    size: int
    reason: str


@dataclass(frozen=True)
class Pruned:
    """What was removed, what was not as another run holds it, and bytes on disk."""

    removed: list[Removed] = field(default_factory=list)
    busy: list[str] = field(default_factory=list)
    freed: int = 0
    left: int = 0


def prune(
    *,
    days: float | None = None,
    size: int | None = None,
    dry_run: bool = False,
    say: Callable[[Removed], None] = lambda removed: None,
) -> Pruned:
    """Remove what killed runs left, then entries, the least recently used first.

    @param days: those that were not used for as long.
    @param size: then more of them, until what is left takes at most that many bytes.
    @param dry_run: remove nothing, only tell what would be.
    @param say: called with each thing once it is removed.
    @raise ImageError: something can't be removed.
    """
    return _Run(dry_run, say)(days, size)


class _Run:
    def __init__(self, dry_run: bool, say: Callable[[Removed], None]) -> None:
        self._dry_run = dry_run
        self._say = say
        self._removed: list[Removed] = []
        self._busy: list[str] = []
        folders = [path for path in _subfolders() if _target(path)]
        self._left = {path: cache.allocated(path) for path in folders}

    def __call__(self, days: float | None, size: int | None) -> Pruned:
        before = _total(self._left.values())
        now = time.time_ns()
        for folder in sorted(self._left):
            if folder != _target(folder):
                self._remove(folder, "left by a killed run")

        entries = [
            (used, folder)
            for folder in self._left
            if folder == _target(folder) and (used := _used(folder)) is not None
        ]
        for used, folder in sorted(entries):
            if days is not None and now - used >= days * _DAY:
                self._remove(folder, f"not used for {(now - used) / _DAY:.0f} days", used)

        for used, folder in sorted(entries):
            if size is None or _total(self._left.values()) <= size:
                break
            if folder in self._left and folder.name not in self._busy:
                self._remove(folder, f"least recently used, beyond {size / 1e9:g} GB", used)
        left = _total(self._left.values())
        return Pruned(self._removed, self._busy, before - left, left)

    def _remove(self, folder: Path, reason: str, used: int | None = None) -> None:
        """Remove a folder, unless another run holds it or has used it since we looked."""
        target = _target(folder) or folder
        try:
            with cache.held(target) as ours:
                if not ours:
                    self._busy.append(folder.name)
                    return
                if not folder.exists() or (used is not None and cache.used(target) != used):
                    return
                if not self._dry_run:
                    _delete(folder, target)
        except OSError as error:
            raise ImageError(f"{folder.name} can't be removed: {error}") from error
        removed = Removed(folder.name, sum(self._left.pop(folder).values()), reason)
        self._removed.append(removed)
        self._say(removed)


def _delete(folder: Path, target: Path) -> None:
    if folder == target:
        folder = target.with_name(f".{target.name}.tmp-gone")
        if folder.exists():
            shutil.rmtree(folder)
        target.rename(folder)
    shutil.rmtree(folder)


def _subfolders() -> list[Path]:
    home = cache.folder()
    if not home.is_dir():
        return []
    return [path for path in home.iterdir() if path.is_dir() and not path.is_symlink()]


def _target(folder: Path) -> Path | None:
    """The entry that a folder is, or is left of; None if it is nothing of ours."""
    leftover = _LEFTOVER.fullmatch(folder.name)
    name = leftover[1] if leftover else folder.name
    return folder.with_name(name) if _ENTRY.fullmatch(name) else None


def _used(folder: Path) -> int | None:
    try:
        return cache.used(folder)
    except FileNotFoundError:
        return None


def _total(folders: Iterable[dict[tuple[int, int], int]]) -> int:
    """Bytes on disk of several folders; files that are linked into more than one count once."""
    inodes: dict[tuple[int, int], int] = {}
    for each in folders:
        inodes |= each
    return sum(inodes.values())
