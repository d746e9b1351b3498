"""A cache entry is whole or not there, and is built once."""

from __future__ import annotations

import fcntl
import json
import os
import pwd
import re
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.errors import ImageError
from harness.image import cache

Build = Callable[[Path], cache.Manifest]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "paradrop-hil" / "images"


@pytest.mark.parametrize("own", ["/home/of/mine", ""])
@pytest.mark.parametrize("set_to", ["", " ", "relative", "./here", "~/cache"])
def test_without_a_cache_of_an_absolute_path_the_one_of_the_home_is_used(
    set_to: str, own: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", set_to)
    monkeypatch.setenv("HOME", own)
    home = own or pwd.getpwuid(os.getuid()).pw_dir
    assert cache.folder() == Path(home, ".cache/paradrop-hil/images")


class Recipe:
    """Builds an entry and counts how often."""

    def __init__(self) -> None:
        self.builds = 0
        self.lines: list[str] = []

    def __call__(self, folder: Path) -> cache.Manifest:
        self.builds += 1
        (folder / "kernel").write_bytes(b"kernel")
        (folder / "root").write_bytes(b"root")
        return {"version": self.builds}

    def entry(self, *, rebuild: bool = False) -> tuple[Path, cache.Manifest]:
        return cache.entry("x-1", self, self.lines.append, rebuild=rebuild)


def test_it_is_built_once_and_found_after(home: Path) -> None:
    recipe = Recipe()
    first = recipe.entry()
    assert recipe.entry() == first
    assert recipe.builds == 1
    folder, manifest = first
    assert folder == home / "x-1"
    assert manifest["version"] == 1
    assert manifest["files"]["kernel"]["size"] == 6
    assert json.loads((folder / cache.MANIFEST).read_text()) == manifest


def test_rebuilding_is_asked_for() -> None:
    recipe = Recipe()
    recipe.entry()
    assert recipe.entry(rebuild=True)[1]["version"] == 2


def test_an_entry_is_used_when_it_is_handed_out(home: Path) -> None:
    lock = home / ".x-1.lock"

    def slow(folder: Path) -> cache.Manifest:
        os.utime(lock, (0, 0))
        return {}

    began = time.time() - 1
    folder, _ = cache.entry("x-1", slow, print)
    assert cache.used(folder) / 1e9 >= began
    os.utime(lock, (0, 0))
    cache.entry("x-1", slow, print)
    assert lock.stat().st_mtime >= began


def test_an_entry_that_fails_is_not_used(home: Path) -> None:
    Recipe().entry()
    os.utime(home / ".x-1.lock", (0, 0))

    def fail(folder: Path) -> cache.Manifest:
        raise ImageError("no mirror")

    with pytest.raises(ImageError):
        cache.entry("x-1", fail, print, rebuild=True)
    assert cache.used(home / "x-1") == 0


def cut(folder: Path) -> None:
    (folder / "root").write_bytes(b"ro")


def flip(folder: Path) -> None:
    (folder / "root").write_bytes(b"rooT")


def lose(folder: Path) -> None:
    (folder / "kernel").unlink()


def forget(folder: Path) -> None:
    (folder / cache.MANIFEST).unlink()


def scribble(folder: Path) -> None:
    (folder / cache.MANIFEST).write_text('{"files": [')


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (cut, "root has changed"),
        (flip, "root has changed"),
        (lose, "kernel is gone"),
        (forget, "manifest.json is gone"),
        (scribble, "manifest.json can't be read"),
    ],
)
def test_a_damaged_entry_is_built_again_and_said(
    damage: Callable[[Path], None], reason: str
) -> None:
    recipe = Recipe()
    folder, _ = recipe.entry()
    damage(folder)
    assert recipe.lines == []
    assert recipe.entry()[1]["version"] == 2
    assert recipe.lines == [f"x-1 in the cache is damaged ({reason}): building it again"]
    assert (folder / "root").read_bytes() == b"root"


def test_a_build_that_fails_leaves_nothing(home: Path) -> None:
    def fail(folder: Path) -> cache.Manifest:
        (folder / "kernel").write_bytes(b"half")
        raise ImageError("no mirror")

    with pytest.raises(ImageError, match="no mirror"):
        cache.entry("x-1", fail, print)
    assert [path.name for path in home.iterdir()] == [".x-1.lock"]


def test_what_a_killed_build_left_is_cleared(home: Path) -> None:
    leftover = home / ".x-1.tmp-abc"
    leftover.mkdir(parents=True)
    (leftover / "kernel").write_bytes(b"half")
    Recipe().entry()
    assert not leftover.exists()


def test_a_full_disk_is_a_clear_error() -> None:
    def fill(folder: Path) -> cache.Manifest:
        Path("/dev/full").write_bytes(b"x" * 100_000)
        return {}

    with pytest.raises(ImageError, match=r"No space left on device .*make room"):
        cache.entry("x-1", fill, print)


def test_a_folder_that_cannot_be_made_is_a_clear_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(ImageError, match="x-1 can't be built"):
        Recipe().entry()


def test_of_two_runs_the_second_waits_and_finds_what_the_first_built() -> None:
    building, go_on, waiting = threading.Event(), threading.Event(), threading.Event()
    builds: list[str] = []
    found: list[Path] = []
    said: list[str] = []

    def slow(folder: Path) -> cache.Manifest:
        builds.append("first")
        (folder / "kernel").write_bytes(b"kernel")
        building.set()
        assert go_on.wait(20)
        return {}

    def never(folder: Path) -> cache.Manifest:
        builds.append("second")
        return {}

    def say(text: str) -> None:
        said.append(text)
        waiting.set()

    def run(build: Build, progress: Callable[[str], None]) -> threading.Thread:
        thread = threading.Thread(
            target=lambda: found.append(cache.entry("x-1", build, progress)[0])
        )
        thread.start()
        return thread

    first = run(slow, print)
    assert building.wait(20)
    second = run(never, say)
    assert waiting.wait(20)
    go_on.set()
    first.join(20)
    second.join(20)
    assert builds == ["first"]
    assert len(found) == 2
    (line,) = said
    us = re.escape(f"pid {os.getpid()}, ")
    assert re.fullmatch(
        rf"x-1 is being built or checked by another run \({us}.+\): waiting .+", line
    )


def test_a_run_that_nobody_can_name_is_waited_for_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    said: list[str] = []

    def say(text: str) -> None:
        said.append(text)
        lock.close()

    folder, _ = Recipe().entry()
    lock = cache.lock_of(folder).open()
    fcntl.flock(lock, fcntl.LOCK_EX)
    monkeypatch.setattr(cache, "LOCKS", Path("/nowhere"))
    cache.entry("x-1", Recipe(), say)
    assert said == ["x-1 is being built or checked by another run: waiting for it"]
