"""Faults do what they say through the device, in order, and leave it on the time line."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.evidence.timeline import Timeline
from harness.fault.clock import Clock
from harness.fault.link import Link
from harness.fault.power import Power


@pytest.fixture
def timeline(tmp_path: Path) -> Iterator[Timeline]:
    timeline = Timeline(tmp_path / "timeline.jsonl")
    yield timeline
    timeline.close()


def faults(timeline: Timeline) -> list[str]:
    return [entry["event"] for entry in timeline.events() if entry["device"] == "router"]


def test_an_unplugged_cable_is_plugged_in_again_whatever_happens(timeline: Timeline) -> None:
    carrier = [True]
    link = Link("router", "wan", carrier.append, timeline)
    with pytest.raises(ZeroDivisionError), link.unplugged():
        assert carrier[-1] is False
        raise ZeroDivisionError
    assert carrier[-1] is True
    assert faults(timeline) == ["link down", "link up"]


def test_a_cable_that_cannot_be_pulled_is_not_said_to_be(timeline: Timeline) -> None:
    def stuck(up: bool) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        Link("router", "wan", stuck, timeline).down()
    assert faults(timeline) == []


def test_power_is_cut_before_it_comes_back(timeline: Timeline) -> None:
    done: list[str] = []
    power = Power("router", lambda: done.append("cut"), lambda: done.append("on"), timeline)
    power.cycle()
    assert done == ["cut", "on"]
    assert faults(timeline) == ["power cut", "power on"]


def test_the_clock_is_read_and_told_in_whole_seconds(timeline: Timeline) -> None:
    commands: list[str] = []

    def succeed(command: str) -> str:
        commands.append(command)
        return subprocess.check_output(["date", "+%s"], text=True)

    clock = Clock("router", succeed, timeline)
    assert abs(clock.now() - time.time()) < 5
    clock.set(12.9)
    clock.reset()
    assert commands[1] == "date -u -s @12"
    assert abs(int(commands[2].rpartition("@")[2]) - time.time()) < 5
    assert faults(timeline) == ["clock set", "clock set"]
