"""Saves that do not block the reactor: however many are asked for, one write of the newest."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.threads import deferToThread
from twisted.python.failure import Failure


class Saver:
    """
    Writes in a thread, one write at a time. What is asked for in one turn of the reactor, or while
    a write is under way, is one more write.

    @param begin: called in the reactor's thread when a write begins; takes what is to be written,
        and returns the function that writes it.
    @param reactor: whose thread all methods are called in.
    """

    def __init__(self, begin: Callable[[], Callable[[], None]], reactor: Any) -> None:
        self._begin = begin
        self._reactor = reactor
        self._asked: list[Deferred[None]] = []
        self._writing = False
        self._failed = False

    @property
    def busy(self) -> bool:
        """Whether something is asked for that is not known to be on the disk."""
        return bool(self._asked) or self._writing

    def save(self) -> Deferred[None]:
        """
        @return: fires when what there is now (or something newer) is on the disk; fails with what
            the write raised.
        """
        asked: Deferred[None] = Deferred()
        self._asked.append(asked)
        if len(self._asked) == 1 and not self._writing:
            self._reactor.callLater(0, self._write)
        return asked

    def finish(self) -> Deferred[None]:
        """
        Have nothing left to write. If the last write failed, it is tried again, once.

        @return: fires when all is on the disk; fails with what the last write raised.
        """
        if not (self.busy or self._failed):
            done: Deferred[None] = Deferred()
            done.callback(None)
            return done
        return self.save()

    def _write(self) -> None:
        asked, self._asked = self._asked, []
        self._writing = True

        def done(result: Any) -> None:
            self._writing = False
            self._failed = isinstance(result, Failure)
            if self._asked:
                self._write()
            for one in asked:
                if self._failed:
                    one.errback(result)
                else:
                    one.callback(None)

        maybeDeferred(self._begin).addCallback(deferToThread).addBoth(done)
