"""Where the standard `logging` package hands over its records."""

import logging
from collections.abc import Callable
from typing import Any

from paradrop.base.callsite import names
from paradrop.base.logline import Record, text
from paradrop.base.streams import Level, describe

_LEVELS = (
    (logging.CRITICAL, Level.FATAL),
    (logging.ERROR, Level.ERR),
    (logging.WARNING, Level.WARN),
    (logging.INFO, Level.INFO),
)
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_FROM_TWISTED = "twisted.logger._stdlib"


class StandardLogHandler(logging.Handler):
    """
    Makes log records of those of the standard `logging` package, with their level, place and
    traceback, and the attributes that were given as `extra`.

    What Twisted's own bridge brings here is dropped: Twisted's log arrives by itself.

    Between `install` and `remove` the root logger lets records of the level INFO pass, unless it
    was given a level of its own.

    @param on_record: called with each record, in the thread that logs it.
    """

    def __init__(self, on_record: Callable[[Record], object]) -> None:
        super().__init__()
        self._on_record = on_record
        self._lowered = False

    def install(self) -> None:
        root = logging.getLogger()
        root.addHandler(self)
        self._lowered = root.level == logging.WARNING
        if self._lowered:
            root.setLevel(logging.INFO)

    def remove(self) -> None:
        root = logging.getLogger()
        root.removeHandler(self)
        if self._lowered and root.level == logging.INFO:
            root.setLevel(logging.WARNING)

    def handle(self, record: logging.LogRecord) -> bool:
        # Without the lock of handlers: nothing here needs it, and who waits for room in the queue
        # would hold up whoever logs an error.
        if self.filter(record):
            self.emit(record)
        return True

    def emit(self, record: logging.LogRecord) -> None:
        if type(record.msg).__module__ != _FROM_TWISTED:
            self._on_record(_record_of(record))


def _record_of(record: logging.LogRecord) -> Record:
    package, module = names(record.pathname)
    extra: dict[str, Any] = {"logger": record.name}
    extra |= {key: value for key, value in vars(record).items() if key not in _STANDARD}
    parts = [_message_of(record)]
    error = record.exc_info[1] if record.exc_info else None
    if error is not None:
        extra.setdefault("exception", type(error).__name__)
        parts.append(describe(error))
    if record.stack_info:
        parts.append(text(record.stack_info))
    return {
        "message": "\n".join(parts),
        "type": _level_of(record.levelno).value,
        "extra": extra,
        "package": package,
        "module": module,
        "timestamp": record.created,
        "pdid": "UNSET",
        "line": record.lineno,
    }


def _message_of(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except Exception:  # the arguments do not fit the format
        return f"{text(record.msg)} {text(record.args)}"


def _level_of(number: int) -> Level:
    return next((level for least, level in _LEVELS if number >= least), Level.VERBOSE)
