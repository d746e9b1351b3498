"""Evidence is saved under names that can't collide, and what can't be saved costs nothing else."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.errors import UsageError
from harness.evidence import keeping


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 512 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("nothing can be mounted here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def fill(folder: Path) -> None:
    with (folder / "filler").open("wb", buffering=0) as file, pytest.raises(OSError):
        while True:
            file.write(bytes(4096))


NAMES = [
    "suite/test_a.py::test_x[process]",
    "other/test_a.py::test_x[process]",
    "suite/test_a.py::test_x[PROCESS]",
    "suite/test_a.py::TestOne::test_x[process]",
    "suite/test_a.py::TestTwo::test_x[process]",
    "suite/test_a.py::test_x[process-a/b]",
    "suite/test_a.py::test_x[process-a-b]",
    "suite/test_a.py::test_x[process-a::b]",
    "suite/test_a.py::test_x[process-]",
    "suite/test_a.py::test_x[process-\udce9]",
    "suite/test_a.py::test_x[process-ü]",
    "suite/test_ü.py::test_x[process]",
    "suite/test_a.py::test_x[process-..]",
    "suite/test_a.py::test_" + "x" * 400,
    "suite/test_a.py::test_" + "x" * 401,
    "..",
    "",
]


def test_folders_of_evidence_have_short_names_of_their_own() -> None:
    names = [keeping.folder_name(name) for name in NAMES]
    assert len({name.lower() for name in names}) == len(NAMES)
    assert names == [keeping.folder_name(name) for name in NAMES]
    for name in names:
        assert len(os.fsencode(name)) <= 64
        assert name.isascii()
        assert "/" not in name
        assert not name.startswith(".")
    assert names[0].startswith("test_x-process-")


def test_titles_that_are_no_file_names(tmp_path: Path) -> None:
    titles = ["a/b", "a b", "A B", "../../up", "", "x" * 400, "ü", "\udce9", "\x00", "a\nb", "."]
    saved = keeping.keep(tmp_path, "test", {title: f"text of {title}" for title in titles})
    paths = [path for _, path, _ in saved]
    assert len({path.lower() for path in paths}) == len(titles)
    for (_, path, tail), title in zip(saved, titles, strict=True):
        file = tmp_path / path
        assert file.resolve().is_relative_to(tmp_path / "evidence")
        assert file.read_text() == tail
        assert tail == f"text of {title}".replace("\udce9", "\\udce9")


def test_files_keep_their_ending(tmp_path: Path) -> None:
    names = ["one.log", "two.tar.gz", "three", "four. x", "five.LOG"]
    for name in names:
        (tmp_path / name).write_text(name)
    found = {f"title {number}": tmp_path / name for number, name in enumerate(names)}
    saved = keeping.keep(tmp_path / "report", "test", found)
    assert [Path(path).suffix for _, path, _ in saved] == [".log", ".gz", "", "", ".LOG"]
    for (_, path, tail), name in zip(saved, names, strict=True):
        assert (tmp_path / "report" / path).read_text() == name
        assert tail == f"{len(name)} bytes"


def test_what_can_not_be_kept_is_said_and_costs_nothing_else(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    found: dict[str, str | Path] = {
        "vanished": tmp_path / "vanished",
        "folder": tmp_path,
        "pipe": tmp_path / "pipe",
        "endless": Path("/dev/zero"),
        "text": "there",
    }
    saved = keeping.keep(tmp_path / "report", "test", found)
    assert [title for title, _, _ in saved] == list(found)
    for _, path, tail in saved[:-1]:
        assert path == ""
        assert tail.startswith("not kept: ")
    assert (tmp_path / "report" / saved[-1][1]).read_text() == "there"
    assert len([file for file in (tmp_path / "report").rglob("*") if file.is_file()]) == 1


def test_a_full_disk_keeps_what_fits_and_the_ends_of_the_rest(
    small_disk: Path, tmp_path: Path
) -> None:
    (tmp_path / "large").write_bytes(bytes(1 << 20))
    found = {"large": tmp_path / "large", "long": "x" * (1 << 20) + "\nend", "short": "short"}
    large, long, short = keeping.keep(small_disk, "test", found)
    assert large[1] == long[1] == ""
    assert large[2].startswith("not kept: ")
    assert long[2].startswith("not kept: ")
    assert long[2].endswith("end")
    assert (small_disk / short[1]).read_text() == "short"
    fill(small_disk)
    ((_, path, tail),) = keeping.keep(small_disk, "other", {"last": "words"})
    assert path == ""
    assert "not kept" in tail
    assert "words" in tail


def test_evidence_leaves_room_for_the_results(small_disk: Path) -> None:
    for number in range(200):
        keeping.keep(small_disk, f"test_{number}", {"text": "x" * 8000})
    (small_disk / "result.json").write_text("x" * 40_000)


def test_a_folder_that_was_removed_is_made_again(tmp_path: Path) -> None:
    ((_, path, _),) = keeping.keep(tmp_path / "gone" / "report", "test", {"text": "there"})
    assert (tmp_path / "gone" / "report" / path).read_text() == "there"


def test_bad_folders(tmp_path: Path, small_disk: Path) -> None:
    (tmp_path / "file").write_text("mine")
    (tmp_path / "report" / "junit.xml").mkdir(parents=True)
    read_only = tmp_path / "read-only"
    read_only.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", str(read_only)]
    subprocess.run(mount, check=True)
    try:
        fill(small_disk)
        bad = [
            tmp_path / "file",
            tmp_path / "file" / "below",
            tmp_path / "report",
            tmp_path / ("x" * 300),
            tmp_path / "/".join(["x" * 200] * 20),
            tmp_path / "nul\0",
            Path("/proc/report"),
            read_only,
            read_only / "below",
            small_disk,
        ]
        for folder in bad:
            with pytest.raises(UsageError, match="no report can be written") as raised:
                keeping.check(folder)
            assert "\n" not in str(raised.value)
            assert len(str(raised.value)) < 500
    finally:
        subprocess.run(["umount", str(read_only)], check=True)
    assert (tmp_path / "file").read_text() == "mine"
    for name in ("", " "):
        with pytest.raises(UsageError, match="empty"):
            keeping.given(name)


def test_a_check_leaves_only_the_folder(tmp_path: Path) -> None:
    keeping.check(tmp_path / "new" / "report")
    assert list((tmp_path / "new" / "report").iterdir()) == []


@pytest.mark.parametrize("kind", ["folder", "file", "link", "dangling"])
def test_an_earlier_report_is_removed_and_nothing_else(tmp_path: Path, kind: str) -> None:
    report, elsewhere = tmp_path / "report", tmp_path / "elsewhere"
    report.mkdir()
    (report / "mine").write_text("mine")
    (report / "report.html").write_text("old")
    elsewhere.mkdir()
    (elsewhere / "precious").write_text("precious")
    evidence = report / "evidence"
    if kind == "folder":
        (evidence / "old").mkdir(parents=True)
    elif kind == "file":
        evidence.write_text("old")
    else:
        evidence.symlink_to(elsewhere if kind == "link" else "nowhere")
    keeping.clear(report)
    assert [path.name for path in report.iterdir()] == ["mine"]
    assert (elsewhere / "precious").read_text() == "precious"
