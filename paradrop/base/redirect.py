"""A stand-in for sys.stdout or sys.stderr whose lines become log records."""

import contextlib
import io
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any, TextIO

from paradrop.base.callsite import silentLogPrefix
from paradrop.base.logline import Record

LINE_LIMIT = 65536
"""Characters of a line without an end, after which it becomes a record as it is."""


class OutputRedirect:
    """
    Intercepts what is written to a text stream, and calls back with a log record for each line.

    A line that is written in pieces is joined, for each thread apart. The true stream stays
    reachable, and everything that is not intercepted (`encoding`, `buffer`, ...) is the true one's.

    @param output: the true stream; None, as `sys.stdout` is where there is none.
    @param contentAppearedCallback: called with each record, in the thread that wrote.
    @param logType: an entry of `paradrop.base.output.LOG_TYPES`.
    """

    def __init__(
        self,
        output: TextIO | None,
        contentAppearedCallback: Callable[[Record], object],
        logType: dict[str, Any],
    ) -> None:
        self.trueOut: Any = output
        self.callback = contentAppearedCallback
        self.type = logType
        self._partial: dict[int, str] = {}  # by thread

    def write(self, contents: str) -> int:
        """
        Take text; call back for each line that it ends. Empty lines are dropped.

        @return: the number of characters taken: all.
        """
        thread = threading.get_ident()
        *lines, rest = (self._partial.pop(thread, "") + str(contents)).split("\n")
        if len(rest) > LINE_LIMIT:
            lines.append(rest)
            rest = ""
        if rest:
            self._partial[thread] = rest
        for line in lines:
            self._emit(line)
        return len(contents)

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    def endLines(self) -> None:
        """Call back also for the lines that were begun and not ended."""
        for thread in list(self._partial):
            self._emit(self._partial.pop(thread, ""))

    def trueWrite(self, contents: object) -> None:
        """Write a line to the true stream."""
        write_line(self.trueOut, str(contents))

    def flush(self) -> None:
        """Flush the true stream. That it is closed or broken is nothing to who prints records."""
        with contextlib.suppress(OSError, ValueError):
            if self.trueOut is not None:
                self.trueOut.flush()

    def isatty(self) -> bool:
        """Never: what is written becomes records, whatever the true stream is."""
        return False

    def fileno(self) -> int:
        """
        That of the true stream: what is written there becomes no record.

        @raise OSError: it has none.
        """
        if self.trueOut is None:
            raise io.UnsupportedOperation("fileno")
        number: int = self.trueOut.fileno()
        return number

    @property
    def encoding(self) -> str:
        return getattr(self.trueOut, "encoding", None) or "utf-8"

    def readable(self) -> bool:
        return False

    def writable(self) -> bool:
        return True

    def close(self) -> None:
        """Leave the true stream open: it is not ours."""

    def __getattr__(self, name: str) -> Any:
        if name == "trueOut":  # not there yet: a copy that is being made
            raise AttributeError(name)
        return getattr(self.trueOut, name)

    def _emit(self, line: str) -> None:
        if not line.strip():
            return
        package, module, number = silentLogPrefix(1)
        self.callback(
            {
                "message": line,
                "type": self.type["name"],
                "extra": {"details": "floating print statement"},
                "package": package,
                "module": module,
                "timestamp": time.time(),
                "pdid": "UNSET",
                "line": number,
            }
        )


def write_line(stream: TextIO | None, line: str) -> None:
    """
    Write one line to a console at once. A console that is closed, full or of a narrow encoding
    costs what cannot be shown, never an error: who logs has no use for it.
    """
    if stream is None:
        return
    if not line.endswith("\n"):
        line += "\n"
    with contextlib.suppress(OSError, ValueError):
        try:
            stream.write(line)
        except UnicodeEncodeError:
            encoding = stream.encoding or "ascii"
            stream.write(line.encode(encoding, "backslashreplace").decode(encoding))
        stream.flush()
