"""
Logging: streams that are called with messages, records in a file, lines on a console.

    from paradrop.base.output import out
    out.info("text", extra={"event": "something.happened"})

A record is a dict, and a line of JSON in the log file:
`message` (text), `type` (the value of a `Level`), `extra` (a dict), `package`, `module` and `line`
of the caller, `timestamp` (seconds since the epoch), `pdid`.
"""

import atexit
import contextlib
import os
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from paradrop.base.callsite import parseLogPrefix, silentLogPrefix
from paradrop.base.disk import unless_disk_takes_nothing
from paradrop.base.hooks import Hooks
from paradrop.base.logdelivery import Delivery, Subscriber
from paradrop.base.logfile import LOG_NAME, PrintLogThread, Record, read_since, text
from paradrop.base.logqueue import RecordQueue
from paradrop.base.redirect import OutputRedirect, write_line
from paradrop.base.streams import (
    LOG_TYPES,
    BaseOutput,
    ExceptionOutput,
    Level,
    TwistedException,
    TwistedOutput,
    describe,
    short_way,
)

__all__ = [
    "LOG_NAME",
    "LOG_TYPES",
    "BaseOutput",
    "ExceptionOutput",
    "Level",
    "Output",
    "OutputRedirect",
    "PrintLogThread",
    "Record",
    "TwistedException",
    "TwistedOutput",
    "out",
    "parseLogPrefix",
    "silentLogPrefix",
]

QUEUE_LIMIT = 16384
"""Records that may wait for the file; as many again may be on their way to a disk that is full."""

QUEUE_WAIT = 1.0
"""Seconds that a caller waits, for room in a full queue or for the file that it wants to read."""

END_WAIT = 10.0
"""Seconds that `endLogging` waits for a disk that does not answer."""

Stream = Callable[..., Record | None]

_ALWAYS_SHOWN = frozenset(level.value for level in (Level.ERR, Level.SECURITY, Level.FATAL))
_RESET = "\033[0m"


class Output:
    """
    The streams by their names, and what becomes of their records: each goes to the log file, to the
    console if wanted (errors always), and to the subscribers.

    Nothing that is logged, nor where, raises to the caller. A stream that does not exist logs as
    `verbose`.

    The queue to the file is bounded (`QUEUE_LIMIT` records, and see `RecordQueue`). Where it is
    full, the caller waits, at most `QUEUE_WAIT` seconds; after that, and where the disk is known to
    be full or gone, records are dropped without waiting until there is room again, and then their
    number is logged. What a killed process and a power cut lose is said at `PrintLogThread`, how
    long files are kept at `DailyFile`.

    @param kwargs: the streams: callables that return a record, or None to log nothing.
    """

    header: Stream
    testing: Stream
    verbose: Stream
    info: Stream
    usage: Stream
    perf: Stream
    warn: Stream
    err: Stream
    exception: Stream
    security: Stream
    fatal: Stream
    twisted: Stream
    twistedErr: Stream

    def __init__(self, **kwargs: Stream) -> None:
        self.outputMappings: dict[str, Any] = {}
        self.logpath: Path | None = None
        self.printer: PrintLogThread | None = None
        self._delivery = Delivery(self._show, lambda error: self.exception(error), _ALWAYS_SHOWN)
        self.stealIo = False
        self.redirectOut = self._redirect(sys.stdout, Level.VERBOSE)
        self.redirectErr = self._redirect(sys.stderr, Level.WARN)
        self._lock = threading.RLock()  # of starting and ending
        self._hooks = Hooks(self._handle, self._twisted_event)
        for name, stream in kwargs.items():
            self._add(name, stream)

    def __setattr__(self, name: str, value: Any) -> None:
        if isinstance(value, BaseOutput):
            self._add(name, value)
        else:
            object.__setattr__(self, name, value)

    @property
    def pdid(self) -> str:
        """Who we are, as it stands in every record; the nexus assigns it."""
        return self._delivery.pdid

    @pdid.setter
    def pdid(self, pdid: str) -> None:
        self._delivery.identify(pdid)

    @property
    def queue(self) -> RecordQueue | None:
        """The records that wait for the file; None while there is no file."""
        return self._delivery.queue

    @property
    def printLogs(self) -> bool:
        """Whether records that are no errors are shown on the console."""
        return self._delivery.show_all

    @printLogs.setter
    def printLogs(self, newStatus: bool) -> None:
        self._delivery.show_all = newStatus

    def __getattr__(self, name: str) -> Stream:
        if name.startswith("_") or "outputMappings" not in self.__dict__:
            raise AttributeError(name)
        stream: Stream = self.__dict__.get("verbose", lambda *args, **kwargs: None)
        return stream

    def startLogging(
        self,
        filePath: str | os.PathLike[str] | None = None,
        stealStdio: bool = False,
        printToConsole: bool = True,
        maxDays: float | None = None,
        maxBytes: int | None = None,
    ) -> None:
        """
        Begin logging; a logging that was begun before is ended. Unhandled exceptions, of the main
        and of other threads, the log of Twisted, and that of the standard `logging` package (from
        the level INFO on, unless its root logger has a level of its own) arrive as records from now
        on.

        A log file that cannot be opened is said on the console, and the rest goes on without it.

        @param filePath: the folder of the log files, made if missing; None for no file.
        @param stealStdio: make records of what is printed.
        @param printToConsole: show every record on the console, not only errors.
        @param maxDays: days that log files are kept; 0 for ever; None as the settings say.
        @param maxBytes: what all log files may take; 0 for no bound; None as the settings say.
        """
        with self._lock:
            self.endLogging()
            self.logpath = None if filePath is None else Path(filePath)
            if self.logpath is not None:
                self._open_file(self.logpath, maxDays, maxBytes)
            self.stealStdio(stealStdio)
            self.logToConsole(printToConsole)
            self._hooks.install()
        atexit.register(self.endLogging)

    def endLogging(self) -> None:
        """
        Give back what was stolen, write every accepted record to the disk, and return. Later
        records still go to the console and the subscribers.
        """
        with self._lock:
            self._hooks.remove()
            self.stealStdio(False)
            printer, self.printer, self._delivery.queue = self.printer, None, None
            atexit.unregister(self.endLogging)
        if printer is not None:
            printer.stop()
            printer.join(END_WAIT)
            if not printer.is_alive():
                with contextlib.suppress(OSError):
                    printer.close()

    def flush(self, timeout: float = END_WAIT) -> bool:
        """
        Wait until the records that were logged so far are written to the file.

        @param timeout: seconds.
        @return: whether they are (as they are, without a file).
        """
        printer = self.printer
        return printer is None or printer.flush(timeout)

    def handlePrint(self, logDict: Record | None) -> None:
        """
        Take a record to the file, the console and the subscribers.

        @param logDict: the record, with at least `message` and `type`; None is dropped.
        """
        if logDict is not None:
            self._delivery.take(logDict)

    def messageToString(self, message: Record) -> str:
        """
        Render a record for the console, as the stream of its level does it.

        @param message: a record; of an unknown type, it is rendered as `info`.
        """
        try:
            name = Level(message.get("type")).name.lower()
        except ValueError:
            name = "info"
        stream = self.outputMappings.get(name)
        if not isinstance(stream, BaseOutput):
            return text(message.get("message", ""))
        return stream.formatOutput(message)

    def getLogsSince(self, target: float, purge: bool = False) -> list[Record]:
        """
        Every record later than a time, file after file, oldest file first.

        Only files that can hold such records are opened. Who wants to miss none subscribes first,
        and expects duplicates. `iterLogsSince` does it without holding all of them in memory.

        @param target: seconds since the epoch.
        @param purge: remove the files of earlier days that were read.
        @return: the records; none where logging has no folder.
        """
        return list(self._read(target, purge))

    def iterLogsSince(self, target: float) -> Iterator[Record]:
        """
        The same as `getLogsSince`, one record at a time.

        @param target: seconds since the epoch.
        """
        return self._read(target, False)

    def conceal(self, value: str | bytes) -> None:
        """
        Keep a secret out of every record from now on, whatever stream, `extra`, traceback or
        printed text it comes with, and off the console. `paradrop.base.concealment` says in which
        forms it is found.

        Records that were logged before stay as they are. Giving a value again costs nothing; it is
        remembered as long as the process lives.

        @param value: the secret; shorter than 6 characters, it is ignored.
        """
        self._delivery.concealment.add(value)

    def subscribe(self, callback: Subscriber) -> None:
        """
        Call back with every record, in the thread that logs it. Records that a callback itself
        causes are not given to the subscribers; what it raises is logged.

        The signal `logs` of the package smokesignal, where a caller uses that, is sent as well.
        """
        self._delivery.subscribers = (*self._delivery.subscribers, callback)

    def unsubscribe(self, callback: Subscriber) -> None:
        """End what `subscribe` began. Unknown callbacks are ignored."""
        known = self._delivery.subscribers
        self._delivery.subscribers = tuple(one for one in known if one != callback)

    def stealStdio(self, newStatus: bool) -> None:
        """
        Make records of what is printed, or let it pass.

        @param newStatus: True to replace `sys.stdout` and `sys.stderr`, False to give them back.
        """
        if newStatus and not self.stealIo:
            self.redirectOut = self._redirect(sys.stdout, Level.VERBOSE)
            self.redirectErr = self._redirect(sys.stderr, Level.WARN)
            sys.stdout, sys.stderr = self.redirectOut, self.redirectErr
        elif self.stealIo and not newStatus:
            for redirect in (self.redirectOut, self.redirectErr):
                redirect.endLines()
            if sys.stdout is self.redirectOut:
                sys.stdout = self.redirectOut.trueOut
            if sys.stderr is self.redirectErr:
                sys.stderr = self.redirectErr.trueOut
        self.stealIo = newStatus

    def logToConsole(self, newStatus: bool) -> None:
        """
        @param newStatus: whether records that are no errors are shown on the console.
        """
        self.printLogs = newStatus

    def _redirect(self, stream: Any, level: Level) -> OutputRedirect:
        return OutputRedirect(stream, self._handle, LOG_TYPES[level])

    def _add(self, name: str, stream: Stream) -> None:
        def log(*args: Any, **kwargs: Any) -> Record | None:
            try:
                record = stream(*args, **kwargs)
                self.handlePrint(record)
            except Exception as error:
                self._say_lost(error)
                return None
            return record

        self.outputMappings[name] = stream
        if type(stream) is BaseOutput and type(self).handlePrint is Output.handlePrint:
            log = short_way(stream, self._delivery, log, self._say_lost)
        object.__setattr__(self, name, log)

    def _handle(self, record: Record) -> None:
        try:
            self.handlePrint(record)
        except Exception as error:
            self._say_lost(error)

    def _say_lost(self, error: Exception) -> None:
        self._say(f"a record was lost: {describe(error)}")

    def _open_file(self, folder: Path, max_days: float | None, max_bytes: int | None) -> None:
        waiting = RecordQueue(QUEUE_LIMIT, QUEUE_WAIT)
        try:
            with unless_disk_takes_nothing():
                folder.mkdir(parents=True, exist_ok=True)
            printer = PrintLogThread(
                folder, waiting, LOG_NAME, self._trouble, self._lost, max_days, max_bytes
            )
        except OSError as error:
            self._trouble(f"log folder {folder} cannot be used: {error}")
            return
        printer.start()
        self.printer, self._delivery.queue = printer, waiting

    def _read(self, target: float, purge: bool) -> Iterator[Record]:
        if self.logpath is None:
            self.warn("asked for log files, but logging has no folder: call startLogging with one")
            return iter(())
        self.flush(QUEUE_WAIT)
        return read_since(self.logpath, target, purge)

    def _lost(self, count: int, failed: bool) -> Record:
        """The record of what the file could not take."""
        why = "could not be written" if failed else "is too slow"
        stream = BaseOutput(LOG_TYPES[Level.WARN])
        extra = {"event": "log.dropped", "n": count}
        message = f"{count} records were dropped: the log file {why}"
        record = stream.record(message, silentLogPrefix(1), extra)
        record["pdid"] = self.pdid
        return record

    def _console(self) -> Any:
        return self.redirectOut.trueOut if self.stealIo else sys.stdout

    def _show(self, record: Record) -> None:
        console = self._console()
        line = self.messageToString(record)
        with contextlib.suppress(Exception):
            if console.isatty():
                line = f"{_color_of(record)}{line}{_RESET}"
        write_line(console, line)

    def _trouble(self, message: str) -> None:
        """Say on the console alone what the log file cannot take."""
        stream = BaseOutput(LOG_TYPES[Level.ERR])
        record = stream.record(message, silentLogPrefix(1), {})
        self._say(stream.formatOutput(record))

    def _say(self, line: str) -> None:
        write_line(self._console(), self._delivery.concealment.text(line))

    def _twisted_event(self, event: dict[str, Any]) -> None:
        self.twisted(event)
        self.twistedErr(event)


def _color_of(record: Record) -> str:
    return str(LOG_TYPES[Level(record["type"])]["color"])


out = Output(
    header=BaseOutput(LOG_TYPES[Level.HEADER]),
    testing=BaseOutput(LOG_TYPES[Level.VERBOSE]),
    verbose=BaseOutput(LOG_TYPES[Level.VERBOSE]),
    info=BaseOutput(LOG_TYPES[Level.INFO]),
    usage=BaseOutput(LOG_TYPES[Level.USAGE]),
    perf=BaseOutput(LOG_TYPES[Level.PERF]),
    warn=BaseOutput(LOG_TYPES[Level.WARN]),
    err=BaseOutput(LOG_TYPES[Level.ERR]),
    exception=ExceptionOutput(LOG_TYPES[Level.ERR]),
    security=BaseOutput(LOG_TYPES[Level.SECURITY]),
    fatal=BaseOutput(LOG_TYPES[Level.FATAL]),
    twisted=TwistedOutput(LOG_TYPES[Level.INFO]),
    twistedErr=TwistedException(LOG_TYPES[Level.ERR]),
)
