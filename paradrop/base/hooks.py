"""Where Python and Twisted report what nobody handled, and others hand over their logs."""

import sys
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any

from paradrop.base.callsite import parseLogPrefix
from paradrop.base.logline import Record
from paradrop.base.streams import LOG_TYPES, ExceptionOutput, Level, describe


class Hooks:
    """
    Takes what nobody handled, the log of Twisted, and that of the standard `logging` package,
    between `install` and `remove`.

    @param on_record: called with the record of an unhandled exception, or of `logging`.
    @param on_twisted: called with each event of Twisted's log, in the form that observers of
        `twisted.python.log` get.
    """

    def __init__(
        self,
        on_record: Callable[[Record], object],
        on_twisted: Callable[[dict[str, Any]], object],
    ) -> None:
        self._on_record = on_record
        self._on_twisted = on_twisted
        self._observer: Any = None
        self._standard: Any = None
        self._saved: tuple[Any, Any] | None = None

    def install(self) -> None:
        from twisted.logger import LegacyLogObserverWrapper, globalLogBeginner, globalLogPublisher

        from paradrop.base.stdlog import StandardLogHandler

        self._standard = StandardLogHandler(self._on_record)
        self._standard.install()
        self._saved = (sys.excepthook, threading.excepthook)
        sys.excepthook, threading.excepthook = self._unhandled, self._unhandled_in_thread
        self._observer = LegacyLogObserverWrapper(self._on_twisted)  # type: ignore[arg-type]
        if getattr(globalLogBeginner, "_temporaryObserver", None) is None:
            globalLogPublisher.addObserver(self._observer)
        else:  # nobody has begun Twisted's log: what it has kept so far comes now
            globalLogBeginner.beginLoggingTo([self._observer], redirectStandardIO=False)

    def remove(self) -> None:
        if self._saved is None:
            return
        from twisted.logger import globalLogPublisher

        self._standard.remove()
        globalLogPublisher.removeObserver(self._observer)
        # Bound methods are equal, not identical, each time they are looked up.
        if sys.excepthook == self._unhandled:
            sys.excepthook = self._saved[0]
        if threading.excepthook == self._unhandled_in_thread:
            threading.excepthook = self._saved[1]
        self._saved = None

    def _unhandled(
        self, kind: type[BaseException], error: BaseException, trace: TracebackType | None
    ) -> None:
        before = self._saved[0] if self._saved else sys.__excepthook__
        if not issubclass(kind, Exception):  # KeyboardInterrupt
            before(kind, error, trace)
            return
        self._record("unhandled exception", Level.FATAL, error, trace)
        if before is not sys.__excepthook__:
            before(kind, error, trace)

    def _unhandled_in_thread(self, args: threading.ExceptHookArgs) -> None:
        if args.exc_value is None or issubclass(args.exc_type, SystemExit):
            return
        name = args.thread.name if args.thread else "unknown"
        what = f"unhandled exception in thread {name}"
        self._record(what, Level.ERR, args.exc_value, args.exc_traceback)

    def _record(
        self, what: str, level: Level, error: BaseException, trace: TracebackType | None
    ) -> None:
        stream = ExceptionOutput(LOG_TYPES[level])
        message = f"{what}\n{describe(error)}"
        extra = {"event": "exception.unhandled", "exception": type(error).__name__}
        self._on_record(stream.record(message, parseLogPrefix(trace), extra))
