"""A file that one process holds, with its pid in it, until it ends, however it ends."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from types import TracebackType

from paradrop.base.durable import make_folder
from paradrop.base.exceptions import ParadropException

LOCK_NAME = "paradrop.lock"
"""Of the file beside a state file while a process uses it."""

_held: dict[tuple[str, int], LockFile] = {}


class LockFile:
    """
    A file that is locked, and has the pid of this process, from `acquire` to `release`. The lock
    itself ends with the process; a file that nobody holds means nothing.

    @param path: its folder must exist.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._descriptor = -1

    @property
    def held(self) -> bool:
        """Whether this object holds it."""
        return self._descriptor >= 0

    def acquire(self) -> None:
        """
        @raise ParadropException: another process holds it (or this one does, by another object).
        @raise OSError: the file cannot be opened.
        """
        while True:
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                os.close(descriptor)
                raise ParadropException(
                    f"a daemon already runs (pid {_read(self.path)}, {self.path})"
                ) from error
            if _same_file(descriptor, self.path):
                break
            os.close(descriptor)  # the one before us has just removed it
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()}\n".encode())
        self._descriptor = descriptor

    def release(self) -> None:
        """Remove the file. Nothing happens if it is not held."""
        if self.held:
            self.path.unlink(missing_ok=True)
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> LockFile:
        self.acquire()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.release()


def lock_beside(path: str | os.PathLike[str]) -> LockFile:
    """
    Hold the lock of a state file; a process that has it already shares it with itself.

    @param path: of the state file; its folder is made if it is missing.
    @return: for `release`.
    @raise ParadropException: another process holds it.
    @raise OSError: the folder or the file in it cannot be used.
    """
    folder = Path(os.path.realpath(path)).parent
    make_folder(folder)
    mine = (str(folder), os.getpid())  # a process that was forked does not hold what it inherits
    if mine not in _held or not _held[mine].held:
        lock = LockFile(folder / LOCK_NAME)
        lock.acquire()
        _held[mine] = lock
    return _held[mine]


def holder(path: str | os.PathLike[str]) -> int | None:
    """@return: the pid of the process that holds a lock file; None if none does."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _read(Path(path))
    finally:
        os.close(descriptor)
    return None


def _read(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None


def _same_file(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False
