"""When a connection is tried again, on a clock and a source of chance of the test's own."""

from __future__ import annotations

import random
from typing import Any

import pytest
from autobahn.wamp.types import ComponentConfig
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionRefusedError, UserError
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from paradrop.base.connection import BaseClientFactory, NotConnected
from paradrop.base.cxbr import BaseSessionFactory
from paradrop.base.exceptions import (
    CertificateError,
    ClockError,
    OwnCertificateError,
    ParadropException,
)
from paradrop.base.states import State


class Connector:
    """Counts the attempts; the test says how they end."""

    def __init__(self, client: BaseClientFactory) -> None:
        self.client = client
        self.state = "disconnected"
        self.attempts = 0
        self.connect()

    def connect(self) -> None:
        self.attempts += 1
        self.state = "connecting"
        self.client.startedConnecting(self)

    def stopConnecting(self) -> None:
        self.fail(UserError())

    def fail(self, error: BaseException | None = None) -> None:
        self.state = "disconnected"
        self.client.clientConnectionFailed(self, Failure(error or ConnectionRefusedError()))

    def join(self) -> None:
        """A session joins."""
        self.state = "connected"
        self.client._reached = True
        self.client.opened(None)
        self.client.joined(object())

    def refuse(self, uri: str = "wamp.error.not_authorized") -> None:
        """The router ends the attempt, because it refuses the identity or the realm."""
        self.client.refused(uri, "no", "d")
        self.lose()

    def lose(self, error: BaseException | None = None) -> None:
        """The connection ends."""
        self.state = "disconnected"
        self.client._reached = True
        self.client.session = None
        self.client.clientConnectionLost(self, Failure(error or ConnectionRefusedError()))


class Dice(random.Random):
    """Throws what it is told to: a part of the range, from 0 to 1."""

    part = 1.0

    def uniform(self, a: float, b: float) -> float:
        return a + (b - a) * self.part


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr("paradrop.base.connection.links.subscribe", lambda callback: None)
    return made


@pytest.fixture
def dice() -> Dice:
    return Dice()


@pytest.fixture
def connector(clock: Clock, dice: Dice) -> Connector:
    return made(clock, dice)


def made(clock: Clock, dice: random.Random) -> Connector:
    sessions = BaseSessionFactory(ComponentConfig(realm="r", extra="d"), Deferred())
    client = BaseClientFactory(sessions, url="ws://127.0.0.1:1/ws", reactor=clock)
    client.random = dice
    client.proxy = {"host": "none", "port": 1}  # there is nobody to look for
    return Connector(client)


def waits(connector: Connector, clock: Clock, count: int) -> list[float]:
    """Seconds until each of the next attempts, which all fail."""
    found = []
    for _ in range(count):
        connector.fail()
        begun = clock.seconds()
        clock.advance(connector.client._callID.getTime() - begun)
        found.append(round(clock.seconds() - begun, 6))
    return found


def test_the_limit_doubles_up_to_the_longest(connector: Connector, clock: Clock) -> None:
    assert waits(connector, clock, 8) == [1, 2, 4, 8, 16, 32, 60, 60]
    assert connector.attempts == 9


@given(seed=st.integers())
def test_waits_are_anything_up_to_the_limit(seed: int) -> None:
    clock = Clock()
    connector = made(clock, random.Random(seed))
    for limit, wait in zip((1, 2, 4, 8, 16, 32, 60, 60), waits(connector, clock, 8), strict=True):
        assert 0 <= wait <= limit


def test_waits_are_spread_over_the_whole_range(clock: Clock) -> None:
    firsts = [waits(made(clock, random.Random(seed)), clock, 1)[0] for seed in range(400)]
    assert min(firsts) < 0.05
    assert max(firsts) > 0.95
    assert abs(sum(firsts) / len(firsts) - 0.5) < 0.06


def test_clones_do_not_wait_alike() -> None:
    sessions = BaseSessionFactory(ComponentConfig(realm="r", extra="d"), Deferred())
    client = BaseClientFactory(sessions, url="ws://127.0.0.1:1/ws", reactor=Clock())
    assert isinstance(client.random, random.SystemRandom)


def test_a_join_that_lasts_starts_anew(connector: Connector, clock: Clock) -> None:
    waits(connector, clock, 5)
    connector.join()
    clock.advance(BaseClientFactory.LASTING)
    connector.lose()
    assert connector.client._callID.getTime() - clock.seconds() == 1


def test_a_join_that_does_not_last_goes_on_from_where_it_was(
    connector: Connector, clock: Clock
) -> None:
    waits(connector, clock, 5)
    connector.join()
    clock.advance(BaseClientFactory.LASTING - 0.1)
    connector.lose()
    assert connector.client._callID.getTime() - clock.seconds() == pytest.approx(32)


def limit(connector: Connector, clock: Clock) -> float:
    """Of the wait for the next attempt, which is over now."""
    wait: float = connector.client._callID.getTime() - clock.seconds()
    clock.advance(wait)
    return wait


class TestSessionsThatDoNotLast:
    """Waits grow, whatever it is that ends the sessions again and again."""

    def test_the_router_ends_each_a_little_later_than_at_once(
        self, connector: Connector, clock: Clock
    ) -> None:
        limits = []
        for _ in range(8):
            connector.join()
            clock.advance(BaseClientFactory.LASTING + 1)
            connector.lose()
            limits.append(limit(connector, clock))
        assert limits == [1, 2, 4, 8, 16, 32, 60, 60]

    def test_one_that_ended_at_once_does_not_count_against_the_next(
        self, connector: Connector, clock: Clock
    ) -> None:
        connector.join()
        clock.advance(0.3)
        connector.lose()
        waits(connector, clock, 7)
        connector.join()
        clock.advance(BaseClientFactory.LASTING + 1)
        connector.lose()
        assert limit(connector, clock) == 1

    def test_short_and_very_short_ones_in_turn(self, connector: Connector, clock: Clock) -> None:
        limits = []
        for seconds in (11, 0.3) * 4:
            connector.join()
            clock.advance(seconds)
            connector.lose()
            limits.append(limit(connector, clock))
        assert limits == pytest.approx([1, 2, 4, 8, 16, 32, 60, 60])

    def test_until_one_lasts_for_a_while(self, connector: Connector, clock: Clock) -> None:
        for seconds in (11, 11, 11, 11):
            connector.join()
            clock.advance(seconds)
            connector.lose()
            assert limit(connector, clock) <= 8
        for seconds in (60, 11):
            connector.join()
            clock.advance(seconds)
            connector.lose()
            assert limit(connector, clock) == 1

    def test_what_it_has_to_do_fails_when_it_is_ready(
        self, connector: Connector, clock: Clock
    ) -> None:
        limits = []
        for _ in range(4):
            connector.join()
            clock.advance(100)  # such as a call that is never answered
            connector.client.joinFailed(Failure(ParadropException("no answer")))
            connector.lose()
            limits.append(limit(connector, clock))
        assert limits == [1, 2, 4, 8]


def test_the_first_wait_is_no_longer_than_the_longest(connector: Connector, clock: Clock) -> None:
    connector.client.delay = connector.client.initialDelay = 500
    assert waits(connector, clock, 2) == [60, 60]


class TestRefused:
    def test_twice_alike_is_said_once_and_tried_slowly(
        self, connector: Connector, clock: Clock, records: Any
    ) -> None:
        for _ in range(4):
            connector.refuse()
            waited = connector.client._callID.getTime() - clock.seconds()
            clock.advance(waited)
        assert waited == connector.client.maxDelay
        assert connector.client.state is State.AUTH_FAILED
        assert records.events("wamp.refused") == [
            {"event": "wamp.refused", "reason": "wamp.error.not_authorized", "authid": "d"}
        ]

    def test_once_is_nothing(self, connector: Connector, clock: Clock, records: Any) -> None:
        connector.refuse()
        clock.advance(60)
        connector.lose()
        clock.advance(60)
        connector.refuse()
        assert connector.client.state is State.BACKOFF

    def test_two_of_different_kinds_are_nothing(self, connector: Connector, clock: Clock) -> None:
        connector.refuse()
        clock.advance(60)
        connector.refuse("wamp.error.no_such_realm")
        assert connector.client.state is State.BACKOFF

    def test_a_router_that_is_away_in_between_changes_nothing(
        self, connector: Connector, clock: Clock
    ) -> None:
        connector.refuse()
        clock.advance(60)
        connector.fail()
        clock.advance(60)
        connector.refuse()
        assert connector.client.state is State.AUTH_FAILED

    @pytest.mark.parametrize("uri", ["wamp.error.no_such_realm", "wamp.error.no_such_role"])
    def test_what_cannot_be_joined(self, connector: Connector, clock: Clock, uri: str) -> None:
        for _ in range(2):
            connector.refuse(uri)
            clock.advance(60)
        assert connector.client.state is State.AUTH_FAILED

    def test_a_certificate_that_is_not_trusted(
        self, connector: Connector, clock: Clock, records: Any
    ) -> None:
        for _ in range(3):
            connector.lose(CertificateError("not trusted"))
            clock.advance(60)
        assert [record["reason"] for record in records.events("wamp.refused")] == ["certificate"]

    def test_a_certificate_of_ours_that_is_not_accepted(
        self, connector: Connector, clock: Clock
    ) -> None:
        for _ in range(2):
            connector.lose(OwnCertificateError("not accepted"))
            clock.advance(60)
        assert connector.client.state is State.AUTH_FAILED

    def test_a_clock_that_is_wrong_is_no_refusal(
        self, connector: Connector, clock: Clock, records: Any
    ) -> None:
        for _ in range(3):
            connector.lose(ClockError("not yet valid"))
            clock.advance(60)
        assert connector.client.state is not State.AUTH_FAILED
        assert records.events("wamp.refused") == []

    def test_a_join_cures_it(self, connector: Connector, clock: Clock) -> None:
        for _ in range(2):
            connector.refuse()
            clock.advance(60)
        connector.join()
        assert connector.client.state is State.READY

    def test_news_of_a_link_do_not_hasten_it(self, connector: Connector, clock: Clock) -> None:
        for _ in range(2):
            connector.refuse()
            clock.advance(60)
        connector.lose()
        connector.client._try_over_link()
        assert connector.client._callID.getTime() - clock.seconds() > 40
        connector.client.try_now("the key has changed")
        assert connector.client._callID.getTime() - clock.seconds() <= BaseClientFactory.HURRY


class TestTryNow:
    def test_ends_a_wait(self, connector: Connector, clock: Clock) -> None:
        waits(connector, clock, 7)
        connector.fail()
        attempts = connector.attempts
        connector.client.try_now("a link came up")
        clock.advance(BaseClientFactory.HURRY)
        assert connector.attempts == attempts + 1

    def test_never_makes_a_wait_longer(
        self, connector: Connector, clock: Clock, dice: Dice
    ) -> None:
        dice.part = 0.01
        connector.fail()
        dice.part = 1.0
        connector.client.try_now("a link came up")
        clock.advance(0.01)
        assert connector.attempts == 2

    def test_begins_an_unanswered_attempt_anew(self, connector: Connector, clock: Clock) -> None:
        clock.advance(5)
        connector.client.try_now("a link came up")
        clock.advance(BaseClientFactory.HURRY)
        assert connector.attempts == 2
        assert connector.client.delay == connector.client.initialDelay

    def test_leaves_a_young_attempt_alone(self, connector: Connector, clock: Clock) -> None:
        clock.advance(0.5)
        connector.client.try_now("a link came up")
        clock.advance(BaseClientFactory.HURRY)
        assert connector.attempts == 1

    def test_leaves_a_session_alone(self, connector: Connector, clock: Clock) -> None:
        connector.join()
        connector.client.try_now("a link came up")
        clock.advance(10)
        assert connector.attempts == 1
        assert connector.client.state is State.READY


class TestWhenReady:
    def test_fires_at_once_and_at_the_join(self, connector: Connector) -> None:
        found: list[Any] = []
        connector.client.when_ready().addCallback(found.append)
        assert found == []
        connector.join()
        connector.client.when_ready().addCallback(found.append)
        assert found == [connector.client.session] * 2

    def test_not_in_time(self, connector: Connector, clock: Clock) -> None:
        waiting = connector.client.when_ready(5)
        clock.advance(5)
        failures: list[Any] = []
        waiting.addErrback(failures.append)
        assert "within 5 s" in str(failures[0].trap(NotConnected) and failures[0].value)
        connector.join()

    def test_never_any_more(self, connector: Connector) -> None:
        failures: list[Any] = []
        connector.client.when_ready().addErrback(failures.append)
        connector.client.deferred.addErrback(lambda _: None)
        connector.client.goodbye()
        connector.client.when_ready().addErrback(failures.append)
        assert [failure.check(NotConnected) for failure in failures] == [NotConnected] * 2


def test_links_are_watched_while_a_loss_lasts(
    connector: Connector, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    watching: list[Any] = []
    links = "paradrop.base.connection.links."
    monkeypatch.setattr(links + "subscribe", watching.append)
    monkeypatch.setattr(links + "unsubscribe", watching.remove)
    connector.fail()
    clock.advance(BaseClientFactory.WATCH_AFTER)
    assert len(watching) == 1
    connector.fail()
    clock.advance(60)
    assert len(watching) == 1
    connector.join()
    assert watching == []


def test_observers_hear_why(connector: Connector, clock: Clock) -> None:
    seen: list[Any] = []
    connector.client.observe(lambda *change: seen.append(change))
    connector.fail()
    clock.advance(1)
    connector.join()
    was, now, why = seen[0]
    assert (was, now) == (State.CONNECTING, State.BACKOFF)
    assert "refused" in why
    assert [change[1] for change in seen[1:]] == ["connecting", "joining", "ready"]


class TestWhyItEnded:
    @pytest.mark.parametrize("reconnect", [True, False])
    def test_it_was_left(self, connector: Connector, reconnect: bool) -> None:
        connector.client.reconnect = reconnect
        connector.join()
        connector.client.goodbye()
        assert connector.client.lastReason == "left"

    def test_the_only_attempt_failed(self, connector: Connector) -> None:
        seen: list[str] = []
        connector.client.observe(lambda was, now, why: seen.append(why))
        connector.client.reconnect = False
        connector.client.deferred.addErrback(lambda _: None)
        connector.fail()
        assert "refused" in connector.client.lastReason
        assert seen == [connector.client.lastReason]
