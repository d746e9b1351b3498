"""Events that were published while there was no session, until there is one."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from autobahn.wamp.exception import TransportLost
from twisted.internet.defer import Deferred

from paradrop.base.output import out

Publish = Callable[[Any], Any]
"""Publishes on the session that it is called with; what it returns is what that returned."""


class Outbox:
    """
    Publications in their order, `limit` at most. In a full one the oldest gives way, and is
    counted: what is new says more about a router than what is old.

    It is memory: a restart of the daemon empties it. What was handed to a session that is lost
    before the router had it is lost as well; who cannot have that asks for an acknowledgement.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.dropped = 0
        self._waiting: deque[tuple[Deferred[Any] | None, Publish]] = deque()

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, publish: Publish, acknowledged: bool) -> Deferred[Any] | None:
        """
        @return: None; of an acknowledged publication, what fires with the acknowledgement, and
            fails with CancelledError when the event was dropped.
        """
        if len(self._waiting) >= self.limit:
            self.dropped += 1
            oldest, _ = self._waiting.popleft()
            if oldest is not None:
                oldest.cancel()
        sent: Deferred[Any] | None = Deferred() if acknowledged else None
        self._waiting.append((sent, publish))
        return sent

    def clear(self) -> None:
        """Nothing will be published any more; who waits for an acknowledgement hears of it."""
        while self._waiting:
            sent, _ = self._waiting.popleft()
            if sent is not None:
                sent.cancel()

    def send(self, session: Any) -> None:
        """Publish everything, oldest first; what a lost session did not take stays."""
        if self.dropped:
            out.warn(
                f"{self.dropped} events were dropped: more than {self.limit} while away",
                extra={"event": "wamp.dropped", "n": self.dropped},
            )
            self.dropped = 0
        while self._waiting:
            sent, publish = self._waiting[0]
            try:
                result = None if sent is not None and sent.called else publish(session)
            except TransportLost:
                return
            except Exception as error:  # an event that cannot be sent must not hold up the rest
                if sent is not None:
                    sent.errback(error)
                else:
                    out.exception(error)
            else:
                if result is not None and sent is not None:
                    result.chainDeferred(sent)
            self._waiting.popleft()
