"""Every event of a run, from any thread, is in the file in the order in which it happened."""

import json
import os
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.evidence.timeline import Timeline


@pytest.fixture
def timeline(tmp_path: Path) -> Iterator[Timeline]:
    timeline = Timeline(tmp_path / "timeline.jsonl")
    yield timeline
    timeline.close()


def test_an_event_has_both_clocks_its_source_and_its_fields(timeline: Timeline) -> None:
    before, wall = time.monotonic(), time.time()
    told = timeline.record("fault", "link down", device="qemu-x86_64", folder=Path("/tmp"))
    (event,) = timeline.events()
    assert before <= event["t"] == told <= time.monotonic()
    assert wall <= event["wall"] <= time.time()
    del event["t"], event["wall"]
    assert event == {
        "source": "fault",
        "event": "link down",
        "device": "qemu-x86_64",
        "folder": "/tmp",
    }


def test_an_event_is_in_the_file_when_record_returns(timeline: Timeline) -> None:
    timeline.record("test", "line\nbreak ü")
    assert json.loads(timeline.path.read_text())["event"] == "line\nbreak ü"
    assert len(timeline.path.read_text().splitlines()) == 1


def test_a_clock_that_is_set_back_changes_nothing_of_its_order(
    timeline: Timeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = timeline.record("a", "before")
    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() - 86400)
    second = timeline.record("a", "after")
    assert first < second
    assert [event["event"] for event in timeline.events(first)] == ["after"]


def test_events_are_chosen_by_time_and_by_what_they_are(timeline: Timeline) -> None:
    first = timeline.record("node", "start")
    timeline.record("node", "ready")
    timeline.record("test", "start")
    assert [e["event"] for e in timeline.events(since=first)] == ["ready", "start"]
    chosen = timeline.events(match=lambda event: event["source"] == "node")
    assert [e["event"] for e in chosen] == ["start", "ready"]


def test_a_reading_ends_with_what_was_there_when_it_began(timeline: Timeline) -> None:
    timeline.record("node", "start")
    reading = timeline.events()
    assert next(reading)["event"] == "start"
    timeline.record("node", "ready")
    assert list(reading) == []
    assert len(list(timeline.events())) == 2


def test_no_field_can_change_the_clock(timeline: Timeline) -> None:
    told = timeline.record("console", "line", t=1.0, wall=2.0)
    (event,) = timeline.events()
    assert event["t"] == told
    assert event["wall"] > 1e9


def test_threads_are_in_order_and_a_reader_never_meets_half_a_line(timeline: Timeline) -> None:
    threads = [
        threading.Thread(
            target=lambda: [timeline.record("qemu", "line", text="x" * 20_000) for _ in range(40)]
        )
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        list(timeline.events())
    times = [event["t"] for event in timeline.events()]
    assert len(times) == 160
    assert times == sorted(times)


def test_the_half_line_of_a_run_that_was_killed_is_left_out(timeline: Timeline) -> None:
    timeline.record("node", "start")
    timeline.close()
    with timeline.path.open("a") as file:
        file.write('{"t": 12345.6, "wall"')
    assert [event["event"] for event in timeline.events()] == ["start"]


def test_a_time_line_is_continued_after_half_a_line(timeline: Timeline) -> None:
    timeline.close()
    timeline.path.write_text('{"t": 12345.6, "wall"')
    again = Timeline(timeline.path)
    again.record("node", "start")
    assert [event["event"] for event in again.events()] == ["start"]
    again.close()


def test_an_event_after_the_end_is_no_error(timeline: Timeline) -> None:
    timeline.close()
    timeline.record("qemu", "late")
    assert list(timeline.events()) == []


def test_what_a_broken_console_says_can_be_recorded(timeline: Timeline) -> None:
    timeline.record("console", os.fsdecode(b"\xff\x00"))
    (event,) = timeline.events()
    assert event["event"] == "\udcff\x00"


def test_a_full_disk_costs_events_and_nothing_else(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("nothing can be mounted here")
    try:
        (disk / "filler").write_bytes(bytes(32 << 10))
        timeline = Timeline(disk / "timeline.jsonl")
        for number in range(100):
            timeline.record("test", "long", number=number, text="x" * 1000)
        (disk / "filler").unlink()
        timeline.record("test", "after")
        timeline.record("test", "last")
        *events, after, last = timeline.events()
        assert [event["number"] for event in events] == list(range(len(events)))
        assert 0 < len(events) < 100
        assert (after["event"], after["events_lost_before"]) == ("after", 100 - len(events))
        assert "events_lost_before" not in last
        timeline.close()
    finally:
        subprocess.run(["umount", str(disk)], check=True)
