"""What becomes of a record: it goes to the file, to the console if wanted, to the subscribers."""

import sys
import threading
import time
from collections.abc import Callable
from types import CodeType

from paradrop.base.concealment import Concealment
from paradrop.base.logline import Pieces, Record, line_of
from paradrop.base.logqueue import LONG_LINE, RecordQueue

Subscriber = Callable[[Record], object]

Prepared = tuple[Record, Pieces, CodeType]
"""A record as a template, the pieces of its line, and the code that it is of."""

_NEEDED = {"message", "type", "timestamp"}
_modules = sys.modules
_PLACELESS: Record = {
    "message": "",
    "type": 3,
    "extra": {},
    "package": "unknown",
    "module": "unknown",
    "line": "??",
}


class Delivery:
    """
    Takes each record, once it is complete and free of secrets, wherever it has to go.

    A record that a subscriber or the console causes, by logging or printing itself, goes to the
    file, but not to the subscribers or the console again: nothing that is called for a record can
    loop.

    @param show: called with each record that the console shows.
    @param on_error: called with what a subscriber raises.
    @ivar pdid: stands in records that name none.
    @ivar prepared: by a line of code and the type of the record, what its records have in common;
        a new dict where the pdid changes.
    @ivar queue: to the file; None where there is no file.
    @ivar show_all: whether the console shows all records; else those of `always_shown` types.
    @ivar subscribers: called with each record, in the thread that logs it.
    """

    def __init__(
        self,
        show: Callable[[Record], object],
        on_error: Callable[[Exception], object],
        always_shown: frozenset[int],
    ) -> None:
        self.pdid = "UNSET"
        self.prepared: dict[tuple[int, int, int], Prepared] = {}
        self.queue: RecordQueue | None = None
        self.show_all = True
        self.subscribers: tuple[Subscriber, ...] = ()
        self.concealment = Concealment()
        self._show = show
        self._on_error = on_error
        self._always_shown = always_shown
        self._busy = threading.local()

    def identify(self, pdid: str) -> None:
        """Set the pdid of all records from now on."""
        self.pdid = pdid
        self.prepared = {}

    def take(self, record: Record) -> None:
        """@param record: with at least `message` and `type`; what it lacks is added."""
        if not record.keys() >= _NEEDED:
            record = {**_PLACELESS, "timestamp": time.time(), **record}
        if record.get("pdid", "UNSET") == "UNSET":
            record["pdid"] = self.pdid
        self.pass_on(record, None)

    def pass_on(self, record: Record, pieces: Pieces | None) -> None:
        """
        Deliver a record that is complete.

        Its line is made here, not by who writes it: the record dies young, and only the line has to
        be kept. What the caller does to it later is not in the file.

        @param pieces: of its line, if they are known.
        """
        queue = self.queue
        concealment = self.concealment
        if queue is not None or concealment.active:
            line = line_of(record, pieces)
            if concealment.active and concealment.may_be_in(line):
                record.update(concealment.record(record))
                line = line_of(record, pieces)
            if queue is not None:
                if len(line) <= LONG_LINE and queue.qsize() < queue.limit:
                    queue.put((record["timestamp"], line))
                else:
                    queue.offer((record["timestamp"], line))
        if (
            self.show_all
            or self.subscribers
            or record["type"] in self._always_shown
            or "smokesignal" in _modules
        ):
            self._tell(record)

    def _tell(self, record: Record) -> None:
        if self.show_all or record["type"] in self._always_shown:
            self._once("showing", self._show, record)
        if self.subscribers or "smokesignal" in _modules:
            self._once("publishing", self._publish, record)

    def _once(self, doing: str, function: Callable[[Record], object], record: Record) -> None:
        busy = self._busy.__dict__
        if doing in busy:
            return
        busy[doing] = True
        try:
            function(record)
        finally:
            del busy[doing]

    def _publish(self, record: Record) -> None:
        for callback in self.subscribers:
            self._call(callback, record)
        signals = _modules.get("smokesignal")
        if signals is not None:
            self._call(lambda record: signals.emit("logs", record), record)

    def _call(self, callback: Subscriber, record: Record) -> None:
        try:
            callback(record)
        except Exception as error:
            self._on_error(error)
