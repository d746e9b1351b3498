"""Faults do what they say, and are on the time line from before they begin until they are over."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.errors import DeviceError
from harness.evidence.timeline import Timeline
from harness.fault.clock import Clock
from harness.fault.freeze import Freeze
from harness.fault.injector import Lasting, injected
from harness.fault.link import Link
from harness.fault.power import Power


@pytest.fixture
def timeline(tmp_path: Path) -> Iterator[Timeline]:
    timeline = Timeline(tmp_path / "timeline.jsonl")
    yield timeline
    timeline.close()


def story(timeline: Timeline) -> list[str]:
    """Faults, and what a test has recorded of their effects."""
    return [f"{entry.get('fault', '')} {entry['event']}".strip() for entry in timeline.events()]


class Effects:
    """Records on the time line when a fault takes effect."""

    def __init__(self, timeline: Timeline) -> None:
        self._timeline = timeline

    def switch(self, on: bool) -> None:
        self._timeline.record("effect", "on" if on else "off")

    def cut(self) -> None:
        self.switch(False)

    def on(self) -> None:
        self.switch(True)

    def fails(self, *_: object) -> str:
        raise DeviceError("it does not", evidence="a secret\n")


@pytest.fixture
def effects(timeline: Timeline) -> Effects:
    return Effects(timeline)


def test_an_unplugged_cable_is_plugged_in_again_whatever_happens(
    timeline: Timeline, effects: Effects
) -> None:
    link = Link("router", "wan", effects.switch, timeline)
    with pytest.raises(ZeroDivisionError), link.unplugged():
        raise ZeroDivisionError
    assert story(timeline) == ["link down begins", "off", "on", "link down ends"]
    (begun, _, _, ended) = timeline.events()
    for event in (begun, ended):
        assert (event["source"], event["device"], event["link"]) == ("fault", "router", "wan")
    assert "error" not in ended


def test_a_cable_that_is_pulled_twice_is_out_once(timeline: Timeline, effects: Effects) -> None:
    link = Link("router", "wan", effects.switch, timeline)
    link.up()
    link.down()
    link.down()
    link.up()
    link.up()
    assert story(timeline) == [
        *("on", "link down begins", "off", "off", "on", "link down ends", "on")
    ]


def test_a_fault_that_cannot_begin_has_ended(timeline: Timeline, effects: Effects) -> None:
    link = Link("router", "wan", effects.fails, timeline)
    for _ in range(2):
        with pytest.raises(DeviceError), link.unplugged():
            raise AssertionError
    assert story(timeline) == ["link down begins", "link down ends"] * 2
    assert [entry["error"] for entry in timeline.events() if "error" in entry] == [
        "DeviceError: it does not"
    ] * 2


def test_a_fault_that_cannot_be_undone_has_ended(timeline: Timeline, effects: Effects) -> None:
    power = Power("router", effects.cut, effects.fails, timeline)
    with pytest.raises(DeviceError):
        power.cycle()
    assert story(timeline) == ["power cut begins", "off", "power cut ends"]
    power.cut()
    assert story(timeline)[3:] == ["power cut begins", "off"]


def test_an_interrupted_fault_has_ended(timeline: Timeline) -> None:
    with pytest.raises(KeyboardInterrupt), injected(timeline, "flood", device="router"):
        raise KeyboardInterrupt
    (_, ended) = timeline.events()
    assert (ended["event"], ended["error"]) == ("ends", "KeyboardInterrupt")


def test_without_a_time_line_it_happens_all_the_same() -> None:
    done: list[str] = []
    fault = Lasting(None)
    fault.begin("flood", lambda: done.append("begun"))
    fault.end(lambda: done.append("over"))
    with injected(None, "flood"):
        done.append("again")
    assert done == ["begun", "over", "again"]


def test_power_is_cut_before_it_comes_back(timeline: Timeline, effects: Effects) -> None:
    Power("router", effects.cut, effects.on, timeline).cycle()
    assert story(timeline) == ["power cut begins", "off", "on", "power cut ends"]


def test_a_frozen_device_goes_on_whatever_happens(timeline: Timeline, effects: Effects) -> None:
    with pytest.raises(ZeroDivisionError), Freeze("router", effects.switch, timeline).held():
        raise ZeroDivisionError
    assert story(timeline) == ["freeze begins", "on", "off", "freeze ends"]


def test_the_clock_is_read_and_told_in_whole_seconds(timeline: Timeline) -> None:
    commands: list[str] = []

    def succeed(command: str) -> str:
        commands.append(command)
        timeline.record("effect", "date")
        return subprocess.check_output(["date", "+%s"], text=True)

    clock = Clock("router", succeed, timeline)
    assert abs(clock.now() - time.time()) < 5
    clock.set(12.9)
    clock.reset()
    assert commands[1] == "date -u -s @12"
    assert abs(int(commands[2].rpartition("@")[2]) - time.time()) < 5
    assert story(timeline)[1:] == ["clock set begins", "date", "clock set ends"] * 2


def test_a_clock_that_cannot_be_set_is_said_to_have_failed(
    timeline: Timeline, effects: Effects
) -> None:
    with pytest.raises(DeviceError):
        Clock("router", effects.fails, timeline).set(12)
    assert story(timeline) == ["clock set begins", "clock set ends"]
