"""Pages of the log: all of it, once, in order, in pieces that fit a message."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from paradrop.daemon import logpages

NOON = 1_700_000_000.0  # 2023-11-14


def write(path: Path, times: range, **more: Any) -> None:
    with path.open("a") as stream:
        for number in times:
            stream.write(json.dumps({"timestamp": NOON + number, "n": number, **more}) + "\n")


def collect(folder: Path, since: float = 0.0, limit: int = 500) -> list[list[int]]:
    pages = []
    cursor = None
    while True:
        page = logpages.read(str(folder), since, cursor, limit)
        pages.append([record["n"] for record in page["records"]])
        cursor = page["cursor"]
        if cursor is None:
            return pages


def test_pages_follow_each_other(tmp_path: Path) -> None:
    write(tmp_path / "log.2023_11_14", range(3))
    write(tmp_path / "log", range(3, 7))
    assert collect(tmp_path, limit=2) == [[0, 1], [2, 3], [4, 5], [6]]


def test_only_later_records_are_given(tmp_path: Path) -> None:
    write(tmp_path / "log", range(5))
    assert collect(tmp_path, NOON + 2) == [[3, 4]]


def test_files_that_cannot_hold_a_later_record_are_not_opened(tmp_path: Path) -> None:
    write(tmp_path / "log.2023_11_10", range(1))
    (tmp_path / "log.2023_11_10").chmod(0)
    (tmp_path / "log.2023_11_10").unlink()
    (tmp_path / "log.2023_11_10").symlink_to(tmp_path)  # opened, it would be an error
    write(tmp_path / "log", range(2))
    assert collect(tmp_path, NOON - 1) == [[0, 1]]


def test_a_page_goes_on_after_midnight(tmp_path: Path) -> None:
    write(tmp_path / "log", range(4))
    page = logpages.read(str(tmp_path), 0.0, None, 2)
    (tmp_path / "log").rename(tmp_path / "log.2023_11_14")
    write(tmp_path / "log", range(4, 6))
    rest = logpages.read(str(tmp_path), 0.0, page["cursor"], 9)
    assert [record["n"] for record in rest["records"]] == [2, 3, 4, 5]


def test_a_page_goes_on_where_its_file_was_removed(tmp_path: Path) -> None:
    write(tmp_path / "log.2023_11_14", range(4))
    write(tmp_path / "log", range(2, 6))
    page = logpages.read(str(tmp_path), 0.0, None, 2)
    (tmp_path / "log.2023_11_14").unlink()
    rest = logpages.read(str(tmp_path), 0.0, page["cursor"], 9)
    assert [record["n"] for record in rest["records"]] == [2, 3, 4, 5]


def test_torn_and_foreign_lines_cost_themselves_alone(tmp_path: Path) -> None:
    (tmp_path / "log").write_text('{"timest\n[]\n{"timestamp": "x"}\n')
    write(tmp_path / "log", range(2))
    with (tmp_path / "log").open("a") as stream:
        stream.write('{"timestamp": 1700000009, "n": 9}')  # its end is still to come
    assert collect(tmp_path) == [[0, 1]]


def test_pages_fit_a_message(tmp_path: Path) -> None:
    write(tmp_path / "log", range(10), text="x" * 100_000)
    write(tmp_path / "log", range(10, 11), text="x" * 400_000)
    assert collect(tmp_path) == [[0, 1], [2, 3], [4, 5], [6, 7], [8, 9], [10]]
    write(tmp_path / "log.2023_11_14", range(-1200, 0))
    assert [len(page) for page in collect(tmp_path, limit=10_000)[:2]] == [1000, 202]


@pytest.mark.parametrize("cursor", ["x", "", 7, "bm9uZQ=="])
def test_a_cursor_that_is_none_is_refused(tmp_path: Path, cursor: Any) -> None:
    with pytest.raises(ValueError, match="cursor"):
        logpages.read(str(tmp_path), 0.0, cursor, 5)


@pytest.mark.parametrize("since", [float("nan"), 10**400, "x", None])
def test_a_time_that_is_none_is_refused(tmp_path: Path, since: Any) -> None:
    with pytest.raises((ValueError, TypeError)):
        logpages.read(str(tmp_path), since, None, 5)


def test_damage_that_is_longer_than_any_line_hides_nothing_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logpages, "LINE_LIMIT", 1000)
    write(tmp_path / "log", range(1))
    with (tmp_path / "log").open("a") as stream:
        stream.write("x" * 2500 + "\n" + "y" * 1000 + "\n" + "z" * 999 + "\n")
    write(tmp_path / "log", range(1, 3))
    assert collect(tmp_path, limit=1) == [[0], [1], [2]]


@pytest.mark.parametrize("limit", [0, -1, "5", True])
def test_a_limit_that_is_none_is_refused(tmp_path: Path, limit: Any) -> None:
    with pytest.raises(ValueError, match="limit"):
        logpages.read(str(tmp_path), 0.0, None, limit)


def test_a_file_that_got_the_inode_of_one_that_was_removed_is_another(tmp_path: Path) -> None:
    write(tmp_path / "log", range(4), text="old")
    page = logpages.read(str(tmp_path), 0.0, None, 2)
    inode = (tmp_path / "log").stat().st_ino
    with (tmp_path / "log").open("w"):
        pass
    write(tmp_path / "log", range(2, 9), text="new")
    assert (tmp_path / "log").stat().st_ino == inode
    rest = logpages.read(str(tmp_path), 0.0, page["cursor"], 9)
    assert [record["n"] for record in rest["records"]] == [2, 3, 4, 5, 6, 7, 8]


def test_a_file_that_goes_while_it_is_looked_for_is_gone(tmp_path: Path) -> None:
    write(tmp_path / "log", range(4))
    page = logpages.read(str(tmp_path), 0.0, None, 2)
    cursor = logpages._Cursor.of(page["cursor"])
    assert cursor.fits(tmp_path / "log")
    assert not cursor.fits(tmp_path / "log.2023_11_14")


def test_a_record_that_is_not_later_is_not_given_though_it_looks_so(tmp_path: Path) -> None:
    write(tmp_path / "log", range(2), extra={"timestamp": NOON * 2})
    assert collect(tmp_path, NOON) == [[1]]


def test_a_file_that_is_removed_meanwhile_costs_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "log.2023_11_13", range(1))
    write(tmp_path / "log", range(1, 3))
    files = logpages._files

    def remove(folder: Path, since: float) -> Any:
        found = files(folder, since)
        (tmp_path / "log.2023_11_13").unlink()
        return found

    monkeypatch.setattr(logpages, "_files", remove)
    assert collect(tmp_path) == [[1, 2]]


def test_a_file_that_cannot_be_read_hides_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "log.2023_11_13", range(1))
    write(tmp_path / "log.2023_11_14", range(1, 2))
    write(tmp_path / "log", range(2, 4))
    opened = Path.open

    def refused(path: Path, *args: Any, **kwargs: Any) -> Any:  # root may read every file
        if path.name == "log.2023_11_14":
            raise PermissionError(13, "Permission denied")
        return opened(path, *args, **kwargs)

    monkeypatch.setattr(Path, "open", refused)
    assert collect(tmp_path) == [[0, 2, 3]]


@pytest.mark.parametrize("offset", [-1, 2**63 - 1, 10**30])
def test_a_cursor_far_outside_of_any_file_is_refused(tmp_path: Path, offset: int) -> None:
    write(tmp_path / "log", range(2))
    inode = (tmp_path / "log").stat().st_ino
    cursor = str(logpages._Cursor(inode, offset, 0, 0.0))
    with pytest.raises(ValueError, match="is no cursor"):
        logpages.read(str(tmp_path), 0.0, cursor, 5)
