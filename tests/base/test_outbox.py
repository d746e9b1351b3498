"""Events kept until there is a session."""

from __future__ import annotations

from typing import Any

import pytest
from autobahn.wamp.exception import TransportLost
from twisted.internet.defer import CancelledError, Deferred, succeed

from paradrop.base.outbox import Outbox


class Session(list[Any]):
    """Takes what is published; loses its transport after `takes`."""

    takes = 1000

    def publish(self, what: Any) -> None:
        if len(self) >= self.takes:
            raise TransportLost
        self.append(what)


def put(box: Outbox, what: Any, acknowledged: bool = False) -> Deferred[Any] | None:
    def publish(session: Session) -> Any:
        session.publish(what)
        return succeed(what) if acknowledged else None

    return box.put(publish, acknowledged)


def test_oldest_first_and_once() -> None:
    box, session = Outbox(10), Session()
    for number in range(3):
        assert put(box, number) is None
    box.send(session)
    box.send(session)
    assert session == [0, 1, 2]


def test_a_full_one_loses_the_oldest_and_says_how_many(records: Any) -> None:
    box, session = Outbox(2), Session()
    for number in range(5):
        put(box, number)
    box.send(session)
    assert session == [3, 4]
    assert records.events("wamp.dropped")[0]["n"] == 3
    box.send(session)
    assert len(records.events("wamp.dropped")) == 1


def test_acknowledged_ones_hear_of_their_end() -> None:
    box, session = Outbox(1), Session()
    dropped, kept = put(box, 1, True), put(box, 2, True)
    assert dropped is not None
    assert kept is not None
    ends: list[Any] = []
    dropped.addErrback(lambda failure: ends.append(failure.trap(CancelledError)))
    kept.addCallback(ends.append)
    box.send(session)
    assert ends == [CancelledError, 2]


def test_who_has_lost_interest_is_not_published() -> None:
    box, session = Outbox(5), Session()
    kept = put(box, 1, True)
    assert kept is not None
    kept.addErrback(lambda _: None)
    kept.cancel()
    put(box, 2)
    box.send(session)
    assert session == [2]


def test_at_the_end_who_waits_for_an_acknowledgement_hears_of_it() -> None:
    box, session = Outbox(5), Session()
    put(box, 1)
    waiting = put(box, 2, True)
    assert waiting is not None
    ends: list[Any] = []
    waiting.addErrback(lambda failure: ends.append(failure.trap(CancelledError)))
    box.clear()
    box.send(session)
    assert (ends, session) == ([CancelledError], [])


def test_a_session_lost_meanwhile_leaves_the_rest_for_the_next() -> None:
    box, short, session = Outbox(10), Session(), Session()
    short.takes = 2
    for number in range(4):
        put(box, number)
    box.send(short)
    box.send(session)
    assert (short, session) == ([0, 1], [2, 3])


@pytest.mark.parametrize("acknowledged", [True, False])
def test_an_event_that_cannot_be_sent_does_not_hold_up_the_rest(
    acknowledged: bool, records: Any
) -> None:
    def impossible(session: Session) -> None:
        raise ValueError("no JSON for it")

    box, session = Outbox(10), Session()
    failing = box.put(impossible, acknowledged)
    put(box, 2)
    failures: list[Any] = []
    if failing is not None:
        failing.addErrback(failures.append)
    box.send(session)
    assert session == [2]
    assert len(failures) == acknowledged
    assert ("no JSON" in str(records)) is not acknowledged
