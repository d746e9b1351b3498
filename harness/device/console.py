"""The serial console of a machine: read, waited on and written to, out of band."""

from __future__ import annotations

import codecs
import contextlib
import re
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path

from harness.errors import BootError, InfrastructureError


class Console:
    """Connected to the Unix socket of a serial port; its machine also logs to `log`.

    @param device: name for errors.
    """

    def __init__(self, device: str, path: Path, log: Path) -> None:
        self._device = device
        self.log = log
        self._text = ""
        self._closed = False
        self._news = threading.Condition()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._socket.connect(str(path))
        except OSError as error:
            self._socket.close()
            raise InfrastructureError(f"no console at {path}: {error}", device=device) from error
        threading.Thread(target=self._read, name=f"console-{device}", daemon=True).start()

    def _read(self) -> None:
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        with contextlib.suppress(OSError):
            while data := self._socket.recv(65536):
                with self._news:
                    self._text += decoder.decode(data)
                    self._news.notify_all()
        with self._news:
            self._closed = True
            self._news.notify_all()

    @property
    def printed(self) -> int:
        """Characters that were printed since the machine started."""
        with self._news:
            return len(self._text)

    def wait_for(
        self,
        pattern: str,
        timeout: float = 60,
        since: int = 0,
        check: Callable[[], None] = lambda: None,
    ) -> re.Match[str]:
        """Wait until what was printed since the machine started matches a regular expression.

        @param since: characters that are not looked at; see `printed`.
        @param check: called now and then meanwhile; what it raises ends the wait.
        @raise BootError: nothing matched in `timeout` seconds, or the machine ended.
        """
        wanted = re.compile(pattern)
        deadline = time.monotonic() + timeout
        while True:
            with self._news:
                seen, closed = len(self._text), self._closed
                if (found := wanted.search(self._text, since)) is not None:
                    return found
            left = deadline - time.monotonic()
            if closed or left <= 0:
                why = "the machine ended" if closed else f"{timeout:g} s passed"
                raise BootError(
                    f"{why} before the console showed {pattern!r}",
                    device=self._device,
                    evidence=self.tail() or "the console printed nothing",
                )
            check()
            with self._news:
                if (len(self._text), self._closed) == (seen, closed):
                    self._news.wait(min(left, 0.5))

    @property
    def text(self) -> str:
        """What was printed since the machine started."""
        with self._news:
            return self._text

    def send(self, text: str) -> None:
        """Type on the console. @raise InfrastructureError: the machine has ended."""
        try:
            self._socket.sendall(text.encode())
        except OSError as error:
            raise InfrastructureError("the console has ended", device=self._device) from error

    def tail(self, lines: int = 20) -> str:
        """The last lines printed, of this boot and earlier ones."""
        with contextlib.suppress(OSError):
            return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])
        return ""

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
