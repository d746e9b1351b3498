"""A router that has lost its session gets it back, by itself, and whole."""

from __future__ import annotations

import time

import pytest

pytestmark = pytest.mark.own_device

AWAY = 125
"""Seconds: with a first delay of 1 s that doubles, the sixth retry or so waits at its longest."""

LONGEST = 60
"""Seconds between two retries at the most; `settings.WAMP_MAX_DELAY`."""

LASTING = 10
"""Seconds after which a session counts as one that lasts, and retries start over."""


@pytest.mark.smoke
def test_router_restarted(node, rejoins):
    """A router that is restarted has the device back."""
    with rejoins(after="router restarted"):
        node.restart()


def test_router_killed(node, rejoins):
    """A router that dies without a goodbye has the device back when it runs again."""
    with rejoins(after="router killed"):
        node.kill()
        node.start()


@pytest.mark.needs("several")
def test_several_devices_come_back(bench, devices, node, operator):
    """Several devices lose a router that dies, and are all back when it runs again."""
    before = {}
    for device in devices(3):
        pdid = bench.provision(device).pdid
        before[pdid] = operator.sessions(pdid)
    assert len({session for (session,) in before.values()}) == 3
    node.kill()
    node.start()
    for pdid, sessions in before.items():
        operator.wait_joined(pdid, LONGEST, not_in=sessions)
        bench.assert_healthy(pdid)


@pytest.mark.needs("link")
def test_cable_pulled_longer_than_the_ping_timeout(device, operator, pdid, log, rejoins):
    """A half-open link is noticed by the device, and mended when the cable is back."""
    (session,) = operator.sessions(pdid)
    with rejoins(after="cable pulled"), device.link("wan").unplugged():
        operator.wait_left(pdid, session, timeout=30)
        log.wait_for("wamp.left")


@pytest.mark.needs("link")
def test_cable_flaps(device, operator, pdid):
    """A cable that is out for a moment costs nothing: the session stays the same."""
    before = operator.sessions(pdid)
    with device.link("wan").unplugged():
        time.sleep(2)  # nothing is waited for: this is the fault
    operator.wait_event(pdid, "heartbeat")
    assert operator.sessions(pdid) == before


@pytest.mark.needs("power")
def test_power_cycled(device, rejoins):
    """A device whose power is cut and comes back joins as itself."""
    with rejoins(after="power cycled"):
        device.power.cycle()


@pytest.mark.needs("power")
def test_power_comes_back_before_the_router(device, node, log, rejoins):
    """A device that boots while there is no router joins when there is one."""
    with rejoins(after="power cycled, no router"):
        node.stop()
        device.power.cycle()
        started = log.wait_for("daemon.started")["timestamp"]
        log.wait_for("wamp.retry", where=lambda record: record["timestamp"] > started)
        node.start()


def test_daemon_restarted(device, rejoins):
    """A daemon that is restarted joins as itself."""
    with rejoins(after="daemon restarted"):
        device.daemon("restart")


def test_session_killed_by_the_operator(operator, pdid, rejoins):
    """A session that an operator ends is replaced by the device."""
    with rejoins(after="session killed"):
        operator.end_sessions(pdid)


def test_a_clean_stop_says_goodbye(device, operator, pdid, log):
    """A daemon that is stopped leaves its session at once, not when pings go unanswered."""
    (session,) = operator.sessions(pdid)
    device.daemon("stop")
    try:
        operator.wait_left(pdid, session, timeout=5)
        assert log.wait_for("wamp.left", timeout=5)["extra"]["reason"] == "left"
    finally:
        device.daemon("start")
    operator.wait_joined(pdid)


def test_events_arrive_after_a_rejoin(operator, pdid, log, rejoins):
    """What the device had subscribed to reaches it after it has rejoined."""
    with rejoins(after="session killed"):
        operator.end_sessions(pdid)
    operator.publish(pdid, "updatesPending")
    log.wait_for("updates.pending")


def test_heartbeat_goes_on_after_a_rejoin(operator, pdid, rejoins):
    """The device's heartbeat is heard again, and counts the sessions."""
    before = operator.wait_event(pdid, "heartbeat").kwargs
    with rejoins(after="session killed"):
        operator.end_sessions(pdid)
    after = operator.wait_event(pdid, "heartbeat").kwargs
    assert after["sessions"] == before["sessions"] + 1
    assert after["uptime"] > before["uptime"]


@pytest.mark.long
@pytest.mark.timeout(600)
def test_router_away_for_minutes(node, operator, pdid, log, rejoins):
    """Retries get rarer while the router is away; it is found when it is back; they start over."""
    with rejoins(after="router away for 2 minutes", within=2 * LONGEST):
        node.stop()
        time.sleep(AWAY)  # nothing is waited for: this is the fault
        retries = [record["extra"] for record in log.records("wamp.retry")]
        node.start()
    limits = [retry["limit"] for retry in retries]
    assert len(limits) <= 20
    assert limits[0] < LONGEST / 4
    assert limits == sorted(limits)
    assert LONGEST / 4 < max(limits) <= LONGEST
    assert all(retry["delay"] <= retry["limit"] for retry in retries)
    time.sleep(LASTING + 1)
    with rejoins(after="session killed"):
        operator.end_sessions(pdid)
    again = log.records("wamp.retry")[len(retries) :]
    assert again[-1]["extra"]["limit"] <= 2


@pytest.mark.needs("clock")
def test_clock_that_starts_in_1970(device, operator, pdid, log, rejoins):
    """A device whose clock is not set names the clock as the cause, and is back when it is set."""
    try:
        device.clock.set(100)
        with rejoins(after="clock set", within=30):
            operator.end_sessions(pdid)
            log.wait_for("wamp.retry", where=lambda r: "not yet valid" in r["extra"]["reason"])
            device.clock.reset()
    finally:
        device.clock.reset()
    assert log.records("wamp.refused") == []
