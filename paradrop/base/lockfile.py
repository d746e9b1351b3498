"""A file that one process holds, with its pid in it, until it ends, however it ends."""

from __future__ import annotations

import errno
import fcntl
import os
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from paradrop.base.disk import lacks, takes_nothing
from paradrop.base.durable import make_folder
from paradrop.base.exceptions import ParadropException

LOCK_NAME = "paradrop.lock"
"""Of the file beside a state file while a process uses it."""

_held: dict[tuple[str, int], LockFile] = {}


class LockFile:
    """
    A file that is locked, and has the pid of this process, from `acquire` to `release`. The lock
    itself ends with the process; a file that nobody holds means nothing.

    A disk that is full or read-only does not keep a process from its work. The lock is held all
    the same if the file exists or can be made; only the pid may be missing from it. Where there is
    no file to lock, nothing is locked: `held` is False.

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
        @raise OSError: the file cannot be opened, for another reason than a disk that is full or
            read-only.
        """
        while (descriptor := _open(self.path)) is not None:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                pid = _pid_in(descriptor) or _pid_of_holder(descriptor)
                os.close(descriptor)
                raise ParadropException(
                    f"a daemon already runs (pid {pid or 'unknown'}, {self.path})"
                ) from error
            if _same_file(descriptor, self.path):
                _write(descriptor, f"{os.getpid()}\n".encode())
                self._descriptor = descriptor
                return
            os.close(descriptor)  # the one before us has just removed it

    def release(self) -> None:
        """Remove the file. Nothing happens if it is not held."""
        if self.held:
            with suppress(OSError):  # on a read-only disk it stays, and means nothing
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
        return _pid_in(descriptor) or _pid_of_holder(descriptor)
    finally:
        os.close(descriptor)
    return None


def _open(path: Path) -> int | None:
    """Open a lock file to lock it; None if there is none and the disk takes none."""
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        if not (takes_nothing(error) or lacks(path.parent)):
            raise
    with suppress(FileNotFoundError):
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    return None


def _write(descriptor: int, pid: bytes) -> None:
    """Write the pid over an old one, which needs no room, or leave the file empty."""
    try:
        os.write(descriptor, pid)
        os.ftruncate(descriptor, len(pid))
    except OSError as error:  # EBADF: it could be opened for reading only
        if not takes_nothing(error) and error.errno != errno.EBADF:
            raise
        with suppress(OSError):
            os.ftruncate(descriptor, 0)


def _pid_in(descriptor: int) -> int | None:
    try:
        return int(os.pread(descriptor, 32, 0))
    except ValueError:
        return None


def _pid_of_holder(descriptor: int) -> int | None:
    """The process that holds the lock of a file, as the kernel says it (proc_locks(5))."""
    status = os.fstat(descriptor)
    file = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}:{status.st_ino}"
    with suppress(OSError):
        for line in Path("/proc/locks").read_text().splitlines():
            words = line.split()
            if words[1] == "FLOCK" and words[5] == file:
                return int(words[4])
    return None


def _same_file(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False
