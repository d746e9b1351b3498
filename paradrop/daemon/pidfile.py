"""One daemon for each runtime home: a lock on its pid file, which ends with the process."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from types import TracebackType

from paradrop.base.exceptions import ParadropException

NAME = "paradropd.pid"


class PidFile:
    """
    The pid file, locked and present while the context is entered.

    @raise ParadropException: another daemon holds it.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / NAME
        self._descriptor = -1

    def __enter__(self) -> PidFile:
        while True:
            self._descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            try:
                fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                os.close(self._descriptor)
                raise ParadropException(
                    f"a daemon already runs (pid {_read(self.path)}, {self.path})"
                ) from error
            if _same_file(self._descriptor, self.path):
                break
            os.close(self._descriptor)  # the daemon before us has just removed it
        os.ftruncate(self._descriptor, 0)
        os.write(self._descriptor, f"{os.getpid()}\n".encode())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.path.unlink(missing_ok=True)
        os.close(self._descriptor)


def running(folder: Path) -> int | None:
    """@return: the pid of the daemon that holds the pid file in `folder`, None if none does."""
    path = folder / NAME
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _read(path)
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
