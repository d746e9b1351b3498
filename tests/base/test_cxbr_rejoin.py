"""What a session had is there again after a rejoin, with a real router."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from autobahn.wamp.exception import ApplicationError
from autobahn.wamp.types import PublishOptions
from sessions import Device, Devices, drop
from twisted.internet import reactor as threads_reactor
from twisted.internet.defer import Deferred, gatherResults, inlineCallbacks
from twisted.internet.task import deferLater

from harness.device.relay import Relay
from harness.node import Node
from paradrop.base import settings
from paradrop.base.cxbr import BaseClientFactory, BaseSession, CallOptions, NotConnected, State
from paradrop.base.exceptions import CallTimeout
from paradrop.base.probe import Probe
from paradrop.base.replay import Wanted

pytestmark = pytest.mark.usefixtures("quick")


class Events(list[Any]):
    """Takes events; the test waits for them."""

    def __init__(self) -> None:
        super().__init__()
        self.came = threading.Semaphore(0)

    def take(self, *args: Any) -> None:
        self.append(args[-1])
        self.came.release()

    def wait(self, count: int) -> None:
        for _ in range(count):
            assert self.came.acquire(timeout=10), list(self)


def publish(session: Device, number: int, acknowledge: bool | None = None) -> Any:
    """Also to the session itself."""
    options = PublishOptions(exclude_me=False, acknowledge=acknowledge)
    return session.publish("org.paradrop.events", number, options=options)


def again(devices: Devices, session: Device, records: Any, reactor: Any) -> Device:
    """Lose the session; @return: the next one."""
    before = len(devices.sessions)
    joins = len(records.events("wamp.joined"))
    reactor(drop, session)
    records.wait("wamp.joined", joins + 1)
    assert len(devices.sessions) > before
    return devices.sessions[-1]


def test_numbers_that_a_program_has_assigned_out_of_their_range_end_no_retries(
    devices: Devices, records: Any, reactor: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("INITIAL_DELAY", "MAX_DELAY", "PING_INTERVAL", "PING_TIMEOUT", "CALL_TIMEOUT"):
        monkeypatch.setattr(settings, f"WAMP_{name}", -5)
    session = devices.join()
    again(devices, session, records, reactor)


class TestReplay:
    def test_of_what_was_registered_and_subscribed_once(
        self, devices: Devices, records: Any, reactor: Any
    ) -> None:
        session, events = devices.join(), Events()
        reactor(session.register, lambda pdid, a: a + 1, "org.paradrop.add")
        reactor(session.subscribe, events.take, "org.paradrop.events")
        for number in range(2):
            session = again(devices, session, records, reactor)
            assert reactor(session.call, "org.paradrop.add", 41) == 42
            reactor(publish, session, number)
            events.wait(1)
        assert events == [0, 1]
        assert not events.came.acquire(timeout=0.3)

    def test_what_an_on_join_makes_is_its_own_matter(
        self, devices: Devices, records: Any, reactor: Any
    ) -> None:
        events = Events()

        def listen(own: Device) -> Any:
            return own.subscribe(lambda *event: events.take(*event), "org.paradrop.events")

        session = devices.join(during=listen)
        session = again(devices, session, records, reactor)
        reactor(publish, session, 1)
        events.wait(1)
        assert not events.came.acquire(timeout=0.3)

    def test_what_was_taken_back_does_not_return(
        self, devices: Devices, records: Any, reactor: Any
    ) -> None:
        session, events = devices.join(), Events()
        registration = reactor(session.register, lambda pdid: 1, "org.paradrop.one")
        subscription = reactor(session.subscribe, events.take, "org.paradrop.events")
        reactor(registration.unregister)
        reactor(subscription.unsubscribe)
        session = again(devices, session, records, reactor)
        assert session._registrations == {}
        assert session._subscriptions == {}

    def test_it_can_be_taken_back_after_a_rejoin(
        self, devices: Devices, records: Any, reactor: Any
    ) -> None:
        session, events = devices.join(), Events()
        registration = reactor(session.register, lambda pdid: 1, "org.paradrop.one")
        subscription = reactor(session.subscribe, events.take, "org.paradrop.events")
        session = again(devices, session, records, reactor)
        assert len(session._registrations) == 1
        assert len(session._subscriptions) == 1
        reactor(registration.unregister)
        reactor(subscription.unsubscribe)
        assert session._registrations == {}
        session = again(devices, session, records, reactor)
        assert session._registrations == {}
        assert session._subscriptions == {}

    @pytest.mark.parametrize("when", ["during", "after"])
    def test_also_where_the_router_still_holds_the_old_ones(
        self,
        devices: Devices,
        node: Node,
        relay: Relay,
        records: Any,
        reactor: Any,
        monkeypatch: pytest.MonkeyPatch,
        when: str,
    ) -> None:
        monkeypatch.setattr(settings, "WAMP_PING_INTERVAL", 1)
        monkeypatch.setattr(settings, "WAMP_PING_TIMEOUT", 2)

        def register(session: Device) -> Any:
            return session.register(lambda pdid: "here", "org.paradrop.who")

        url = node.url(port=relay.port)
        if when == "during":
            session = devices.join(url, during=register)
        else:
            session = devices.join(url)
            reactor(register, session)
        session.client.connector.port = node.tls_port
        relay.switch(False)
        records.wait("wamp.joined", 2)
        assert reactor(devices.sessions[-1].call, "org.paradrop.who") == "here"
        assert "already_exists" not in str(records)

    def test_a_second_registration_that_fails_does_not_cost_the_first(
        self, devices: Devices, records: Any, reactor: Any
    ) -> None:
        session = devices.join()
        reactor(session.register, lambda pdid: "first", "org.paradrop.who")
        with pytest.raises(ApplicationError, match="already_exists"):
            reactor(session.register, lambda pdid: "second", "org.paradrop.who")
        session = again(devices, session, records, reactor)
        assert reactor(session.call, "org.paradrop.who") == "first"

    @pytest.mark.parametrize("style", ["coroutine", "generator", "plain"])
    def test_an_on_join_that_is_ready_first_makes_its_own_anew_too(
        self, devices: Devices, node: Node, records: Any, reactor: Any, style: str
    ) -> None:
        events = Events()

        class Early(Device):
            def who(self, pdid: str) -> int:
                return devices.sessions.index(self)

            def take(self, *event: Any) -> None:
                events.take(*event)

            def make(self) -> Iterator[Any]:
                yield self.register(self.who, "org.paradrop.who")
                yield self.subscribe(self.take, "org.paradrop.events")

            async def coroutine(self) -> None:
                for one in self.make():
                    await one

            @inlineCallbacks
            def generator(self) -> Any:
                yield from self.make()

            def plain(self) -> Any:
                return gatherResults(list(self.make()))

            def onJoin(self, details: Any) -> Any:
                BaseSession.onJoin(self, details)
                return getattr(self, style)()

        session = devices.join(kind=Early)
        for number in (1, 2):
            session = again(devices, session, records, reactor)
            while len(session._subscriptions) < 1:
                reactor(deferLater, threads_reactor, 0.01)
            assert reactor(session.call, "org.paradrop.who") == number
            reactor(publish, session, number)
            events.wait(1)
        assert not events.came.acquire(timeout=0.3)

    def test_what_the_router_refuses_now_is_tried_twice_and_costs_no_more_than_itself(
        self, devices: Devices, records: Any, reactor: Any
    ) -> None:
        session = devices.join()
        replay = session.client.replay
        replay.add(Wanted("register", lambda: None, "wamp.not.ours", None))
        reactor(session.register, lambda pdid: 1, "org.paradrop.one")
        session = again(devices, session, records, reactor)
        assert reactor(session.call, "org.paradrop.one") == 1
        assert len(records.events("wamp.retry")) == 2
        assert len(records.events("wamp.not_again")) == 1
        session = again(devices, session, records, reactor)
        assert len(records.events("wamp.retry")) == 3
        assert len(records.events("wamp.not_again")) == 1


def test_an_on_join_may_be_a_coroutine(
    devices: Devices, node: Node, records: Any, reactor: Any
) -> None:
    class Modern(Device):
        async def onJoin(self, details: Any) -> None:
            await self.register(lambda pdid: "here", "org.paradrop.who")
            await BaseSession.onJoin(self, details)

    def begin() -> Any:
        extra = {"token": node.enroll("modern"), "made": devices.sessions}
        devices.begun.append(Modern.start(node.url(), "modern", extra=extra))
        return devices.begun[-1]

    session = reactor(begin)
    assert reactor(session.call, "org.paradrop.who") == "here"


class TestCalls:
    def test_without_a_session_fail_at_once(self, devices: Devices, reactor: Any) -> None:
        session = devices.join()
        reactor(session.leave)
        for method, arguments in (
            (session.call, ["org.paradrop.x"]),
            (session.register, [print, "org.paradrop.x"]),
            (session.subscribe, [print, "org.paradrop.x"]),
            (session.publish, ["org.paradrop.x"]),
        ):
            with pytest.raises(NotConnected):
                reactor(method, *arguments)

    def test_wait_for_a_session_when_asked_to(
        self, devices: Devices, reactor: Any, records: Any
    ) -> None:
        session = devices.join()
        reactor(session.register, lambda pdid, a: a + 1, "org.paradrop.add")
        reactor(drop, session)
        records.wait("wamp.left")
        options = CallOptions(wait=10)
        assert reactor(lambda: session.call("org.paradrop.add", 1, options=options)) == 2

    def test_wait_no_longer_than_asked_to(
        self, devices: Devices, reactor: Any, records: Any
    ) -> None:
        session = devices.join()

        def turn_away() -> None:
            session.client.connector.port = 1
            drop(session)

        reactor(turn_away)
        records.wait("wamp.left")
        with pytest.raises(NotConnected, match=r"within 0\.2 s"):
            reactor(lambda: session.call("org.paradrop.x", options=CallOptions(wait=0.2)))

    @pytest.mark.parametrize("asked", [None, 0.3])
    def test_have_a_time_limit(
        self, devices: Devices, reactor: Any, monkeypatch: pytest.MonkeyPatch, asked: float | None
    ) -> None:
        monkeypatch.setattr(settings, "WAMP_CALL_TIMEOUT", 30 if asked else 0.3)
        session = devices.join()
        reactor(session.register, lambda pdid: Deferred(), "org.paradrop.never")
        options = CallOptions(timeout=asked)
        with pytest.raises(CallTimeout, match=r"did not answer within 0\.3 s"):
            reactor(lambda: session.call("org.paradrop.never", options=options), timeout=5)
        reactor(session.register, lambda pdid: 1, "org.paradrop.one")
        assert reactor(session.call, "org.paradrop.one") == 1


class TestOutbox:
    def away(self, devices: Devices, reactor: Any, records: Any) -> tuple[Device, Events]:
        """A session that was lost, and the events that it has subscribed to."""
        session, events = devices.join(), Events()
        reactor(session.subscribe, events.take, "org.paradrop.events")
        reactor(drop, session)
        records.wait("wamp.left")
        return session, events

    def test_what_is_newer_does_not_overtake(
        self, devices: Devices, reactor: Any, records: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(settings, "WAMP_OUTBOX_LIMIT", 3)
        session, events = self.away(devices, reactor, records)
        reactor(publish, session, 1)

        def at_once(was: State, now: State, why: str) -> None:
            if now is State.READY:
                publish(session, 2)

        reactor(session.client.observe, at_once)
        events.wait(2)
        assert events == [1, 2]

    def test_events_are_sent_after_the_rejoin_in_order(
        self, devices: Devices, reactor: Any, records: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(settings, "WAMP_OUTBOX_LIMIT", 3)
        session, events = self.away(devices, reactor, records)
        for number in range(4):
            reactor(publish, session, number)
        assert reactor(publish, session, 4, True).id
        reactor(publish, session, 5)
        events.wait(4)
        assert events == [2, 3, 4, 5]

    def test_is_a_matter_of_asking_for_it(
        self, devices: Devices, reactor: Any, records: Any
    ) -> None:
        session = devices.join()
        reactor(drop, session)
        records.wait("wamp.left")
        with pytest.raises(NotConnected):
            reactor(session.publish, "org.paradrop.events", 1)


def test_a_router_that_is_back_is_found_long_before_the_wait_is_over(
    devices: Devices, node: Node, records: Any, reactor: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings, "WAMP_INITIAL_DELAY", 2000)
    monkeypatch.setattr(settings, "WAMP_MAX_DELAY", 2000)
    monkeypatch.setattr(Probe, "LEAST", 0.1)
    monkeypatch.setattr(Probe, "MOST", 0.2)
    session = devices.join()
    handshakes = session.client.handshakes
    node.kill()
    try:
        records.wait("wamp.left")
        reactor(session.client.try_now, "the first attempt has to find nobody")
        records.wait("wamp.retry", 2)
    finally:
        node.start()
    records.wait("wamp.joined", 2)
    assert session.client.handshakes == handshakes + 1
    assert session.client.looks > 1


def test_without_a_session_the_nexus_has_none(
    devices: Devices, core: Any, records: Any, reactor: Any
) -> None:
    session = devices.join()
    states: list[State] = []
    session.client.observe(lambda was, now, why: states.append(now))
    seen: list[Any] = []
    session.client.observe(lambda *_: seen.append((core.session, core.wamp_connected)))
    reactor(drop, session)
    records.wait("wamp.joined", 2)
    assert core.session is devices.sessions[-1] is not session
    assert states == [State.BACKOFF, State.CONNECTING, State.JOINING, State.READY]
    assert seen[:3] == [(None, False)] * 3


def test_a_session_that_the_router_ends_is_over_at_once(
    devices: Devices, node: Node, core: Any, records: Any
) -> None:
    seen: list[Any] = []
    session = devices.join(left=lambda: seen.append((core.session, core.wamp_connected)))
    operator = node.operator()
    try:
        operator.end_sessions(session.pdid)
    finally:
        operator.close()
    records.wait("wamp.joined", 2)
    assert seen == [(None, False)]


def test_what_a_callback_of_the_deferred_raises_costs_nothing(
    devices: Devices, core: Any, reactor: Any
) -> None:
    def callback(session: Any) -> None:
        raise ZeroDivisionError

    def begin() -> Deferred[Any]:
        pdid = "cxbr-callback"
        extra = {"token": devices.node.enroll(pdid), "made": devices.sessions}
        started = Device.start(devices.node.url(), pdid, extra=extra)
        return started.addCallback(callback)

    with pytest.raises(ZeroDivisionError):
        reactor(begin)
    assert core.session.client.state is State.READY
    reactor(core.session.register, lambda pdid: 1, "org.paradrop.one")


def test_a_bound_for_every_kind_of_silence() -> None:
    bounds = BaseClientFactory.__doc__ or ""
    for name in ("connectTimeout", "openTimeout", "joinTimeout", "WAMP_PING_INTERVAL"):
        assert name in bounds
