"""Sessions against a real router: joined as long as they are wanted."""

from __future__ import annotations

import socket
from typing import Any

import pytest
from autobahn.wamp.exception import ApplicationError, TransportLost
from autobahn.wamp.types import PublishOptions
from sessions import Device, Devices, drop, numbers
from twisted.internet.defer import CancelledError, Deferred, inlineCallbacks
from twisted.internet.error import ConnectionRefusedError

from harness.device.relay import Relay
from harness.node import Node
from paradrop.base import settings
from paradrop.base.cxbr import BaseClientFactory, State
from paradrop.base.exceptions import ParadropException
from paradrop.base.output import Level

pytestmark = pytest.mark.usefixtures("quick")


def test_joins_over_tls_and_is_the_session_of_the_nexus(
    devices: Devices, core: Any, records: Any
) -> None:
    session = devices.join()
    assert core.session is session
    assert core.wamp_connected
    assert records.events("wamp.joined")[0]["session"] == session._session_id


def test_uris_end_in_the_pdid_and_the_pdid_comes_first(devices: Devices, reactor: Any) -> None:
    session = devices.join()
    got: Deferred[Any] = Deferred()

    def hear(*args: Any, **kwargs: Any) -> None:
        got.callback((args, kwargs))

    @inlineCallbacks
    def talk() -> Any:
        yield session.register(lambda *args: list(args), "org.paradrop.echo")
        yield session.subscribe(hear, "org.paradrop.topic")
        answers = [
            (yield session.call("org.paradrop.echo", 1)),
            (yield session.stockCall(f"org.paradrop.echo.{session.pdid}", 1)),
        ]
        session.publish("org.paradrop.topic", 2, x=3, options=PublishOptions(exclude_me=False))
        return answers, (yield got)

    answers, event = reactor(talk)
    assert answers == [[session.pdid, 1], [1]]
    assert event == ((session.pdid, 2), {"x": 3})


def test_rejoins_after_a_loss_and_the_deferred_fires_once(
    devices: Devices, core: Any, reactor: Any, records: Any
) -> None:
    first = devices.join()
    reactor(drop, first)
    records.wait("wamp.joined", 2)
    assert core.session is not first
    assert core.session.client is first.client
    assert core.wamp_connected
    reactor(lambda: None)  # what that join had to do has been done
    assert [record for record in records if record["type"] == Level.ERR.value] == []


def test_a_loss_clears_wamp_connected(
    devices: Devices, core: Any, reactor: Any, records: Any
) -> None:
    session = devices.join()

    def lose() -> None:
        drop(session)
        session.client.stopTrying()

    reactor(lose)
    records.wait("wamp.left")
    assert not core.wamp_connected


def test_survives_the_router_being_killed(
    devices: Devices, node: Node, core: Any, records: Any
) -> None:
    devices.join()
    node.kill()
    try:
        records.wait("wamp.retry", 4)
    finally:
        node.start()
    records.wait("wamp.joined", 2)
    retries = records.events("wamp.retry")
    assert [retry["attempt"] for retry in retries] == list(range(1, len(retries) + 1))


def test_delays_double_up_to_the_longest_and_start_anew_after_a_join_that_lasts(
    devices: Devices, node: Node, records: Any, reactor: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(BaseClientFactory, "LASTING", 0)
    session = devices.join()

    port = session.client.connector.port

    def turn_away() -> None:
        session.client.connector.port = 1
        drop(session)

    reactor(turn_away)
    records.wait("wamp.retry", 6)
    session.client.connector.port = port
    records.wait("wamp.joined", 2)
    retries = records.events("wamp.retry")
    assert [retry["limit"] for retry in retries] == [0.1, 0.2, 0.4, 0.8, 0.8, 0.8]
    assert all(0 <= retry["delay"] <= retry["limit"] for retry in retries)
    reactor(lambda: drop(devices.sessions[-1]))
    assert records.wait("wamp.retry", 7)[6]["limit"] == 0.1


def test_without_reconnect_the_first_failure_fails_the_deferred(devices: Devices) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        waiting = devices.begin(f"ws://127.0.0.1:{closed.getsockname()[1]}/ws", reconnect=False)
        with pytest.raises(ConnectionRefusedError):
            waiting.wait(10)


def test_without_reconnect_a_refusal_fails_the_deferred(devices: Devices) -> None:
    with pytest.raises(ApplicationError, match=r"not_auth|authentication_failed|no_such"):
        devices.begin(token="wrong", reconnect=False).wait(10)


@pytest.mark.parametrize("address", ["http://x/ws", "ws://", "nonsense"])
def test_an_address_that_is_none_is_said(devices: Devices, address: str) -> None:
    with pytest.raises(ParadropException, match="address"):
        devices.begin(address).wait(10)


class TestLeave:
    def test_ends_the_session_for_good(
        self, devices: Devices, node: Node, core: Any, reactor: Any
    ) -> None:
        session = devices.join()
        operator = node.operator()
        assert operator.sessions(session.pdid)
        reactor(session.leave)
        assert core.session is None
        assert not core.wamp_connected
        assert session.client.state is State.STOPPED
        assert operator.sessions(session.pdid) == []
        operator.close()

    def test_may_be_said_twice_and_is_answered_when_closed(
        self, devices: Devices, reactor: Any
    ) -> None:
        session = devices.join()
        both: list[Deferred[None]] = []
        reactor(lambda: both.extend([session.leave(), session.leave()]))
        for left in both:
            assert reactor(lambda left=left: left) is None
        assert reactor(session.leave) is None

    def test_after_the_transport_was_lost_it_stops_the_retrying(
        self, devices: Devices, reactor: Any, core: Any, records: Any
    ) -> None:
        session = devices.join()
        reactor(drop, session)
        records.wait("wamp.retry")
        reactor(session.leave, timeout=2)
        assert core.session is None
        assert session.client._callID is None
        assert not session.client.continueTrying

    def test_of_an_attempt_that_has_not_joined_cancels_the_deferred(
        self, devices: Devices, reactor: Any, records: Any
    ) -> None:
        waiting = devices.begin("ws://127.0.0.1:1/ws")
        records.wait("wamp.retry", 2)
        reactor(devices.begun[0].cancel)
        with pytest.raises(CancelledError):
            waiting.wait(5)
        seen = len(records.events("wamp.retry"))
        reactor(wait_a_turn, 1.0)
        assert len(records.events("wamp.retry")) == seen

    def test_does_not_wait_long_for_a_router_that_is_silent(
        self, devices: Devices, relay: Relay, node: Node, reactor: Any
    ) -> None:
        session = devices.join(node.url(port=relay.port))
        relay.switch(False)
        reactor(session.leave, timeout=4)

    def test_of_an_old_session_leaves_a_newer_one_alone(
        self, devices: Devices, core: Any, reactor: Any
    ) -> None:
        old = devices.join()
        new = devices.join()
        assert core.session is new
        reactor(old.leave)
        assert core.session is new
        assert core.wamp_connected


def wait_a_turn(seconds: float) -> Deferred[None]:
    from twisted.internet import reactor
    from twisted.internet.task import deferLater

    return deferLater(reactor, seconds, lambda: None)


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_join_that_raises_is_an_attempt_that_failed(
    devices: Devices, core: Any, records: Any, when: str
) -> None:
    failing = [True, True, True]

    def act() -> None:
        if failing:
            failing.pop()
            raise ParadropException("cannot subscribe")

    devices.begin(**{when: act})
    retries = records.wait("wamp.retry", 3)
    assert all("cannot subscribe" in retry["reason"] for retry in retries)
    assert [retry["limit"] for retry in retries[:3]] == [0.1, 0.2, 0.4]
    records.wait("wamp.joined", 1 if when == "before" else 4)
    assert core.session is devices.sessions[3]


def test_a_stale_join_does_not_take_the_nexus(
    devices: Devices, core: Any, reactor: Any, records: Any
) -> None:
    session = devices.join()
    reactor(drop, session)
    records.wait("wamp.joined", 2)
    newer = core.session
    with pytest.raises(TransportLost):
        reactor(Device.onJoin, session, None)
    assert core.session is newer


def test_calls_in_flight_fail_when_the_session_is_lost(devices: Devices, reactor: Any) -> None:
    session = devices.join()

    def call() -> Deferred[Any]:
        registered = session.register(lambda *_: Deferred(), "org.paradrop.never")
        return registered.addCallback(lambda _: None)

    reactor(call)
    asked = reactor.begin(session.call, "org.paradrop.never")
    reactor(drop, session)
    with pytest.raises(TransportLost):
        asked.wait(5)


class TestRefused:
    def test_is_said_once_and_tried_at_the_longest_delay(
        self, devices: Devices, records: Any
    ) -> None:
        devices.begin(token="wrong")
        retries = records.wait("wamp.retry", 5)
        refused = [record for record in records if record["extra"].get("event") == "wamp.refused"]
        assert len(refused) == 1
        assert refused[0]["type"] == 7
        assert "wrong" not in str(refused)
        assert all(retry["delay"] >= 0.8 * 0.8 for retry in retries[1:])

    def test_is_over_when_it_is_cured(self, devices: Devices, records: Any) -> None:
        waiting = devices.begin(token="wrong")
        pdid = records.wait("wamp.refused")[0]["authid"]
        devices.sessions[-1].extra["token"] = devices.node.enroll(pdid)
        session = waiting.wait(20)
        assert session.client.state is State.READY


def test_without_a_key_the_attempt_fails_at_once(devices: Devices, records: Any) -> None:
    class Keyless(Device):
        def onChallenge(self, challenge: Any) -> None:
            return None

    pdid = f"cxbr-{next(numbers)}"
    devices.node.enroll(pdid)
    extra = {"made": devices.sessions}
    devices.reactor(
        lambda: devices.begun.append(Keyless.start(devices.node.url(), pdid, extra=extra))
    )
    assert "no key" in records.wait("wamp.retry", timeout=5)[0]["reason"]


def test_a_router_that_accepts_and_is_silent_is_dropped(
    devices: Devices, records: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(BaseClientFactory, "joinTimeout", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        devices.begin(f"ws://127.0.0.1:{silent.getsockname()[1]}/ws")
        assert "not joined within 0.5 s" in records.wait("wamp.retry", 2, 10)[1]["reason"]


def test_pings_find_a_half_open_link(
    devices: Devices,
    relay: Relay,
    node: Node,
    records: Any,
    core: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("paradrop.base.settings.WAMP_PING_INTERVAL", 0.5)
    monkeypatch.setattr("paradrop.base.settings.WAMP_PING_TIMEOUT", 0.5)
    devices.join(node.url(port=relay.port))
    relay.switch(False)
    assert "ping timeout" in records.wait("wamp.left")[0]["reason"]
    relay.switch(True)
    records.wait("wamp.joined", 2)


@pytest.mark.parametrize("value", [None, "30", float("inf"), 10**400])
def test_a_limit_that_a_program_has_made_none_costs_no_session(
    devices: Devices, monkeypatch: pytest.MonkeyPatch, value: object
) -> None:
    monkeypatch.setattr(settings, "WAMP_CALL_TIMEOUT", value)
    assert devices.join().is_attached()
