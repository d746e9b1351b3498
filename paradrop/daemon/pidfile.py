"""The pid file of the daemon in its runtime home: whom to tell that something has changed."""

from __future__ import annotations

from pathlib import Path

from paradrop.base.lockfile import LockFile, holder

NAME = "paradropd.pid"


class PidFile(LockFile):
    """
    The pid file, locked and present while the context is entered.

    @raise ParadropException: another daemon holds it.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(folder / NAME)


def running(folder: Path) -> int | None:
    """@return: the pid of the daemon that holds the pid file in `folder`, None if none does."""
    return holder(folder / NAME)
