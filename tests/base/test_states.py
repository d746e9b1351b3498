"""The states of a connection, and who hears of them."""

from __future__ import annotations

from typing import Any

import pytest

from paradrop.base.states import State, States


@pytest.fixture
def seen() -> list[tuple[State, State, str]]:
    return []


def test_changes_are_told_in_order(seen: list[Any]) -> None:
    states = States()
    states.observe(lambda *change: seen.append(change))
    states.become(State.JOINING)
    states.become(State.READY)
    states.become(State.BACKOFF, "lost")
    assert seen == [
        (State.CONNECTING, State.JOINING, ""),
        (State.JOINING, State.READY, ""),
        (State.READY, State.BACKOFF, "lost"),
    ]
    assert states.now is State.BACKOFF


def test_what_cannot_follow_changes_nothing(seen: list[Any]) -> None:
    states = States()
    states.observe(lambda *change: seen.append(change))
    assert not states.become(State.READY)
    assert not states.become(State.CONNECTING)
    assert seen == []
    assert states.now is State.CONNECTING


def test_refused_until_a_join() -> None:
    states = States()
    states.become(State.AUTH_FAILED)
    for passing in (State.CONNECTING, State.JOINING, State.BACKOFF):
        assert not states.become(passing)
    assert states.become(State.READY)


@pytest.mark.parametrize("state", list(State))
def test_everything_may_be_stopped_for_good(state: State) -> None:
    states = States(state)
    assert states.become(State.STOPPED) is (state is not State.STOPPED)
    assert not any(states.become(after) for after in State)


def test_an_observer_that_raises_does_not_silence_the_others(seen: list[Any], records: Any) -> None:
    states = States()

    def broken(*change: Any) -> None:
        raise ZeroDivisionError

    states.observe(broken)
    states.observe(lambda *change: seen.append(change))
    states.become(State.JOINING)
    assert len(seen) == 1
    assert "ZeroDivisionError" in records[0]["message"]


def test_an_observer_that_causes_a_change_does_not_turn_the_order(seen: list[Any]) -> None:
    states = States(State.JOINING)
    states.observe(lambda was, now, why: now is State.READY and states.become(State.STOPPED))
    states.observe(lambda *change: seen.append(change[1]))
    states.become(State.READY)
    assert seen == [State.READY, State.STOPPED]


def test_who_has_heard_enough(seen: list[Any]) -> None:
    states = States()
    forget = states.observe(lambda *change: seen.append(change))
    forget()
    forget()
    states.become(State.JOINING)
    assert seen == []


def test_states_are_texts_to_whoever_compares() -> None:
    assert State.READY == "ready"
    assert f"{State.AUTH_FAILED}" == "auth_failed"
