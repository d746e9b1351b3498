"""The folder of a report: checked before a run, emptied, and filled with evidence during it."""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from harness.errors import UsageError
from harness.evidence.fitting import digest, shortened, text

EVIDENCE = "evidence"
RESULT, JUNIT, PAGE = "result.json", "junit.xml", "report.html"

LONGEST_PATH = 4095
"""Bytes that Linux takes as a path."""

NAME_BYTES = 48
"""Of the readable part of a name. A whole name stays well below the 143 that some file systems
allow."""

BELOW = len(f"/{EVIDENCE}/") + 2 * (NAME_BYTES + 32)
"""Bytes that the path of a file of evidence may need below the report's folder."""

TAIL_LINES = 40
TAIL_CHARACTERS = 20_000

RESERVE = 1 << 20
"""Bytes of the disk that evidence leaves to the results (on a small disk, an eighth of it)."""

PROBE_BYTES = 4096


def given(name: str | Path) -> Path:
    """The folder that a user has named, also if a test goes to another folder meanwhile.

    @raise UsageError: no name.
    """
    if not os.fspath(name).strip():
        raise UsageError("the name of the report's folder is empty", hint="--report FOLDER")
    return Path(name).absolute()


def check(folder: Path) -> None:
    """Make the folder of a report if it is missing, and see whether files can be written there.

    @raise UsageError: they can't.
    """
    name = os.fspath(folder)
    try:
        if len(os.fsencode(folder.absolute())) + BELOW > LONGEST_PATH:
            raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG))
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(bytes(PROBE_BYTES))
            probe.flush()
            os.fsync(probe.fileno())
        for each in (RESULT, JUNIT, PAGE):
            if (folder / each).is_dir() and not (folder / each).is_symlink():
                raise IsADirectoryError(errno.EISDIR, f"{each} in it is a folder")
    except (OSError, ValueError) as error:
        raise UsageError(
            f"no report can be written to {shortened(text(name), 200)!r}: {_why(error)}",
            hint="name another folder with --report",
        ) from error


def clear(folder: Path) -> None:
    """Remove the report of an earlier run: what is there afterwards is of this run.

    @raise UsageError: it can't be removed.
    """
    for name in (RESULT, JUNIT, PAGE, EVIDENCE):
        path = folder / name
        try:
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
        except OSError as error:
            raise UsageError(
                f"the report of an earlier run can't be removed: {path}: {_why(error)}",
                hint="name another folder with --report",
            ) from error


def folder_name(test: str) -> str:
    """The name of the folder for a test's evidence: readable, short, and the same in every run.

    @param test: pytest's name of it, with the device.
    """
    return f"{_slug(test.rpartition('::')[2])}-{digest(test)}"


def keep(folder: Path, test: str, found: Mapping[str, str | Path]) -> list[list[str]]:
    """Save what was found out about a test.

    A file that can't be saved costs no other: it is listed without a path, and its tail says why.

    @param folder: of the report.
    @param test: pytest's name of it, with the device.
    @return: name, path relative to `folder`, and tail of each file.
    """
    where = _own_folder(folder, folder_name(test))
    saved = []
    taken: set[str] = set()
    for title, content in found.items():
        suffix = content.suffix if isinstance(content, Path) else ".txt"
        name = _unused(_slug(title), suffix, taken)
        try:
            (folder / where).mkdir(parents=True, exist_ok=True)
            path = (where / name).as_posix()
            if isinstance(content, Path):
                tail = f"{_copy(content, folder / path)} bytes"
            else:
                _write(text(content), folder / path)
                tail = _tail(content)
        except (OSError, ValueError) as error:
            path, tail = "", f"not kept: {_why(error)}"
            if isinstance(content, str) and content:
                tail += f"; its last lines were:\n{_tail(content)}"
        saved.append([text(title), path, tail])
    return saved


def _own_folder(folder: Path, name: str) -> Path:
    """A folder below the report's that no other attempt of the same test has, in any process."""
    for number in itertools.count(1):
        where = Path(EVIDENCE) / (name if number == 1 else f"{name}-{number}")
        try:
            (folder / EVIDENCE).mkdir(parents=True, exist_ok=True)
            (folder / where).mkdir()
        except FileExistsError:
            continue
        except OSError:  # which each file then says
            pass
        return where
    raise AssertionError


def _copy(source: Path, target: Path) -> int:
    """@return: the size."""
    found = source.stat()
    if not stat.S_ISREG(found.st_mode):
        raise OSError(errno.EINVAL, f"{source} is no file")
    _leave_room(target.parent, found.st_size)
    with _whole_or_not(target), source.open("rb") as original, target.open("wb") as copy:
        shutil.copyfileobj(original, copy)
        return copy.tell()


def _write(content: str, target: Path) -> None:
    data = content.encode()
    _leave_room(target.parent, len(data))
    with _whole_or_not(target):
        target.write_bytes(data)


@contextlib.contextmanager
def _whole_or_not(target: Path) -> Iterator[None]:
    try:
        yield
    except BaseException:
        with contextlib.suppress(OSError):
            target.unlink(missing_ok=True)
        raise


def _leave_room(folder: Path, size: int) -> None:
    disk = shutil.disk_usage(folder)
    if disk.free - size < min(RESERVE, disk.total // 8):
        raise OSError(errno.ENOSPC, "the disk is full, or would be")


def _tail(content: str) -> str:
    return shortened("\n".join(text(content).splitlines()[-TAIL_LINES:]), TAIL_CHARACTERS)


def _slug(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", name)[:NAME_BYTES].strip("-.") or "unnamed"


def _unused(stem: str, suffix: str, taken: set[str]) -> str:
    """A name that no other file has, on a file system that ignores case too."""
    if not re.fullmatch(r"\.[A-Za-z0-9]{1,12}", suffix):
        suffix = ""
    name, number = f"{stem}{suffix}", 1
    while name.lower() in taken:
        number += 1
        name = f"{stem}-{number}{suffix}"
    taken.add(name.lower())
    return name


def _why(error: Exception) -> str:
    return (isinstance(error, OSError) and error.strerror) or str(error)
