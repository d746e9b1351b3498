"""Who waits for a session, until there is one or will be none."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure


class Waiting:
    """The Deferreds that have been given out, in their order."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._deferreds: list[Deferred[Any]] = []

    def add(self, timeout: float | None, late: Exception) -> Deferred[Any]:
        """
        @param timeout: seconds; None for no limit.
        @param late: what the Deferred fails with after that.
        @return: fires with the next session.
        """

        def not_in_time(result: Any, timeout: float) -> Any:
            if isinstance(result, Failure) and result.check(CancelledError):
                raise late
            return result

        waiting: Deferred[Any] = Deferred(self._deferreds.remove)
        self._deferreds.append(waiting)
        if timeout is not None:
            waiting.addTimeout(timeout, self._reactor, not_in_time)
        return waiting

    def fire(self, result: Any) -> None:
        """@param result: a session; or an exception, where there will be none any more."""
        waiting, self._deferreds = self._deferreds, []
        for one in waiting:
            if isinstance(result, Exception):
                one.errback(Failure(result))
            else:
                one.callback(result)
