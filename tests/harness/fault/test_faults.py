"""Faults do what they say, prove it, and are on the time line from before they begin until they are
over."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.errors import DeviceError
from harness.evidence.timeline import Timeline
from harness.fault.clock import Clock
from harness.fault.fault import UnprovenError
from harness.fault.freeze import Freeze
from harness.fault.injector import Injector
from harness.fault.link import Link, LinkDown
from harness.fault.power import Power, PowerCut
from harness.machine.functions import CableFunctions, PauseFunctions, SupplyFunctions


@pytest.fixture
def timeline(tmp_path: Path) -> Iterator[Timeline]:
    timeline = Timeline(tmp_path / "timeline.jsonl")
    yield timeline
    timeline.close()


@pytest.fixture
def injector(timeline: Timeline) -> Injector:
    return Injector(timeline, device="router")


def story(timeline: Timeline) -> list[str]:
    """Faults, and what a test has recorded of their effects."""
    return [f"{entry.get('fault', '')} {entry['event']}".strip() for entry in timeline.events()]


class Part:
    """A cable, a supply and a pause; records on the time line what happens to it."""

    def __init__(self, timeline: Timeline) -> None:
        self._timeline = timeline
        self.is_on = True
        self.cable = CableFunctions(self.switch, lambda: self.is_on)
        self.supply = SupplyFunctions(self.off, self.on, lambda: self.is_on)
        self.pause = PauseFunctions(self.off, self.on, lambda: not self.is_on)

    def switch(self, on: bool) -> None:
        self._timeline.record("effect", "on" if on else "off")
        self.is_on = on

    def off(self) -> None:
        self.switch(False)

    def on(self) -> None:
        self.switch(True)

    def fails(self, *_: object) -> str:
        raise DeviceError("it does not", evidence="a secret\n")


@pytest.fixture
def part(timeline: Timeline) -> Part:
    return Part(timeline)


def test_an_unplugged_cable_is_plugged_in_again_whatever_happens(
    timeline: Timeline, injector: Injector, part: Part
) -> None:
    link = Link("wan", part.cable, injector)
    with pytest.raises(ZeroDivisionError), link.unplugged():
        raise ZeroDivisionError
    assert story(timeline) == [*("link down begins", "off", "on", "link down ends")]
    of_the_fault = [event for event in timeline.events() if event["source"] != "effect"]
    for event in of_the_fault:
        assert (event["device"], event["link"]) == ("router", "wan")
    assert of_the_fault[1]["shown"] == {"plugged": False}
    assert "error" not in of_the_fault[1]


def test_a_cable_that_is_pulled_twice_is_out_once(
    timeline: Timeline, injector: Injector, part: Part
) -> None:
    link = Link("wan", part.cable, injector)
    link.up()
    link.down()
    link.down()
    assert injector.begun == [LinkDown("wan")]
    link.up()
    link.up()
    assert injector.begun == []
    assert story(timeline) == [
        *("on", "link down begins", "off", "off", "on", "link down ends", "on")
    ]


def test_a_fault_that_cannot_begin_has_ended(
    timeline: Timeline, injector: Injector, part: Part
) -> None:
    link = Link("wan", CableFunctions(part.fails, lambda: True), injector)
    for _ in range(2):
        with pytest.raises(DeviceError), link.unplugged():
            raise AssertionError
    assert story(timeline) == ["link down begins", "link down ends"] * 2
    assert [entry["error"] for entry in timeline.events() if "error" in entry] == [
        "DeviceError: it does not"
    ] * 2


def test_a_fault_that_cannot_be_undone_has_ended(
    timeline: Timeline, injector: Injector, part: Part
) -> None:
    power = Power(SupplyFunctions(part.off, part.fails, lambda: False), injector)  # type: ignore[arg-type]
    with pytest.raises(DeviceError):
        power.cycle()
    assert story(timeline) == ["power cut begins", "off", "power cut ends"]
    power.cut()
    assert story(timeline)[3:] == ["power cut begins", "off"]


def test_a_fault_that_did_not_happen_is_no_fault_of_the_device(
    timeline: Timeline, injector: Injector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.fault.fault.SOON", 0.05)
    nothing = CableFunctions(lambda plugged: None, lambda: True)
    with pytest.raises(UnprovenError, match="link down did not happen"):
        Link("wan", nothing, injector).down()
    with pytest.raises(UnprovenError, match="still has power"):
        Power(SupplyFunctions(lambda: None, lambda: None, lambda: True), injector).cut()
    asleep = PauseFunctions(lambda: None, lambda: None, lambda: False)
    with pytest.raises(UnprovenError), Freeze(asleep, injector).held():
        raise AssertionError
    assert injector.begun == []
    assert [event.rpartition(" ")[2] for event in story(timeline)] == ["begins", "ends"] * 3
    assert UnprovenError.verdict == "error: infrastructure"


def test_an_interrupted_fault_has_ended(timeline: Timeline, injector: Injector) -> None:
    def interrupt(plugged: bool) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Link("wan", CableFunctions(interrupt, lambda: True), injector).down()
    (_, ended) = timeline.events()
    assert (ended["event"], ended["error"]) == ("ends", "KeyboardInterrupt")


def test_without_a_time_line_it_happens_all_the_same(part: Part) -> None:
    with Link("wan", part.cable, Injector(None)).unplugged():
        assert not part.is_on
    assert part.is_on


def test_all_that_goes_on_can_be_undone_and_one_failure_stops_nothing(
    timeline: Timeline, injector: Injector, part: Part
) -> None:
    injector.begin(LinkDown("wan"), part.cable)
    injector.begin(LinkDown("lan"), CableFunctions(lambda plugged: part.off(), lambda: False))
    injector.begin(PowerCut(), SupplyFunctions(part.off, part.fails, lambda: False))  # type: ignore[arg-type]
    assert len(injector.begun) == 3
    with pytest.raises(DeviceError):
        injector.undo()
    assert injector.begun == []
    assert part.is_on
    ends = [event for event in timeline.events() if event["event"] == "ends"]
    assert [(end["fault"], end.get("link")) for end in ends] == [
        *(("power cut", None), ("link down", "lan"), ("link down", "wan"))
    ]
    injector.undo()


def test_power_is_cut_before_it_comes_back(
    timeline: Timeline, injector: Injector, part: Part
) -> None:
    Power(part.supply, injector).cycle()
    assert story(timeline) == [*("power cut begins", "off", "on", "power cut ends")]


def test_a_frozen_device_goes_on_whatever_happens(
    timeline: Timeline, injector: Injector, part: Part
) -> None:
    with pytest.raises(ZeroDivisionError), Freeze(part.pause, injector).held():
        raise ZeroDivisionError
    assert story(timeline) == ["freeze begins", "off", "on", "freeze ends"]


class Dates:
    """A device that has a clock of its own, and runs `date`."""

    def __init__(self, timeline: Timeline) -> None:
        self._timeline = timeline
        self.offset = 0.0
        self.stuck = False

    def succeed(self, command: str) -> str:
        if command == "date +%s":
            return subprocess.check_output(
                ["date", "+%s", "-d", f"@{time.time() + self.offset}"]
            ).decode()
        self._timeline.record("effect", command)
        if not self.stuck:
            self.offset = int(command.removeprefix("date -u -s @")) - time.time()
        return ""


def test_the_clock_is_read_and_told_in_whole_seconds(
    timeline: Timeline, injector: Injector
) -> None:
    clock = Clock(Dates(timeline), injector)
    assert abs(clock.now() - time.time()) < 5
    clock.set(12.9)
    assert 12 <= clock.now() < 60
    clock.reset()
    assert abs(clock.now() - time.time()) < 5
    assert story(timeline)[:3] == [*("clock set begins", "date -u -s @12", "clock set ends")]


def test_a_clock_that_cannot_be_set_is_said_to_have_failed(
    timeline: Timeline, injector: Injector
) -> None:
    dates = Dates(timeline)
    dates.stuck = True
    with pytest.raises(UnprovenError, match="the clock says"):
        Clock(dates, injector).set(12)
    assert story(timeline) == ["clock set begins", "date -u -s @12", "clock set ends"]
