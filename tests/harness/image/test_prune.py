"""What was not used for long goes; what is in use, or no entry, stays."""

from __future__ import annotations

import fcntl
import os
import shutil
import time
from pathlib import Path

import pytest

from harness.errors import ImageError
from harness.image import cache
from harness.image.prune import Removed, prune

DAY = 86400
MIB = 1 << 20
KEY = "0123456789abcdef"
ROOT, LIBRARY, IMAGE, GOLDEN = (
    f"{sort}-{KEY}" for sort in ("root-x86_64", "library", "x86_64", "golden-x86_64")
)
SORTS = [ROOT, LIBRARY, IMAGE, GOLDEN]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "paradrop-hil" / "images"


def aged(name: str, days: float, *, mib: int = 1, links: tuple[Path, ...] = ()) -> Path:
    """An entry that was last used some days ago."""

    def build(folder: Path) -> cache.Manifest:
        if not links:
            (folder / "data").write_bytes(b"x" * (mib * MIB))
        for number, source in enumerate(links):
            os.link(source, folder / f"data{number}")
        return {}

    folder, _ = cache.entry(name, build, print)
    then = time.time() - days * DAY
    os.utime(cache.lock_of(folder), (then, then))
    return folder


def there(home: Path) -> set[str]:
    """Everything in the cache but locks."""
    return {path.name for path in home.iterdir() if path.suffix != ".lock"}


def removed(**limits: float) -> list[str]:
    found: list[Removed] = []
    pruned = prune(say=found.append, **limits)  # type: ignore[arg-type]
    assert pruned.removed == found
    return [each.name for each in found]


def test_entries_of_all_sorts_go_when_they_are_old_and_only_those(home: Path) -> None:
    for sort in SORTS:
        aged(sort, 31)
        aged(sort[:-1] + "0", 29)
    (home / "notes").mkdir()
    (home / "notes-2024").mkdir()
    os.utime(home / "notes", (0, 0))
    locks = sorted(home.glob(".*.lock"))
    assert sorted(removed(days=30)) == sorted(SORTS)
    assert there(home) == {sort[:-1] + "0" for sort in SORTS} | {"notes", "notes-2024"}
    assert sorted(home.glob(".*.lock")) == locks  # another run may wait for one of them
    assert removed(days=30) == []


def test_what_was_used_before_the_clock_was_set_back_counts_as_just_used(home: Path) -> None:
    aged(GOLDEN, -400)
    aged(IMAGE, 1)
    assert removed(days=0.5) == [IMAGE]
    aged(IMAGE, 1)
    assert removed(size=MIB * 3 // 2) == [IMAGE]
    assert there(home) == {GOLDEN}


def test_beyond_a_size_the_least_recently_used_go_and_links_count_once(home: Path) -> None:
    root = aged(ROOT, 3, mib=4)
    library = aged(LIBRARY, 4, mib=1)
    aged(IMAGE, 2, links=(root / "data", library / "data"))
    aged(GOLDEN, 5, mib=8)
    room = MIB // 2  # for the manifests
    assert removed(size=13 * MIB + room) == []
    assert removed(size=5 * MIB + room) == [GOLDEN]
    assert removed(size=4 * MIB) == [LIBRARY, ROOT, IMAGE]  # the image has what they had


def test_what_is_freed_is_what_nothing_else_links_to() -> None:
    root = aged(ROOT, 40, mib=4)
    aged(IMAGE, 2, links=(root / "data",))
    pruned = prune(days=30)
    (gone,) = pruned.removed
    assert (gone.name, gone.size >= 4 * MIB, gone.reason) == (ROOT, True, "not used for 40 days")
    assert pruned.freed < MIB
    assert 4 * MIB <= pruned.left < 5 * MIB


def test_a_sparse_file_counts_as_what_it_takes(home: Path) -> None:
    aged(GOLDEN, 1)
    with (home / GOLDEN / "ram").open("wb") as ram:
        ram.truncate(1 << 30)
    assert removed(size=2 * MIB) == []


def test_what_a_running_build_holds_stays(home: Path) -> None:
    held = aged(GOLDEN, 40)
    (home / f".{GOLDEN}.tmp-new").mkdir()
    (home / f".{ROOT}.tmp-old").mkdir()
    (home / f".{ROOT}.tmp-old" / "kernel").write_bytes(b"half")
    with cache.lock_of(held).open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        pruned = prune(days=30, size=0)
    assert [(each.name, each.reason) for each in pruned.removed] == [
        (f".{ROOT}.tmp-old", "left by a killed run")
    ]
    assert pruned.busy == [f".{GOLDEN}.tmp-new", GOLDEN]
    assert there(home) == {GOLDEN, f".{GOLDEN}.tmp-new"}
    assert removed(days=30) == [f".{GOLDEN}.tmp-new", GOLDEN]


def test_what_is_used_while_it_prunes_stays(home: Path) -> None:
    aged(ROOT, 50)
    aged(IMAGE, 40)

    def use(gone: Removed) -> None:
        aged(IMAGE, 0)

    assert [each.name for each in prune(days=30, say=use).removed] == [ROOT]
    assert there(home) == {IMAGE}


def test_an_entry_without_a_lock_is_as_old_as_its_folder(home: Path) -> None:
    folder = aged(ROOT, 0)
    cache.lock_of(folder).unlink()
    os.utime(folder, (0, 0))
    assert removed(days=30, dry_run=True) == [ROOT]
    assert removed(days=30) == [ROOT]


def test_a_dry_run_says_the_same_and_removes_nothing(home: Path) -> None:
    aged(GOLDEN, 40, mib=2)
    aged(IMAGE, 2, mib=2)
    aged(ROOT, 1, mib=1)
    (home / f".{ROOT}.tmp-old").mkdir()
    before = there(home)
    told = prune(days=30, size=2 * MIB, dry_run=True)
    assert there(home) == before
    assert [each.name for each in told.removed] == [f".{ROOT}.tmp-old", GOLDEN, IMAGE]
    assert prune(days=30, size=2 * MIB) == told
    assert there(home) == {ROOT}


def test_a_killed_prune_leaves_nothing_that_looks_whole(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*words: object, **options: object) -> None:
        raise KeyboardInterrupt

    aged(GOLDEN, 40)
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", killed)
        with pytest.raises(KeyboardInterrupt):
            prune(days=30)
    assert there(home) == {f".{GOLDEN}.tmp-gone"}
    assert removed(days=30) == [f".{GOLDEN}.tmp-gone"]
    assert there(home) == set()


def test_what_cannot_be_removed_is_a_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*words: object, **options: object) -> None:
        raise PermissionError(13, "Permission denied")

    aged(GOLDEN, 40)
    monkeypatch.setattr(shutil, "rmtree", refuse)
    with pytest.raises(ImageError, match=f"{GOLDEN} can't be removed: .*Permission denied"):
        prune(days=30)


def test_no_cache_is_nothing_to_do() -> None:
    assert removed(days=0, size=0) == []
