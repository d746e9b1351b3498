"""A device is started when there is memory for it; a run waits for some instead of dying."""

from __future__ import annotations

import contextlib
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness import device as devices
from harness.bench import Bench
from harness.device import memory
from harness.device.base import Device
from harness.errors import InfrastructureError

MIB = 1 << 20


class Computer:
    """The files that tell of memory. Nobody can make a real computer short of it at will."""

    def __init__(self, folder: Path) -> None:
        self.groups = folder / "groups"
        self.proc = folder / "proc"
        (self.proc / "self").mkdir(parents=True)
        self.group("a/b")

    def free(self, mib: int) -> None:
        new = self.proc / "new"
        new.write_text(f"MemTotal: 99999999 kB\nMemAvailable: {mib << 10} kB\n")
        new.replace(self.proc / "meminfo")

    def group(self, path: str) -> None:
        """What we are in. The line of version 1 is that of a computer with both."""
        (self.proc / "self/cgroup").write_text(f"4:memory:/elsewhere\n0::/{path}\n")

    def limit(self, path: str, limit: str, taken: int = 0, cached: int = 0) -> None:
        """Of a group, in MiB; `cached` is part of what is `taken`."""
        folder = self.groups / path
        folder.mkdir(parents=True, exist_ok=True)
        number = limit if limit == "max" else str(int(limit) * MIB)
        (folder / "memory.max").write_text(f"{number}\n")
        (folder / "memory.current").write_text(f"{taken * MIB}\n")
        stat = f"anon 1\nfile 2\nshmem 3\nactive_file {cached * MIB}\ninactive_file 0\n"
        (folder / "memory.stat").write_text(stat)


@pytest.fixture
def computer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Computer:
    made = Computer(tmp_path)
    made.free(100)
    monkeypatch.setattr(memory, "PROC", made.proc)
    monkeypatch.setattr(memory, "CGROUPS", made.groups)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return made


def test_this_computer_has_some() -> None:
    assert memory.available() > MIB


def test_of_the_computer_and_its_groups_the_least_counts(computer: Computer) -> None:
    assert memory.available() == 100 * MIB
    computer.limit("a/b", "max", 70)
    assert memory.available() == 100 * MIB
    computer.limit("a/b", "90", 50)
    assert memory.available() == 40 * MIB
    computer.limit("a", "80", 50)
    assert memory.available() == 30 * MIB
    computer.limit("elsewhere", "1", 1)
    assert memory.available() == 30 * MIB
    computer.limit("", "70", 60)  # as a container sees its own
    assert memory.available() == 10 * MIB
    computer.limit("", "70", 60, cached=15)
    assert memory.available() == 25 * MIB
    computer.free(20)
    assert memory.available() == 20 * MIB
    computer.limit("", "70", 75)  # it was lowered
    assert memory.available() == 0
    computer.group("../outside")  # of the name space
    assert memory.available() == 0


@pytest.mark.parametrize(
    ("cores", "gib", "expected", "why"),
    [
        (2, 23, 4, "2 for each of 2 cores"),
        (8, 6.5, 6, "7.0 GB of memory are free, a worker may take 1"),
        (2, 0.5, 1, "0.5 GB of memory are free, a worker may take 1"),
    ],
)
def test_as_many_workers_as_cores_and_memory_carry(
    cores: int, gib: float, expected: int, why: str
) -> None:
    assert memory.workers(cores, int(gib * (1 << 30))) == (expected, why)


def test_with_enough_nothing_is_said_or_given_up(computer: Computer) -> None:
    said: list[str] = []
    with memory.room("x", 100 * MIB, said.append, lambda: said.append("given up")):
        assert said == []


def test_it_waits_until_there_is_some_and_says_so_once(computer: Computer) -> None:
    waiting, said = threading.Event(), []

    def say(line: str) -> None:
        said.append(line)
        waiting.set()

    def free() -> None:
        assert waiting.wait(20)
        time.sleep(0.5)  # it looks more than once
        computer.free(200)

    other = threading.Thread(target=free)
    other.start()
    with memory.room("x", 150 * MIB, say):
        assert memory.available() == 200 * MIB
    other.join(20)
    assert said == ["x: 100 MiB of memory are free, it needs 150: waiting for up to 180 s"]


def test_if_none_comes_free_the_error_has_the_numbers(
    computer: Computer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "WAIT_SECONDS", 0.3)
    with (
        pytest.raises(
            InfrastructureError,
            match=r"x: 100 MiB of memory are free, it needs 150, and after 0\.3 s .* \(run less",
        ),
        memory.room("x", 150 * MIB, print),
    ):
        raise AssertionError


def test_what_can_be_done_without_is_given_up_before_it_waits(computer: Computer) -> None:
    said: list[str] = []
    with memory.room("x", 150 * MIB, said.append, lambda: computer.free(150)):
        assert said == []


@contextlib.contextmanager
def other_run(needs: int) -> Iterator[threading.Event]:
    """Another that starts something, until the event is set; to flock(2) a thread is a stranger."""
    inside, end = threading.Event(), threading.Event()

    def start() -> None:
        with memory.room("other", needs, print):
            inside.set()
            assert end.wait(20)

    thread = threading.Thread(target=start)
    thread.start()
    assert inside.wait(20)
    try:
        yield end
    finally:
        end.set()
        thread.join(20)


def test_where_memory_is_short_two_runs_do_not_take_the_same(computer: Computer) -> None:
    said: list[str] = []
    with other_run(60 * MIB) as end:
        threading.Timer(0.5, end.set).start()
        with memory.room("x", 60 * MIB, said.append):
            assert end.is_set()
    assert said == []  # a start takes a moment


def test_one_that_starts_for_ever_is_not_waited_for_so_long(
    computer: Computer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "WAIT_SECONDS", 1)
    monkeypatch.setattr(memory, "QUIET_SECONDS", 0.3)
    said: list[str] = []
    with (
        other_run(60 * MIB),
        pytest.raises(InfrastructureError, match="x: memory is short, and it is the turn of"),
        memory.room("x", 60 * MIB, said.append),
    ):
        raise AssertionError
    assert len(said) == 1


def test_where_there_is_plenty_nobody_waits_for_another(computer: Computer) -> None:
    with other_run(25 * MIB) as end, memory.room("x", 25 * MIB, print):
        assert not end.is_set()


def test_without_control_groups_the_computer_counts(computer: Computer) -> None:
    (computer.proc / "self/cgroup").unlink()
    assert memory.available() == 100 * MIB


class Short:
    """A bench with a spare device of another kind, and no memory for one more."""

    def __init__(self, bench: Bench, computer: Computer, monkeypatch: pytest.MonkeyPatch) -> None:
        self.bench = bench
        made: list[Device] = []
        new = bench.new
        monkeypatch.setattr(bench, "new", lambda kind: made.append(new(kind)) or made[-1])
        monkeypatch.setattr(devices, "KINDS", {**devices.KINDS, "other": devices.KINDS["process"]})
        bench.warm("other")
        bench.wait_warm("other")
        pid = made[0].run(f"cat {made[0].runtime_home}/paradropd.pid").text.strip()
        self._spare = Path("/proc", pid)
        assert self.has_spare
        computer.free(100)
        monkeypatch.setattr(memory, "WAIT_SECONDS", 0.3)

    @property
    def has_spare(self) -> bool:
        return self._spare.exists()


@pytest.fixture
def bench(computer: Computer) -> Iterator[Bench]:
    computer.free(9000)
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        bench = Bench(Path(folder))
        yield bench
        bench.close()


@pytest.mark.parametrize("count", [1, 2])
def test_a_bench_gives_up_its_spare_device_before_it_waits(
    bench: Bench, computer: Computer, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    short = Short(bench, computer, monkeypatch)
    with pytest.raises(InfrastructureError, match=r"100 MiB .* it needs 128"):
        _ = bench.device("process") if count == 1 else bench.devices("process", count)
    assert not short.has_spare


def test_a_fork_asks_for_room_too(
    bench: Bench, computer: Computer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("XDG_CACHE_HOME")  # the image, and its golden state, are there
    device = bench.device("qemu-x86_64")
    short = Short(bench, computer, monkeypatch)
    with pytest.raises(
        InfrastructureError, match=rf"-fork-1: 100 MiB .* it needs {device.memory >> 20}"
    ):
        device.fork(1)
    assert not short.has_spare
    assert device.succeed("echo on") == "on\n"
    computer.free(9000)
    (fork,) = device.fork(1)
    assert fork.succeed("echo on") == "on\n"
