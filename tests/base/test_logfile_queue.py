"""The queue to the log file is bounded, and says what it could not take."""

from __future__ import annotations

import errno
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from logged import logging_ended, messages

from paradrop.base import logfile, logqueue, output
from paradrop.base.logqueue import RecordQueue
from paradrop.base.output import out

ended = pytest.fixture(autouse=True)(logging_ended)

RECORD = (1.7e9, "{}\n")


class Disk:
    """Stands for `os.write`; full while it is told so."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.full = False
        self.refused = threading.Event()
        self._write = os.write
        monkeypatch.setattr(os, "write", self.write)

    def write(self, descriptor: int, data: bytes) -> int:
        if self.full:
            self.refused.set()
            raise OSError(errno.ENOSPC, "No space left on device")
        return self._write(descriptor, data)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[Disk]:
    monkeypatch.setattr(logfile, "RETRY_INTERVAL", 0.01)
    monkeypatch.setattr(output, "QUEUE_LIMIT", 10)
    monkeypatch.setattr(output, "QUEUE_WAIT", 30)
    disk = Disk(monkeypatch)
    yield disk
    disk.full = False


def test_a_queue_takes_what_it_has_room_for() -> None:
    queue = RecordQueue(2, patience=0)
    assert [queue.offer(RECORD) for _ in range(5)] == [True, True, False, False, False]
    assert queue.qsize() == 2
    queue.get()
    assert queue.made_room() == 3
    assert queue.made_room() == 0
    assert queue.offer(RECORD)
    assert not queue.wait_for_room(0)


def test_who_waits_goes_on_as_soon_as_there_is_room() -> None:
    queue = RecordQueue(1, patience=30)
    queue.offer(RECORD)
    taken: list[bool] = []
    waiter = threading.Thread(target=lambda: taken.append(queue.offer(RECORD)))
    waiter.start()
    queue.get()
    before = time.monotonic()
    while not taken:  # it may have begun to wait before or after
        queue.made_room()
        waiter.join(0.01)
        assert time.monotonic() - before < 20
    assert taken == [True]


def test_long_lines_are_bounded_by_their_length(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logqueue, "LONG_LIMIT", 5000)
    queue = RecordQueue(10, patience=0)
    long = (1.7e9, "x" * 2000)
    longest = (1.7e9, "x" * 9000)
    assert [queue.offer(long) for _ in range(3)] == [True, True, False]
    assert queue.offer(RECORD)
    taken = [queue.get(), queue.get()]
    assert not queue.offer(longest)
    assert queue.made_room([*taken, None, threading.Event()]) == 2
    assert queue.offer(longest)  # alone, it may be as long as it is
    assert not queue.offer(long)


def test_a_long_message_is_a_record_like_any_other(tmp_path: Path) -> None:
    out.startLogging(tmp_path, printToConsole=False)
    for _ in range(3):
        out.info("x" * 100_000)
    assert messages(tmp_path) == ["x" * 100_000] * 3
    assert out.queue is not None
    assert not out.queue._long


def test_nobody_waits_for_a_disk_that_is_known_to_be_full() -> None:
    queue = RecordQueue(0, patience=30)
    before = time.monotonic()
    waiter = threading.Thread(target=queue.offer, args=[RECORD])
    waiter.start()
    wait_until(lambda: queue._waiting)
    queue.stall(True)
    waiter.join()
    assert not queue.offer(RECORD)
    assert time.monotonic() - before < 5
    assert queue.made_room() == 2


def test_no_refusal_goes_uncounted() -> None:
    queue = RecordQueue(5, patience=0)

    def offer() -> None:
        for _ in range(500):
            queue.offer(RECORD)

    threads = [threading.Thread(target=offer) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert queue.made_room() == 4 * 500 - queue.qsize()
    assert 5 <= queue.qsize() <= 5 + 4


def test_a_full_disk_costs_what_has_no_room_in_memory_and_it_is_said_once_it_is_back(
    tmp_path: Path, disk: Disk, capsys: pytest.CaptureFixture[str]
) -> None:
    out.startLogging(tmp_path, printToConsole=False)
    out.info("before")
    assert out.flush()
    disk.full = True
    out.info("held")
    assert disk.refused.wait(30)
    before = time.monotonic()
    for number in range(100):
        out.info(str(number))
    assert not out.flush(0.01)
    assert time.monotonic() - before < 5  # nobody waits for the disk
    disk.full = False
    assert out.flush()
    out.info("after")
    first, held, *kept, said, last = messages(tmp_path)
    assert (first, held, last) == ("before", "held", "after")
    assert kept == [str(number) for number in range(10)]
    assert said == "90 records were dropped: the log file could not be written"
    assert capsys.readouterr().out.count("No space left on device") == 1


def test_a_folder_that_is_gone_costs_no_more_than_a_full_disk(tmp_path: Path, disk: Disk) -> None:
    folder = tmp_path / "logs"
    out.startLogging(folder, printToConsole=False)
    out.info("lost with its file")
    assert out.flush()
    folder.rename(tmp_path / "elsewhere")
    assert out.printer is not None
    with pytest.raises(FileNotFoundError):
        out.printer.writer.sync()
    out.info("held")
    assert not out.flush(0.1)
    folder.mkdir()
    assert out.flush()
    assert messages(folder) == ["held"]


def test_what_is_lost_at_the_end_is_said(
    tmp_path: Path, disk: Disk, capsys: pytest.CaptureFixture[str]
) -> None:
    out.startLogging(tmp_path, printToConsole=False)
    disk.full = True
    for number in range(5):
        out.info(str(number))
    out.endLogging()
    assert f"5 records were lost: {tmp_path}/log has no room" in capsys.readouterr().out


def test_what_was_given_up_is_not_flushed(tmp_path: Path, disk: Disk) -> None:
    out.startLogging(tmp_path, printToConsole=False)
    disk.full = True
    out.info("lost")
    assert disk.refused.wait(30)
    flushed: list[bool] = []
    thread = threading.Thread(target=lambda: flushed.append(out.flush(2)))
    thread.start()
    assert out.queue is not None
    wait_until(lambda: out.queue is None or out.queue.qsize())
    out.endLogging()
    thread.join()
    assert flushed == [False]


def test_a_log_that_is_full_when_it_ends_says_what_was_refused(tmp_path: Path, disk: Disk) -> None:
    out.startLogging(tmp_path, printToConsole=False)
    disk.full = True
    out.info("held")
    assert disk.refused.wait(30)
    for number in range(12):
        out.info(str(number))
    disk.full = False
    out.endLogging()
    assert messages(tmp_path)[-2:] == [
        "9",
        "2 records were dropped: the log file could not be written",
    ]


def test_nothing_is_lost_or_doubled_at_a_stop_while_others_log(tmp_path: Path) -> None:
    """What was logged before the stop is all there, in order, once."""
    counts: list[int] = []
    go_on = threading.Event()
    go_on.set()

    def log() -> None:
        number = 0
        while go_on.is_set():
            out.info("x", number=number)
            number += 1
        counts.append(number)

    for _ in range(5):
        out.startLogging(tmp_path, printToConsole=False)
        thread = threading.Thread(target=log)
        thread.start()
        wait_until(lambda: (tmp_path / "log").stat().st_size > 10_000)
        out.endLogging()
        go_on.clear()
        thread.join()
        go_on.set()
        numbers = [record["extra"]["number"] for record in out.getLogsSince(0)]
        assert numbers == list(range(len(numbers)))
        (tmp_path / "log").unlink()


def wait_until(condition: Callable[[], object], timeout: float = 30) -> None:
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline
        threading.Event().wait(0.002)


def test_flushing_does_not_wait_for_the_gathering(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logfile, "GATHER_TIME", 60)
    out.startLogging(tmp_path, printToConsole=False)
    before = time.monotonic()
    for number in range(10):
        out.info(str(number))
        assert out.flush()
    out.info("last")
    out.endLogging()
    assert time.monotonic() - before < 20
    assert messages(tmp_path) == [*map(str, range(10)), "last"]


def test_records_are_gathered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread that was woken for each record would halve what the others get done."""
    writes: list[int] = []
    write = os.write

    def count(descriptor: int, data: bytes) -> int:
        writes.append(len(data))
        return write(descriptor, data)

    monkeypatch.setattr(logfile, "GATHER_TIME", 60)
    monkeypatch.setattr(os, "write", count)
    out.startLogging(tmp_path, printToConsole=False)
    for number in range(50):
        out.info(str(number))
        threading.Event().wait(0.002)  # its chance to wake
    out.endLogging()
    assert len(writes) < 5
