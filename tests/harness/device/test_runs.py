"""Runs that need the same golden state, and runs that are ended at the worst moment."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from emulated import own_cache

LIMIT = 240.0
HIL = Path(sys.executable).with_name("hil")
UP: list[str | Path] = [HIL, "up", "qemu-x86_64", "--json"]
PREPARE: list[str | Path] = [
    *(sys.executable, "-c", "from harness import bench; bench.prepare('qemu-x86_64', print)")
]
MAKES = "x86_64: booting once, for the golden state"
SUITE = """
import pytest

@pytest.mark.needs("snapshot")
def test_snapshots(device):
    while True:
        print("one more", file=open("started", "a"))
        device.snapshot()
"""


class Run:
    """A run in a process of its own, and all that it says."""

    def __init__(self, place: Place, words: list[str | Path]) -> None:
        self.said = ""
        self._process = subprocess.Popen(
            ["env", "--default-signal=INT", *words],  # children inherit that it is ignored
            cwd=place.work,
            env=place.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.pid = self._process.pid
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.said += line

    def wait_for(self, pattern: str) -> None:
        wait(lambda: re.search(pattern, self.said) is not None, lambda: self.said)

    def end(self, number: signal.Signals = signal.SIGINT) -> int:
        self._process.send_signal(number)
        return self.wait()

    def wait(self) -> int:
        status = self._process.wait(LIMIT)
        self._reader.join(LIMIT)
        assert self._process.stdout is not None
        self._process.stdout.close()
        return status


class Place:
    """A cache without golden states, and a folder for everything that runs leave.

    @param home: a short path.
    """

    def __init__(self, home: Path) -> None:
        self.work, self._scratch = home / "work", home / "tmp"
        for folder in (self.work, self._scratch):
            folder.mkdir()
        gone = {"PYTEST_ADDOPTS", "PYTEST_XDIST_WORKER", "PYTEST_CURRENT_TEST"}
        kept = {name: value for name, value in os.environ.items() if name not in gone}
        own = own_cache(home)
        self.environment = {**kept, **own, "TMPDIR": str(self._scratch), "PYTHONUNBUFFERED": "1"}
        self._images = next((home / "cache").glob("*/images"))
        self._runs: list[Run] = []

    def start(self, words: list[str | Path]) -> Run:
        self._runs.append(Run(self, words))
        return self._runs[-1]

    @property
    def states(self) -> list[Path]:
        """What there is of golden states, whole or half."""
        return [*self._images.glob("golden-*"), *self._images.glob(".golden-*.tmp-*")]

    @property
    def half(self) -> list[Path]:
        return list(self._images.glob(".golden-*.tmp-*/ram"))

    @property
    def left(self) -> list[str]:
        """Files of runs that have ended, and command lines of processes that have not."""
        found = [str(path) for path in self._scratch.iterdir()]
        for line in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                words = line.read_bytes().replace(b"\0", b" ").decode()
            except OSError:  # it has ended
                continue
            if str(self._scratch) in words:
                found.append(words)
        return found

    def close(self) -> None:
        for run in self._runs:
            if run._process.poll() is None:
                run.end(signal.SIGKILL)


def wait(condition: object, shown: object = str) -> None:
    deadline = time.monotonic() + LIMIT
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline, shown()  # type: ignore[operator]
        time.sleep(0.02)


@pytest.fixture
def place() -> Iterator[Place]:
    home = Path(tempfile.mkdtemp(prefix="r-"))
    made = Place(home)
    yield made
    made.close()
    shutil.rmtree(home)


def test_of_several_runs_one_makes_it_and_the_others_wait_or_are_ended(place: Place) -> None:
    first = place.start(UP)
    first.wait_for(MAKES)
    second, third = place.start(UP), place.start(UP)
    for other in (second, third):
        other.wait_for(rf"golden-x86_64-\S+ is being .* by another run \(pid {first.pid}, .*hil up")
    assert third.end() == 130
    for run in (first, second):
        run.wait_for('"pdid"')
        assert run.end() == 130
    assert (first.said + second.said + third.said).count(MAKES) == 1
    assert place.left == []
    (state,) = place.states
    assert (state / "manifest.json").exists()


def test_ctrl_c_while_it_is_made_leaves_nothing(place: Place) -> None:
    up = place.start(UP)
    wait(lambda: place.half, lambda: up.said)
    time.sleep(1)  # anywhere in the boot
    assert up.end() == 130
    assert "Traceback" not in up.said
    assert (place.left, place.states) == ([], [])
    (place.work / "test_any.py").write_text("def test_any(device): pass\n")
    words = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--device", "qemu-x86_64"]
    suite = place.start([*words])
    suite.wait_for(MAKES)
    assert suite.end() == 2
    assert (place.left, place.states) == ([], [])
    again = place.start(PREPARE)
    assert again.wait() == 0, again.said
    assert len(place.states) == 1


def test_a_run_that_is_killed_while_it_makes_it_costs_the_next_nothing(place: Place) -> None:
    killed = place.start(PREPARE)
    wait(lambda: place.half, lambda: killed.said)
    assert killed.end(signal.SIGKILL) == -9
    again = place.start(PREPARE)
    assert again.wait() == 0, again.said
    assert again.said == f"{MAKES}\n"
    (state,) = place.states
    assert (state / "manifest.json").exists()
    wait(lambda: not [words for words in place.left if "qemu-system" in words])


def test_ctrl_c_while_a_snapshot_is_saved_leaves_nothing(place: Place) -> None:
    (place.work / "test_any.py").write_text(SUITE)
    words = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--device", "qemu-x86_64"]
    suite = place.start([*words])
    started = place.work / "started"
    wait(lambda: started.exists() and started.read_text().count("one") > 2, lambda: suite.said)
    assert suite.end() == 2
    assert place.left == []
    (state,) = place.states
    assert (state / "manifest.json").exists()


MOUNTED = """
import os, subprocess, sys
from pathlib import Path
from harness import bench
from harness.errors import HarnessError
from harness.image import cache

real, own = Path(sys.argv[1]), cache.folder()
own.mkdir(parents=True)
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=600m", "tmpfs", own], check=True)
for entry in real.iterdir():
    if entry.is_dir() and not entry.name.startswith((".", "golden-")):
        (own / entry.name).symlink_to(entry)

def fill(line):
    print(line)
    if "booting once" in line:
        with (own / "filler").open("wb") as file:
            file.write(bytes(560 << 20))

try:
    bench.prepare("qemu-x86_64", fill)
except HarnessError as error:
    print(error)
    print(type(error).__name__)
print([path.name for path in own.iterdir() if "golden" in path.name and path.is_dir()])
(own / "filler").unlink()
bench.prepare("qemu-x86_64", print)
"""

may_mount = subprocess.run(["unshare", "--mount", "true"], capture_output=True).returncode == 0


@pytest.mark.skipif(not may_mount, reason="needs a file system of its own: root, and unshare(1)")
def test_a_disk_that_others_fill_while_it_boots_is_named(place: Place, tmp_path: Path) -> None:
    """Its RAM is a file: it is the guest's own writing that finds no room."""
    real = place._images
    words = [sys.executable, "-c", MOUNTED, real]
    place.environment["XDG_CACHE_HOME"] = str(tmp_path)
    run = place.start(["unshare", "--mount", *words])
    assert run.wait() == 0, run.said
    assert "the disk of its RAM is full: make room, or point XDG_CACHE_HOME elsewhere" in run.said
    assert "\nInfrastructureError\n[]\n" in run.said
    assert run.said.count(MAKES) == 2
    assert place.left == []
