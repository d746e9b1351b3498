"""What a target prints on its serial console, kept in a file: evidence."""

from __future__ import annotations

import contextlib
import threading
from pathlib import Path
from typing import Any

from pexpect import TIMEOUT

LOOK_SECONDS = 0.5


class ConsoleLog:
    """Reads an active console driver of labgrid, and writes all of it to a file.

    @param driver: of its ConsoleProtocol, those that are read by size.
    """

    def __init__(self, driver: Any, path: Path) -> None:
        self.path = path
        self._driver = driver
        self._file = path.open("ab", buffering=0)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._read, name="labgrid-console", daemon=True)
        self._thread.start()

    def _read(self) -> None:
        while not self._ended.is_set():
            try:
                # not `read`: labgrid keeps one stack of steps for all threads
                self._keep(self._driver._read(size=1, timeout=LOOK_SECONDS, max_size=4096))
            except TIMEOUT:
                continue
            except Exception as error:
                if not self._ended.is_set():
                    self._keep(f"\n-- the console is gone: {error} --\n".encode())
                return

    def _keep(self, data: bytes) -> None:
        """On a full disk the end is lost, but the console is read on: else it would stop."""
        with contextlib.suppress(OSError):
            self._file.write(data)

    def tail(self, lines: int = 20) -> str:
        """The last lines printed."""
        return "\n".join(self.path.read_text(errors="replace").splitlines()[-lines:])

    def close(self) -> None:
        self._ended.set()
        self._thread.join(5)
        self._file.close()
