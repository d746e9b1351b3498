"""Where a router is on its way to its session."""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import Callable

from paradrop.base.output import out


class State(enum.StrEnum):
    """
    What a connection does.

    A refused one (`AUTH_FAILED`) goes on trying, slowly, and is called refused until a join shows
    that it is cured.
    """

    UNPROVISIONED = "unprovisioned"
    CONNECTING = "connecting"
    JOINING = "joining"
    READY = "ready"
    BACKOFF = "backoff"
    AUTH_FAILED = "auth_failed"
    STOPPED = "stopped"


_NEXT: dict[State, frozenset[State]] = {
    State.UNPROVISIONED: frozenset({State.CONNECTING}),
    State.CONNECTING: frozenset({State.JOINING, State.BACKOFF, State.AUTH_FAILED}),
    State.JOINING: frozenset({State.READY, State.BACKOFF, State.AUTH_FAILED}),
    State.READY: frozenset({State.BACKOFF, State.AUTH_FAILED}),
    State.BACKOFF: frozenset({State.CONNECTING, State.AUTH_FAILED}),
    State.AUTH_FAILED: frozenset({State.READY}),
    State.STOPPED: frozenset(),
}

Observer = Callable[[State, State, str], object]
"""Called with the state that was, the one that is, and why, as a text."""


class States:
    """
    The state of one connection, and who wants to know of its changes.

    From everywhere it may be stopped, for good.
    """

    def __init__(self, first: State = State.CONNECTING) -> None:
        self.now = first
        self._observers: tuple[Observer, ...] = ()
        self._untold: deque[tuple[State, State, str]] = deque()
        self._telling = False

    def observe(self, observer: Observer) -> Callable[[], None]:
        """
        Have changes told, in their order; what an observer raises is logged.

        @return: call it to hear no more.
        """
        self._observers = (*self._observers, observer)

        def forget() -> None:
            self._observers = tuple(known for known in self._observers if known is not observer)

        return forget

    def become(self, state: State, reason: str = "") -> bool:
        """
        @return: whether that was a change that can be; any other is none.
        """
        was = self.now
        if state is not State.STOPPED and state not in _NEXT[was]:
            return False
        if state is was:
            return False
        self.now = state
        self._untold.append((was, state, reason))
        if not self._telling:  # else an observer has caused it: the others hear the first one first
            self._telling = True
            try:
                while self._untold:
                    self._tell(*self._untold.popleft())
            finally:
                self._telling = False
        return True

    def _tell(self, was: State, now: State, reason: str) -> None:
        for observer in self._observers:
            try:
                observer(was, now, reason)
            except Exception as error:
                out.exception(error)
