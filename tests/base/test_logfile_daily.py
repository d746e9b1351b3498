"""How long log files are kept, and which of them a moment is in, whatever the clock does."""

from __future__ import annotations

import io
import itertools
import json
import os
import time
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from logged import logging_ended

from paradrop.base import logline
from paradrop.base import settings as base_settings
from paradrop.base.logdaily import DailyFile, dated_files
from paradrop.base.logfile import Record, encode, read_since
from paradrop.base.output import out

ended = pytest.fixture(autouse=True)(logging_ended)

TODAY = date.today()


def days_ago(count: int) -> date:
    return TODAY - timedelta(days=count)


def noon(day: date) -> float:
    return datetime(day.year, day.month, day.day, 12).timestamp()


def record(message: str, timestamp: float) -> Record:
    return {"message": message, "timestamp": timestamp}


def put(folder: Path, day: date, size: int = 0) -> Path:
    path = folder / f"log.{day:%Y_%m_%d}"
    path.write_bytes(encode(record("x" * size, noon(day))))
    os.utime(path, (noon(day), noon(day)))
    return path


def ages(folder: Path) -> list[int]:
    """How many days ago the files of dates are, newest first."""
    return sorted((TODAY - day).days for day, _, _ in dated_files(folder))


def texts(path: Path) -> list[str]:
    return [json.loads(line)["message"] for line in path.read_text().splitlines()]


@pytest.fixture
def zone(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """The time zone is UTC, until the test sets another with `set_zone`."""
    before = os.environ.get("TZ")
    set_zone("UTC")
    yield monkeypatch
    if before is None:
        os.environ.pop("TZ", None)
    else:
        os.environ["TZ"] = before
    time.tzset()


def set_zone(name: str) -> None:
    os.environ["TZ"] = name
    time.tzset()


def test_files_are_kept_for_as_many_days_as_is_said(tmp_path: Path) -> None:
    for ago in range(1, 8):
        put(tmp_path, days_ago(ago))
    (tmp_path / "log.notes").touch()
    DailyFile(tmp_path, max_days=3).close()
    assert ages(tmp_path) == [1, 2, 3]
    DailyFile(tmp_path, max_days=0).close()
    assert ages(tmp_path) == [1, 2, 3]
    assert (tmp_path / "log.notes").exists()


def test_the_settings_say_how_long_unless_the_caller_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for ago in range(1, 50):
        put(tmp_path, days_ago(ago), 1000)
    out.startLogging(tmp_path, printToConsole=False)
    assert ages(tmp_path) == list(range(1, 31))
    monkeypatch.setattr(base_settings, "LOG_MAX_DAYS", 20)
    out.startLogging(tmp_path, printToConsole=False)
    assert ages(tmp_path) == list(range(1, 21))
    monkeypatch.setattr(base_settings, "LOG_MAX_BYTES", 11_000)
    out.startLogging(tmp_path, printToConsole=False)
    assert ages(tmp_path) == list(range(1, 11))
    out.startLogging(tmp_path, printToConsole=False, maxDays=5, maxBytes=0)
    assert ages(tmp_path) == list(range(1, 6))


def test_age_is_counted_from_the_last_day_that_was_logged(tmp_path: Path) -> None:
    """A clock that jumps ahead for some hours, or a device that was off, costs nothing."""
    for ago in (100, 101, 102):
        put(tmp_path, days_ago(ago))
    put(tmp_path, days_ago(-500))  # from when the clock was ahead
    DailyFile(tmp_path, max_days=2).close()
    assert ages(tmp_path) == [-500, 100, 101]


def test_what_was_logged_before_the_clock_was_set_is_kept_as_long_as_all_else(
    tmp_path: Path,
) -> None:
    """A device without a clock of its own begins in the past, each time."""
    put(tmp_path, days_ago(1))
    file = DailyFile(tmp_path, max_days=30)
    then = noon(date(2000, 1, 1))
    file.append(date(2000, 1, 1), encode(record("booting", then)))
    os.utime(tmp_path / "log", (then, then))
    file.append(TODAY, encode(record("booted", noon(TODAY))))
    file.close()
    DailyFile(tmp_path, max_days=30).close()
    old = tmp_path / "log.2000_01_01"
    assert texts(old) == ["booting"]
    os.utime(old, (noon(days_ago(40)),) * 2)
    DailyFile(tmp_path, max_days=30).close()
    assert not old.exists()


def test_a_power_cut_while_files_become_one_doubles_nothing(tmp_path: Path) -> None:
    whole = b"".join(encode(record(str(number), noon(days_ago(1)))) for number in range(9999))
    dated = put(tmp_path, days_ago(1))
    before = dated.read_bytes()
    for content in (before, before + whole):  # the cut was before it, or after it
        dated.write_bytes(content)
        (tmp_path / "log").write_bytes(whole)
        DailyFile(tmp_path).close()
        assert dated.read_bytes() == before + whole
        assert (tmp_path / "log").read_bytes() == b""


def test_the_oldest_make_room_while_today_grows(tmp_path: Path) -> None:
    for ago in (1, 2, 3):
        put(tmp_path, days_ago(ago), 1000)
    file = DailyFile(tmp_path, max_days=0, max_bytes=5000)
    seen = []
    for _ in range(20):
        file.append(TODAY, b"x" * 99 + b"\n")
        seen.append(ages(tmp_path))
        assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 5000
    file.close()
    assert seen[0] == [1, 2, 3]
    assert seen[-1] == [1, 2]
    assert (tmp_path / "log").stat().st_size == 2000


def test_a_day_that_never_stops_logging_keeps_to_the_bound(tmp_path: Path) -> None:
    put(tmp_path, days_ago(1), 100)
    file = DailyFile(tmp_path, max_days=0, max_bytes=10_000)
    stamp = noon(TODAY)
    for number in range(1000):
        file.append(TODAY, encode(record(f"{number:050}", stamp + number)))
        sizes = [path.stat().st_size for path in tmp_path.iterdir()]
        assert sum(sizes) <= 10_000
    file.close()
    numbers = [int(read["message"]) for read in read_since(tmp_path, 0)]
    assert numbers == list(range(numbers[0], 1000))  # the newest, and no hole
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) > 4000


def test_a_file_that_cannot_be_removed_stops_nothing(tmp_path: Path) -> None:
    stuck = put(tmp_path, days_ago(3), 1000)
    put(tmp_path, days_ago(1), 1000)
    with pytest.MonkeyPatch.context() as patch:

        def refuse(path: Path, missing_ok: bool = False) -> None:
            raise PermissionError(path)

        patch.setattr(Path, "unlink", refuse)
        file = DailyFile(tmp_path, max_days=1, max_bytes=10)
        file.append(TODAY, b"1\n")
        file.close()
    assert stuck.exists()


def test_two_writers_that_both_find_the_file_too_large_lose_nothing_of_today(
    tmp_path: Path,
) -> None:
    one, other = (DailyFile(tmp_path, max_days=0, max_bytes=4000) for _ in range(2))
    for number, file in zip(range(30), itertools.cycle((one, other)), strict=False):
        file.append(TODAY, encode(record(f"{number:050}", noon(TODAY))))
        file.sync()
    one.close()
    other.close()
    numbers = sorted(int(read["message"]) for read in read_since(tmp_path, 0))
    assert numbers == list(range(30))


EVENING = 1_800_057_600.0 - 3600  # 2027-01-15, 23 o'clock UTC


def test_a_time_zone_that_changes_turns_the_file_over(
    tmp_path: Path, zone: pytest.MonkeyPatch
) -> None:
    now = EVENING
    zone.setattr("paradrop.base.streams.time", type("Clock", (), {"time": lambda: now}))
    out.startLogging(tmp_path, printToConsole=False)
    steps = [("UTC", "a"), ("CET-1", "b"), ("UTC", "c"), ("<+14>-14", "d"), ("<-12>12", "e")]
    for number, (name, message) in enumerate(steps):
        set_zone(name)
        now = EVENING + number
        out.info(message)
        assert out.flush()
    assert texts(tmp_path / "log") == ["e"]
    assert texts(tmp_path / "log.2027_01_15") == ["a", "c"]
    assert texts(tmp_path / "log.2027_01_16") == ["b", "d"]


@pytest.mark.parametrize("behind", ["<-10>10", "<-12>12", "UTC"])
@pytest.mark.parametrize("ahead", ["<+12>-12", "CET-1"])
def test_what_was_written_in_another_time_zone_is_found(
    tmp_path: Path, zone: pytest.MonkeyPatch, behind: str, ahead: str
) -> None:
    set_zone(behind)
    day = date.fromtimestamp(EVENING)
    path = put(tmp_path, day)
    last = time.mktime((day + timedelta(days=1)).timetuple()) - 1
    path.write_bytes(encode(record("last of the day", last)))
    os.utime(path, (last, last))
    set_zone(ahead)
    assert [read["message"] for read in read_since(tmp_path, last - 1)] == ["last of the day"]


def test_a_file_of_the_last_day_there_is_breaks_nothing(tmp_path: Path) -> None:
    put(tmp_path, days_ago(1)).rename(tmp_path / "log.9999_12_31")
    assert len(list(read_since(tmp_path, 0))) == 1


def test_records_are_found_also_where_the_clock_was_set_back(tmp_path: Path) -> None:
    """Within a file, times need not rise."""
    stamp = noon(TODAY)
    offsets = [0, 100, 50, 60, 200, 10, 300]
    (tmp_path / "log").write_bytes(
        b"".join(encode(record(str(offset), stamp + offset)) for offset in offsets)
    )
    for target in range(0, 310, 10):
        found = [int(read["message"]) for read in read_since(tmp_path, stamp + target)]
        assert found == [offset for offset in offsets if offset > target]


lines = st.lists(
    st.builds(
        record,
        st.sampled_from(["", '"timestamp":9', '","timestamp":99,"a":"', "\\", 'timestamp":5']),
        st.floats(-10, 10) | st.integers(-10, 10),
    )
    | st.fixed_dictionaries(
        {"extra": st.dictionaries(st.sampled_from(["timestamp", 'x"timestamp']), st.floats(-9, 9))},
        optional={"timestamp": st.floats(-10, 10) | st.just("text") | st.none()},
    )
)


@settings(deadline=None)
@given(lines, st.floats(-11, 11), st.sampled_from([(",", ":"), (", ", ": "), (" ,", " :")]))
def test_what_is_passed_over_is_what_parsing_would_pass_over(
    tmp_path_factory: pytest.TempPathFactory,
    records: list[Record],
    target: float,
    separators: tuple[str, str],
) -> None:
    folder = tmp_path_factory.mktemp("logs")
    written = [json.dumps(each, separators=separators) for each in records]
    (folder / "log").write_text("".join(f"{line}\n" for line in written))
    wanted = [
        each
        for each in map(json.loads, written)
        if isinstance(each.get("timestamp"), float | int) and each["timestamp"] > target
    ]
    assert list(read_since(folder, target)) == wanted


def test_a_line_without_an_end_is_not_held(monkeypatch: pytest.MonkeyPatch) -> None:
    class Stream(io.BytesIO):
        def readline(self, size: int | None = -1) -> bytes:
            line = super().readline(size)
            assert len(line) <= 100
            return line

    monkeypatch.setattr(logline, "LINE_LIMIT", 100)
    good, other = (encode(record(text, noon(TODAY))) for text in ("good", "x" * 50))
    stream = Stream(good + b"\0" * 1050 + b"\n" + other + b'{"torn' * 99 + b"\n" + good)
    assert [read["message"] for read in logline.parse(stream)] == ["good", "x" * 50, "good"]


def test_a_midnight_within_a_batch_divides_it(tmp_path: Path, zone: pytest.MonkeyPatch) -> None:
    now = EVENING + 3600 - 0.5
    zone.setattr("paradrop.base.streams.time", type("Clock", (), {"time": lambda: now}))
    zone.setattr("paradrop.base.logfile.GATHER_TIME", 0.5)
    out.startLogging(tmp_path, printToConsole=False)
    for number in range(100):
        now = EVENING + 3600 - 0.5 + number / 100
        out.info(str(number))
    assert out.flush()
    assert texts(tmp_path / "log.2027_01_15") == [str(number) for number in range(50)]
    assert texts(tmp_path / "log") == [str(number) for number in range(50, 100)]


@pytest.mark.parametrize("number", [-1, float("nan"), float("inf"), "x", True])
def test_a_bound_that_is_none_removes_nothing(tmp_path: Path, number: Any) -> None:
    for day in ("2023_11_13", "2023_11_14"):
        (tmp_path / f"log.{day}").write_text("{}\n")
    DailyFile(tmp_path, max_days=number, max_bytes=number).close()
    assert len(list(tmp_path.glob("log.2023*"))) == 2
