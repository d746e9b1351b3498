"""The kinds of output streams: each makes a log record of what it is called with."""

import sys
import time
import traceback
from collections.abc import Callable, Mapping
from enum import Enum
from types import FrameType
from typing import Any, ClassVar

from paradrop.base import pdutils
from paradrop.base.callsite import Site, is_own, parseLogPrefix, silentLogPrefix, site_of
from paradrop.base.logdelivery import Delivery
from paradrop.base.logline import Record, pieces_of, text


class Level(Enum):
    """What a record is; its value is the `type` of the record."""

    HEADER = 1
    VERBOSE = 2
    INFO = 3
    PERF = 4
    WARN = 5
    ERR = 6
    SECURITY = 7
    FATAL = 8
    USAGE = 9


def _log_type(level: Level, glyph: str, color: str) -> dict[str, Any]:
    return {"name": level.value, "glyph": glyph, "color": f"\033[{color}m"}


# Colours are parameters of the control sequence "select graphic rendition" (ECMA-48, 8.3.117).
LOG_TYPES: dict[Level, dict[str, Any]] = {
    Level.HEADER: _log_type(Level.HEADER, "==", "34"),
    Level.VERBOSE: _log_type(Level.VERBOSE, ">>", "90"),
    Level.INFO: _log_type(Level.INFO, "--", "32"),
    Level.PERF: _log_type(Level.PERF, "--", "37"),
    Level.WARN: _log_type(Level.WARN, "**", "33"),
    Level.ERR: _log_type(Level.ERR, "!!", "31"),
    Level.SECURITY: _log_type(Level.SECURITY, "!!", "1;31"),
    Level.FATAL: _log_type(Level.FATAL, "!!", "31;47"),
    Level.USAGE: _log_type(Level.USAGE, "++", "36"),
}

_CALLER = 3


class BaseOutput:
    """
    An output stream: called with a message, it returns the log record.

    @param logType: an entry of `LOG_TYPES`: how its records are typed and displayed.
    """

    def __init__(self, logType: dict[str, Any]) -> None:
        self.type = logType

    def __call__(
        self,
        args: object = "",
        logPrefixLevel: int = _CALLER,
        extra: Mapping[str, Any] | None = None,
        **extras: Any,
    ) -> Record | None:
        """
        Make a record.

        @param args: the message; anything that is not text becomes it.
        @param logPrefixLevel: which frame of the stack stands in the record: 3 the caller, 4 the
            caller of the caller, and so on.
        @param extra: what a machine may want to know; `extras` is added to it.
        @return: the record, or None if there is nothing to log.
        """
        site = silentLogPrefix(logPrefixLevel - _CALLER + 1)
        return self.record(text(args).rstrip("\n"), site, {**(extra or {}), **extras})

    def record(self, message: str, site: Site, extra: dict[str, Any]) -> Record:
        """Make a record of what has a place of its own."""
        package, module, line = site
        return {
            "message": message,
            "type": self.type["name"],
            "extra": extra,
            "package": package,
            "module": module,
            "timestamp": time.time(),
            "pdid": "UNSET",
            "line": line,
        }

    def formatOutput(self, logDict: Mapping[str, Any]) -> str:
        """
        Render a record for people at a console, without colour.

        @param logDict: a record; what it lacks is shown as unknown.
        """
        package, module, line = (logDict.get(key, "??") for key in ("package", "module", "line"))
        when = pdutils.stimestr(logDict.get("timestamp"))
        message = text(logDict.get("message", ""))
        return f"PARADROP {self.type['glyph']} [{package}.{module}#{line} @ {when}] {message}"


def short_way(
    stream: BaseOutput,
    delivery: Delivery,
    long_way: Callable[..., Record | None],
    on_error: Callable[[Exception], object],
) -> Callable[..., Record | None]:
    """
    A function that does what a call of a plain stream, and the delivery of its record, do.

    What a line of code logs differs little from call to call. The rest is prepared when it is first
    run: the record as a template, and the pieces of its line in the file.

    @param long_way: what to call instead where the call is an unusual one.
    @param on_error: called with what went wrong.
    """
    kind = stream.type["name"]

    def log(*args: Any, **kwargs: Any) -> Record | None:
        # All in one function: this is what every record costs its caller.
        frame = sys._getframe(1)
        try:
            (message,) = args
            message = str.rstrip(message, "\n")
            template, pieces, _ = delivery.prepared[id(frame.f_code), frame.f_lasti, kind]
        except (KeyError, TypeError, ValueError):  # a new line of code, no text, not one argument
            _prepare(kind, frame, delivery)
            return long_way(*args, **kwargs)
        try:
            record = template.copy()
            record["message"] = message
            record["extra"] = kwargs
            record["timestamp"] = time.time()
            if kwargs:
                if not _UNUSUAL.isdisjoint(kwargs):
                    return long_way(*args, **kwargs)
                extra = kwargs.pop("extra", None)
                if extra:
                    record["extra"] = {**extra, **kwargs}
            delivery.pass_on(record, pieces)
        except Exception as error:
            on_error(error)
            return None
        return record

    return log


def _prepare(kind: int, frame: FrameType, delivery: Delivery) -> None:
    code = frame.f_code
    if is_own(code):  # somebody else called that
        return
    package, module, line = site_of(frame)
    template: Record = {
        "message": "",
        "type": kind,
        "extra": {},
        "package": package,
        "module": module,
        "timestamp": 0.0,
        "pdid": delivery.pdid,
        "line": line,
    }
    known = delivery.prepared
    if len(known) >= _PREPARED_LIMIT:
        known.clear()
    # While its code is held, no other code has its id.
    known[id(code), frame.f_lasti, kind] = (template, pieces_of(template), code)


_UNUSUAL = frozenset(("args", "logPrefixLevel"))
_PREPARED_LIMIT = 4096  # code that is made at run time has no end of lines


class ExceptionOutput(BaseOutput):
    """The stream that takes an exception, and records its traceback."""

    def __call__(  # type: ignore[override]
        self,
        exception: object = None,
        random: object = None,
        extra: Mapping[str, Any] | None = None,
        **extras: Any,
    ) -> Record:
        """
        Make a record.

        @param exception: the exception; outside of an `except` block as well. Text (or None) stands
            for the exception that is being handled.
        @param random: not used; existing callers give it.
        @param extra: as for every stream.
        """
        extras = {**(extra or {}), **extras}
        handled = exception if isinstance(exception, BaseException) else sys.exception()
        if handled is None:
            return self.record(text(exception), silentLogPrefix(1), extras)
        site = parseLogPrefix(handled.__traceback__)
        if handled.__traceback__ is None:
            site = silentLogPrefix(1)
        message = describe(handled)
        if isinstance(exception, str) and exception:
            message = f"{exception}\n{message}"
        return self.record(message, site, {"exception": type(handled).__name__, **extras})


class TwistedOutput(BaseOutput):
    """The stream that takes the events of Twisted's log that are no errors."""

    blacklist: ClassVar[list[str]] = ["Starting factory", "Stopping factory", "Log opened"]
    """An event whose text has one of these in it is dropped."""

    def __call__(self, args: Mapping[str, Any]) -> Record | None:  # type: ignore[override]
        """
        @param args: an event as `twisted.python.log` gives it to observers.
        @return: the record; None for an error, an event without text, or one of the blacklist.
        """
        message = _text_of_event(args)
        if args.get("isError") or not message or any(part in message for part in self.blacklist):
            return None
        record = self.record(message, ("twisted", "internal", "??"), _origin(args))
        level = getattr(args.get("log_level"), "name", None)
        record["type"] = _TWISTED_LEVELS.get(level or "info", Level.ERR).value
        if level in (None, "info"):
            record["type"] = self.type["name"]
        return record


class TwistedException(BaseOutput):
    """The stream that takes the failures from Twisted's log."""

    def __call__(self, args: Mapping[str, Any]) -> Record | None:  # type: ignore[override]
        """
        @param args: an event as `twisted.python.log` gives it to observers.
        @return: the record; None if the event is no error.
        """
        if not args.get("isError"):
            return None
        failure = args.get("failure")
        if failure is None:
            message, site = _text_of_event(args), UNKNOWN_TWISTED
        else:
            reason = text(args.get("why") or "").strip()
            message = f"{reason}\n{failure.getTraceback()}".strip()
            site = parseLogPrefix(failure.getTracebackObject())
        return self.record(message, site, _origin(args))


UNKNOWN_TWISTED: Site = ("twisted", "internal", "??")

_TWISTED_LEVELS = {"debug": Level.VERBOSE, "info": Level.INFO, "warn": Level.WARN}


def describe(exception: BaseException) -> str:
    """The traceback of an exception, with those that caused it, as text without a final newline."""
    try:
        return "".join(traceback.format_exception(exception)).rstrip("\n")
    except Exception:
        return f"{type(exception).__name__} that has no text"


def _text_of_event(event: Mapping[str, Any]) -> str:
    from twisted.python.log import textFromEventDict

    try:
        return textFromEventDict({"isError": 0, "message": (), **event}) or ""
    except Exception:
        return text(event.get("message", ""))


def _origin(event: Mapping[str, Any]) -> dict[str, Any]:
    """Where in Twisted (or in who logs by it) an event comes from."""
    namespace = event.get("log_namespace")
    return {"namespace": namespace} if isinstance(namespace, str) else {}
