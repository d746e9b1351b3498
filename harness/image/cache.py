"""Folders of built files that are whole or not there.

An entry is built under a lock in a folder of its own and renamed when it is complete, so two
runs build it once and a killed one leaves nothing that looks finished. Its `manifest.json`
records the sha256 of each file; an entry that no longer matches is built again.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

from harness.errors import ImageError, InfrastructureError
from harness.image.digest import sha256
from paradrop.base.environment import user_home
from paradrop.base.exceptions import SettingsError

MANIFEST = "manifest.json"
LOCKS = Path("/proc/locks")

QUIET_SECONDS = 1
"""How long an entry is waited for without a word: to check one takes less."""

Progress = Callable[[str], None]
Manifest = dict[str, Any]


def folder() -> Path:
    """Where images are kept: `paradrop-hil/images` of the user's cache.

    An `XDG_CACHE_HOME` that is not absolute does not count (XDG Base Directory Specification).

    @raise InfrastructureError: we are nobody who has one.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME", ""))
    if not cache.is_absolute():
        try:
            cache = user_home().absolute() / ".cache"
        except SettingsError as error:
            raise InfrastructureError(
                f"there is no home folder for the user {os.getuid()}",
                hint="set HOME, or XDG_CACHE_HOME",
            ) from error
    return cache / "paradrop-hil" / "images"


def lock_of(target: Path) -> Path:
    """The file that is locked while an entry is looked at, built or removed.

    It is never removed: another run may wait for it.
    """
    return target.with_name(f".{target.name}.lock")


def used(target: Path) -> int:
    """When an entry was last handed out, in nanoseconds since the epoch.

    @raise FileNotFoundError: there is neither a lock nor an entry.
    """
    try:
        return lock_of(target).stat().st_mtime_ns
    except FileNotFoundError:
        return target.stat().st_mtime_ns


def renew(target: Path) -> None:
    """An entry is in use: see `used`."""
    lock_of(target).touch()


def allocated(target: Path) -> dict[tuple[int, int], int]:
    """What the files of a folder take on disk in bytes, by device and inode.

    Holes of sparse files take nothing.
    """
    found = {}
    for parent, _, names in os.walk(target):
        for name in names:
            with contextlib.suppress(FileNotFoundError):  # it is being built or removed
                facts = Path(parent, name).lstat()
                found[facts.st_dev, facts.st_ino] = facts.st_blocks * 512
    return found


@contextlib.contextmanager
def held(target: Path) -> Iterator[bool]:
    """Hold the lock of an entry, without waiting for it and without using the entry.

    @return: False if another run holds it.
    """
    lock = lock_of(target)
    since = None if lock.exists() or not target.exists() else used(target)
    with lock.open("a") as file:
        if not _taken(file):
            yield False
            return
        if since is not None:
            os.utime(lock, ns=(since, since))
        yield True


def entry(
    name: str,
    build: Callable[[Path], Manifest],
    progress: Progress,
    *,
    rebuild: bool = False,
) -> tuple[Path, Manifest]:
    """An entry of the cache, built if it is not there.

    @param name: names its inputs: same name, same entry.
    @param build: fills an empty folder and returns what to record of it.
    @param progress: called with a line whenever something takes time.
    @param rebuild: build it even if it is there.
    @return: its folder and its manifest, with `files`: size and sha256 of each.
    @raise ImageError: the disk is full or can't be written.
    """
    target = folder() / name
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with _locked(lock_of(target), progress, name):
            damage = _damage(target) if target.exists() else "missing"
            if damage != "missing" and damage:
                progress(f"{name} in the cache is damaged ({damage}): building it again")
            manifest = _build(target, build) if damage or rebuild else _read(target)
            renew(target)
            return target, manifest
    except OSError as error:
        hint = "make room, or point XDG_CACHE_HOME elsewhere" if error.errno == 28 else ""
        raise ImageError(
            f"{name} can't be built below {target.parent}: {error}", hint=hint
        ) from error


def look(name: str) -> tuple[Path, Manifest] | None:
    """An entry, if it is there; it is neither checked nor used by this. Its manifest is as in
    `entry`."""
    target = folder() / name
    try:
        return target, _read(target)
    except (OSError, ValueError):
        return None


def _build(target: Path, build: Callable[[Path], Manifest]) -> Manifest:
    for leftover in target.parent.glob(f".{target.name}.tmp-*"):  # of a run that was killed
        shutil.rmtree(leftover, ignore_errors=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{target.name}.tmp-", dir=target.parent))
    try:
        manifest = build(scratch)
        files = sorted(path for path in scratch.iterdir() if path.is_file())
        manifest["files"] = {
            path.name: {"size": path.stat().st_size, "sha256": sha256(path)} for path in files
        }
        text = json.dumps(manifest, indent=2, sort_keys=True) + "\n"
        (scratch / MANIFEST).write_text(text, encoding="utf-8")
        for path in (*files, scratch / MANIFEST):
            path.chmod(0o644)
            with path.open("rb") as file:
                os.fsync(file.fileno())
        scratch.chmod(0o755)
        if target.exists():
            shutil.rmtree(target)
        scratch.rename(target)
    except BaseException:
        shutil.rmtree(scratch, ignore_errors=True)
        raise
    return manifest


def _damage(target: Path) -> str:
    try:
        recorded = _read(target)["files"].items()
        for name, facts in recorded:
            path = target / name
            if path.stat().st_size != facts["size"] or sha256(path) != facts["sha256"]:
                return f"{name} has changed"
    except FileNotFoundError as error:
        return f"{Path(error.filename).name} is gone"
    except (ValueError, KeyError, TypeError, AttributeError):
        return f"{MANIFEST} can't be read"
    return ""


def _read(target: Path) -> Manifest:
    manifest: Manifest = json.loads((target / MANIFEST).read_text(encoding="utf-8"))
    return manifest


@contextlib.contextmanager
def _locked(path: Path, progress: Progress, name: str) -> Iterator[None]:
    with path.open("a") as file:
        quiet = time.monotonic() + QUIET_SECONDS
        while not _taken(file):
            if time.monotonic() > quiet:
                progress(f"{name} is being built or checked by {_holder(file)}: waiting for it")
                fcntl.flock(file, fcntl.LOCK_EX)
                break
            time.sleep(0.05)
        yield


def _taken(lock: IO[str]) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _holder(lock: IO[str]) -> str:
    """Who holds a lock, as proc(5) has it; one beyond our name space of processes has no name."""
    inode = os.fstat(lock.fileno()).st_ino
    with contextlib.suppress(OSError):
        held = re.search(rf"^\d+: FLOCK .* (\d+) \S+:{inode} ", LOCKS.read_text(), re.MULTILINE)
        if held is not None:
            words = Path("/proc", held[1], "cmdline").read_text(errors="replace").split("\0")
            short = " ".join(word.rpartition("/")[2] for word in words).strip()[:60]
            return f"another run (pid {held[1]}, {short})"
    return "another run"
