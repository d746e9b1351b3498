"""What the daemon logs from now on, also when some of what was there before gets lost."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.device.daemon_log import DaemonLog
from harness.device.process import ProcessDevice
from harness.errors import DeviceError
from harness.evidence.timeline import Timeline


@pytest.fixture
def device(tmp_path: Path) -> Iterator[ProcessDevice]:
    """One whose daemon does not run: the test writes its log."""
    timeline = Timeline(tmp_path / "timeline.jsonl")
    device = ProcessDevice(tmp_path, timeline)
    (tmp_path / "etc/logs").mkdir(parents=True)
    yield device
    device.close()
    timeline.close()


@pytest.fixture
def logs(device: ProcessDevice) -> Path:
    return Path(device.config_home) / "logs"


def line(number: int, event: str = "tick") -> str:
    return json.dumps({"message": "", "extra": {"event": event, "number": number}}) + "\n"


def lines(*numbers: int) -> str:
    return "".join(map(line, numbers))


def numbers(log: DaemonLog) -> list[int]:
    return [record["extra"]["number"] for record in log.records("tick")]


def test_only_what_comes_later_counts(device: ProcessDevice, logs: Path) -> None:
    (logs / "log").write_text(lines(1, 2))
    log = DaemonLog(device)
    assert numbers(log) == []
    (logs / "log").write_text(lines(1, 2, 3) + line(9, "other"))
    assert numbers(log) == [3]
    assert len(log.records()) == 2


def test_no_log_yet(device: ProcessDevice, logs: Path) -> None:
    log = DaemonLog(device)
    assert log.lines() == []
    (logs / "log").write_text(lines(1))
    assert numbers(log) == [1]


def test_a_rotated_file_is_read_before_todays(device: ProcessDevice, logs: Path) -> None:
    (logs / "log").write_text(lines(1))
    log = DaemonLog(device)
    (logs / "log").rename(logs / "log.2026_01_01")
    (logs / "log").write_text(lines(2))
    assert numbers(log) == [2]


def test_lines_that_a_power_cut_takes_away_hide_nothing(device: ProcessDevice, logs: Path) -> None:
    (logs / "log").write_text(lines(1, 2, 3))
    log = DaemonLog(device)
    (logs / "log").write_text(lines(1, 10, 11))
    assert numbers(log) == [10, 11]


def test_a_line_that_is_being_written_is_left_out(device: ProcessDevice, logs: Path) -> None:
    log = DaemonLog(device)
    (logs / "log").write_text(lines(1) + line(2)[:20])
    assert numbers(log) == [1]


def test_waiting_finds_the_record_that_fits(device: ProcessDevice, logs: Path) -> None:
    log = DaemonLog(device)
    (logs / "log").write_text(lines(1, 2, 3))
    found = log.wait_for("tick", timeout=0, where=lambda record: record["extra"]["number"] > 1)
    assert found["extra"]["number"] == 2


def test_what_was_not_logged_is_the_devices_fault(device: ProcessDevice, logs: Path) -> None:
    log = DaemonLog(device)
    (logs / "log").write_text(lines(1))
    with pytest.raises(DeviceError, match=r"logged no joined within 0 s") as raised:
        log.wait_for("joined", timeout=0)
    assert '"number": 1' in raised.value.evidence
