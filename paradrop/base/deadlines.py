"""Time limits of many calls, with one timer for each limit instead of one for each call."""

from __future__ import annotations

from collections import deque
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

from paradrop.base.exceptions import CallTimeout


class _Call:
    __slots__ = ("calling", "due", "expired", "limit", "what")

    def __init__(self, calling: Deferred[Any], due: float, what: str, limit: float) -> None:
        self.calling = calling
        self.due = due
        self.what = what
        self.limit = limit
        self.expired = False
        calling.addErrback(self.tell)

    def tell(self, failure: Failure) -> Failure:
        if self.expired and failure.check(CancelledError):
            raise CallTimeout(f"{self.what} did not answer within {self.limit:g} s")
        return failure


class Deadlines:
    """
    Fails with `CallTimeout` what has not fired in time.

    Calls of one limit are due in the order in which they were made, so that only the oldest needs
    a timer. One for every call would cost more than all else that is done for a call.
    """

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._waiting: dict[float, deque[_Call]] = {}

    def add(self, calling: Deferred[Any], what: str, limit: float) -> None:
        """
        @param what: of what the exception tells.
        @param limit: seconds.
        """
        waiting = self._waiting.get(limit)
        if waiting is None:
            waiting = self._waiting[limit] = deque()
            self._reactor.callLater(limit, self._sweep, limit)
        while waiting and waiting[0].calling.called:
            waiting.popleft()
        waiting.append(_Call(calling, self._reactor.seconds() + limit, what, limit))

    def _sweep(self, limit: float) -> None:
        waiting, now = self._waiting[limit], self._reactor.seconds()
        while waiting and (waiting[0].calling.called or waiting[0].due <= now):
            call = waiting.popleft()
            call.expired = True
            call.calling.cancel()  # which does nothing to one that has fired
        if waiting:
            self._reactor.callLater(waiting[0].due - now, self._sweep, limit)
        else:
            del self._waiting[limit]
