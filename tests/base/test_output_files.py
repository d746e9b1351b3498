"""What is in the log files after midnight, a kill, a power cut; and reading it back."""

import errno
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from logged import logging_ended

from paradrop.base import logfile
from paradrop.base.logfile import DailyFile, PrintLogThread, encode
from paradrop.base.output import out

DAY = 86400
TODAY = date.today()


ended = pytest.fixture(autouse=True)(logging_ended)


def noon(day: date) -> float:
    return datetime(day.year, day.month, day.day, 12).timestamp()


def record(message: str, timestamp: float) -> dict[str, Any]:
    return {"message": message, "type": 3, "extra": {}, "timestamp": timestamp}


def days_ago(count: int) -> date:
    return TODAY - timedelta(days=count)


def dated(folder: Path, day: date) -> Path:
    return folder / f"log.{day:%Y_%m_%d}"


def put(path: Path, *records: dict[str, Any]) -> None:
    path.write_bytes(b"".join(map(encode, records)))


def texts(path: Path) -> list[str]:
    return [json.loads(line)["message"] for line in path.read_text().splitlines()]


def logs(target: float = 0, purge: bool = False) -> list[str]:
    return [record["message"] for record in out.getLogsSince(target, purge)]


def start(folder: Path) -> None:
    out.startLogging(folder, printToConsole=False)


def wait_until(condition: Callable[[], object], timeout: float = 30) -> None:
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline
        threading.Event().wait(0.005)


class Clock:
    """Stands for `time.time` of the module that stamps the records."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, now: float) -> None:
        self.now = now
        monkeypatch.setattr("paradrop.base.streams.time", self)

    def time(self) -> float:
        return self.now


def test_the_date_changes_with_the_first_record_of_a_day(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start(tmp_path)
    clock = Clock(monkeypatch, noon(days_ago(1)) + DAY / 2 - 0.5)
    out.info("last of yesterday")
    clock.now += 1
    out.info("first of today")
    clock.now = noon(TODAY)
    out.info("second of today")
    out.flush()
    assert texts(tmp_path / "log") == ["first of today", "second of today"]
    assert texts(dated(tmp_path, days_ago(1))) == ["last of yesterday"]
    assert logs() == ["last of yesterday", "first of today", "second of today"]


def test_a_clock_that_is_stepped_forth_and_back_loses_and_overwrites_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start(tmp_path)
    clock = Clock(monkeypatch, noon(TODAY))
    expected: dict[date, list[str]] = {}
    for number, ago in enumerate([0, -3, 0, 5, -3, 0, 0, 5, 0]):
        clock.now = noon(days_ago(ago))
        out.info(str(number))
        expected.setdefault(days_ago(ago), []).append(str(number))
    out.flush()
    found = {day: texts(dated(tmp_path, day)) for day in expected if dated(tmp_path, day).exists()}
    found[TODAY] = found.get(TODAY, []) + texts(tmp_path / "log")
    assert found == expected
    assert len(list(tmp_path.iterdir())) == 4


def test_records_of_an_earlier_day_are_put_aside_at_the_start(tmp_path: Path) -> None:
    put(tmp_path / "log", record("old", noon(days_ago(2))))
    start(tmp_path)
    assert texts(dated(tmp_path, days_ago(2))) == ["old"]
    assert (tmp_path / "log").read_bytes() == b""


def test_records_of_today_are_continued_at_the_start(tmp_path: Path) -> None:
    put(tmp_path / "log", record("before", time.time()))
    start(tmp_path)
    out.info("after")
    out.flush()
    assert texts(tmp_path / "log") == ["before", "after"]


def test_a_file_of_nothing_but_damage_counts_by_its_own_time(tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(b"\0" * 100)
    os.utime(tmp_path / "log", times=(noon(days_ago(3)),) * 2)
    start(tmp_path)
    assert dated(tmp_path, days_ago(3)).exists()


@pytest.mark.parametrize("tail", [b'{"message": "to', b"\0" * 300, b'{"a": 1}', b"\xff\xfe{"])
def test_what_a_power_cut_tore_costs_itself_alone(tmp_path: Path, tail: bytes) -> None:
    whole = encode(record("whole", time.time()))
    (tmp_path / "log").write_bytes(whole + tail)
    start(tmp_path)
    out.info("after the cut")
    out.flush()
    assert (tmp_path / "log").read_bytes().startswith(whole + tail + b"\n{")
    assert logs() == ["whole", "after the cut"]


def test_what_was_torn_stays_alone_also_where_a_file_is_appended_to_another(
    tmp_path: Path,
) -> None:
    yesterday = days_ago(1)
    dated(tmp_path, yesterday).write_bytes(encode(record("one", noon(yesterday))) + b'{"torn')
    put(tmp_path / "log", record("two", noon(yesterday)))
    start(tmp_path)
    assert logs() == ["one", "two"]


@given(lines=st.lists(st.binary(max_size=30), max_size=8))
def test_any_bytes_in_the_file_cost_no_record(
    tmp_path_factory: pytest.TempPathFactory, lines: list[bytes]
) -> None:
    folder = tmp_path_factory.mktemp("logs")
    good = record("good", time.time())
    content = b"".join(line + b"\n" + encode(good) for line in lines)
    (folder / "log").write_bytes(content)
    read = list(logfile.read_since(folder, 0))
    assert read.count(good) == len(lines)


def test_times_are_compared_with_times(tmp_path: Path) -> None:
    days = [days_ago(3), days_ago(2), days_ago(1)]
    for day in days:
        put(
            dated(tmp_path, day), record(f"{day}", noon(day)), record(f"{day} later", noon(day) + 9)
        )
    put(tmp_path / "log", record("today", noon(TODAY)))
    start(tmp_path)
    everything = [f"{day}{when}" for day in days for when in ("", " later")] + ["today"]
    assert logs(0) == everything
    assert logs(noon(days[1]) - 0.1) == everything[2:]
    assert logs(noon(days[1])) == everything[3:]
    assert logs(int(noon(days[1]) + 9)) == everything[4:]
    assert logs(noon(TODAY) + 1e9) == []
    iterator = out.iterLogsSince(noon(days[2]))
    assert next(iterator)["message"] == everything[5]
    assert [record["message"] for record in iterator] == everything[6:]


def test_only_files_that_can_match_are_opened(tmp_path: Path) -> None:
    opened: list[str] = []

    def audit(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open" and str(arguments[0]).startswith(str(tmp_path)):
            opened.append(Path(str(arguments[0])).name)

    sys.addaudithook(audit)  # it stays for the process, and watches this folder only
    for ago in (1, 2, 3):
        put(dated(tmp_path, days_ago(ago)), record(f"{ago}", noon(days_ago(ago))))
    (tmp_path / "stray").touch()
    start(tmp_path)
    opened.clear()
    assert logs(noon(days_ago(1)) - DAY / 2) == ["1"]
    assert opened == ["log", dated(tmp_path, days_ago(1)).name]


def test_stray_files_break_nothing(tmp_path: Path) -> None:
    good = record("good", noon(TODAY))
    put(tmp_path / "log", good)
    for name in ["notes.txt", "log.old", "log.2020_13_45", "log.2020_01_01.gz", "log.", "xlog"]:
        put(tmp_path / name, good)
    (tmp_path / "log.2020_01_01").mkdir()
    (tmp_path / "log.2020_01_02").symlink_to("nowhere")
    put(tmp_path / "log.2020_1_3", record("as Twisted names it", noon(date(2020, 1, 3))))
    start(tmp_path)
    assert logs() == ["as Twisted names it", "good"]


def test_purging_removes_what_was_read_and_nothing_else(tmp_path: Path) -> None:
    for ago in (1, 2, 3):
        put(dated(tmp_path, days_ago(ago)), record(f"{ago}", noon(days_ago(ago))))
    put(tmp_path / "log", record("today", noon(TODAY)))
    (tmp_path / "stray").touch()
    start(tmp_path)
    assert logs(noon(days_ago(2)) - 1, purge=True) == ["2", "1", "today"]
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"log", "stray", dated(tmp_path, days_ago(3)).name}
    assert logs(0, purge=False) == ["3", "today"]


def test_a_record_is_read_as_soon_as_it_is_logged(tmp_path: Path) -> None:
    start(tmp_path)
    for number in range(50):
        before = time.time()
        out.info(str(number))
        assert str(number) in logs(before - 1)


def test_a_file_that_is_turned_over_before_the_others_are_listed_is_read_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path / "log", record("once", noon(days_ago(1))))
    list_files = logfile._dated_files

    def turn_over_first(folder: Path, target: float) -> Iterator[tuple[Path, os.stat_result]]:
        (tmp_path / "log").rename(dated(tmp_path, days_ago(1)))
        return list_files(folder, target)

    monkeypatch.setattr(logfile, "_dated_files", turn_over_first)
    assert [read["message"] for read in logfile.read_since(tmp_path, 0)] == ["once"]


def test_what_is_logged_while_reading_does_not_prolong_it(tmp_path: Path) -> None:
    start(tmp_path)
    out.info("first")
    read = []
    for seen in out.iterLogsSince(0):
        read.append(seen["message"])
        out.info("another")
        out.flush()
    assert read == ["first"]


def test_a_file_that_is_turned_over_while_it_is_read_is_read_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start(tmp_path)
    clock = Clock(monkeypatch, noon(days_ago(1)))
    put(dated(tmp_path, days_ago(2)), record("a", noon(days_ago(2))))
    out.info("b")
    out.flush()
    reader = out.iterLogsSince(0)
    assert next(reader)["message"] == "a"
    clock.now = noon(TODAY)
    out.info("c")
    out.flush()
    assert dated(tmp_path, days_ago(1)).exists()
    assert [record["message"] for record in reader] == ["b"]


def test_a_file_that_somebody_moved_is_opened_anew(tmp_path: Path) -> None:
    file = DailyFile(tmp_path)
    file.append(TODAY, b"1\n")
    (tmp_path / "log").rename(tmp_path / "moved")
    file.sync()
    file.append(TODAY, b"2\n")
    file.close()
    assert (tmp_path / "log").read_bytes() == b"2\n"


def test_two_processes_share_the_files(tmp_path: Path) -> None:
    one, other = DailyFile(tmp_path), DailyFile(tmp_path)
    yesterday = days_ago(1)
    for file in (one, other):
        file.append(yesterday, encode(record("yesterday", noon(yesterday))))
    for file in (one, other):
        file.append(TODAY, encode(record("today", noon(TODAY))))
        file.close()
    assert texts(dated(tmp_path, yesterday)) == ["yesterday"] * 2
    assert texts(tmp_path / "log") == ["today"] * 2


WRITER = """
import sys
from paradrop.base.output import out
out.startLogging(sys.argv[1], printToConsole=False)
number = 0
while True:
    out.info(f"{number}")
    number += 1
    if number % 100 == 0:
        out.flush()
        print(number, flush=True)
"""


def test_a_killed_process_loses_only_what_was_in_the_queue(tmp_path: Path) -> None:
    command = [sys.executable, "-c", WRITER, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
        try:
            assert writer.stdout is not None
            for _ in range(5):
                flushed = int(writer.stdout.readline())
        finally:
            writer.send_signal(signal.SIGKILL)
    numbers = [int(text) for text in texts(tmp_path / "log")]
    assert numbers == list(range(len(numbers)))
    assert len(numbers) >= flushed


def test_what_is_written_is_synced_within_the_interval(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bound that a power cut keeps: what was not synced may be gone."""
    monkeypatch.setattr(logfile, "SYNC_INTERVAL", 0.1)
    synced: list[int] = []
    fdatasync = os.fdatasync

    def watch(descriptor: int) -> None:
        synced.append(os.fstat(descriptor).st_size)
        fdatasync(descriptor)

    monkeypatch.setattr(os, "fdatasync", watch)
    start(tmp_path)
    out.info("one")
    out.flush()
    size = (tmp_path / "log").stat().st_size
    wait_until(lambda: size in synced)
    out.info("two")
    out.endLogging()
    assert synced[-1] == (tmp_path / "log").stat().st_size > size


def test_an_idle_log_does_not_touch_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logfile, "SYNC_INTERVAL", 0.01)
    synced = threading.Semaphore(0)
    monkeypatch.setattr(os, "fdatasync", lambda descriptor: synced.release())
    start(tmp_path)
    out.info("one")
    assert synced.acquire(timeout=30)
    assert not synced.acquire(timeout=0.2)


def test_a_full_disk_delays_records_and_loses_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(logfile, "RETRY_INTERVAL", 0.01)
    start(tmp_path)
    out.info("before")
    out.flush()
    write = os.write
    attempts: list[int] = []

    def full(descriptor: int, data: bytes) -> int:
        if len(attempts) < 5:
            attempts.append(write(descriptor, bytes(data)[:7]))  # a part still fits
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(descriptor, data)

    monkeypatch.setattr(os, "write", full)
    out.info("during")
    assert out.flush()
    assert len(attempts) == 5
    assert texts(tmp_path / "log") == ["before", "during"]
    assert capsys.readouterr().out.count("No space left on device") == 1


def test_ending_does_not_wait_for_a_disk_that_stays_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start(tmp_path)

    def full(descriptor: int, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    for number in range(10):
        out.info(str(number))
    before = time.monotonic()
    out.endLogging()
    assert time.monotonic() - before < 5
    assert (tmp_path / "log").read_bytes() == b""


def test_the_thread_takes_records_from_its_queue(tmp_path: Path) -> None:
    records: queue.Queue[dict[str, Any] | None] = queue.Queue()
    thread = PrintLogThread(str(tmp_path), records, "log")
    assert thread.daemon
    thread.start()
    for number in range(1000):
        records.put({"message": str(number)})
    records.join()
    assert texts(tmp_path / "log") == [str(number) for number in range(1000)]
    thread.stop()
    thread.join(30)
    records.put(record("after the end of the thread", time.time()))
    thread.close()
    assert texts(tmp_path / "log")[-1] == "after the end of the thread"


def test_the_thread_needs_a_folder(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere"):
        PrintLogThread(tmp_path / "nowhere", queue.Queue(), "log")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers(), inner),
    max_leaves=10,
)


@settings(deadline=None)
@given(st.text(st.characters()), st.dictionaries(st.text(), json_values | st.binary()))
def test_every_record_is_one_line_of_strict_json(message: str, extra: dict[str, Any]) -> None:
    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    line = encode({"message": message, "extra": extra, "timestamp": 1.5})
    assert line.count(b"\n") == 1
    read = json.loads(line, parse_constant=refuse)
    assert read["message"] == message
    assert read["timestamp"] == 1.5
    assert read["extra"].keys() == extra.keys()
