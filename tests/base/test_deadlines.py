"""Time limits, on a clock of the test's own."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock

from paradrop.base.deadlines import Deadlines
from paradrop.base.exceptions import CallTimeout


class Calls:
    """Makes calls and keeps how they end."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.deadlines = Deadlines(self.clock)
        self.ends: list[Any] = []

    def make(self, limit: float) -> Deferred[Any]:
        calling: Deferred[Any] = Deferred()
        self.deadlines.add(calling, "proc", limit)
        calling.addCallbacks(self.ends.append, lambda failure: self.ends.append(failure.type))
        return calling


def test_each_is_over_at_its_own_time() -> None:
    calls = Calls()
    calls.make(5)
    calls.clock.advance(2)
    calls.make(5)
    calls.make(1)
    calls.clock.advance(0.9)
    assert calls.ends == []
    calls.clock.advance(0.1)
    assert len(calls.ends) == 1
    calls.clock.advance(2)
    assert len(calls.ends) == 2
    calls.clock.advance(2)
    assert calls.ends == [CallTimeout] * 3
    assert calls.clock.calls == []


def test_an_answer_in_time_is_the_answer_and_leaves_nothing() -> None:
    calls = Calls()
    for number in range(100):
        calls.make(5).callback(number)
    assert calls.ends == list(range(100))
    assert len(calls.deadlines._waiting[5]) == 1
    calls.clock.advance(5)
    assert calls.ends == list(range(100))
    assert calls.clock.calls == []


def test_who_gives_up_is_not_told_of_a_time_limit() -> None:
    calls = Calls()
    calls.make(5).cancel()
    assert calls.ends == [CancelledError]
