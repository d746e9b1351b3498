"""Keys of what is kept in the cache: a hash of everything that a thing is made from.

A key covers code by whole packages, and other inputs by whole folders, so that nobody has to list
files. Keys are computed anew each time: it takes some milliseconds.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path

LEFTOVERS = ("__pycache__", "*.pyc", "*~", ".*.sw?", ".#*", "#*#", "*.bak", "*.orig")
"""Names of what Python and editors leave in a folder. The wheel leaves them out, too: see
`tool.hatch.build` in `pyproject.toml`."""

_HARNESS = Path(__file__).parents[1]

IMAGE, DEVICE = _HARNESS / "image", _HARNESS / "device"
"""The packages whose code makes what is cached, with their data."""


def sha256(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def files(folder: Path) -> list[Path]:
    """All files and links in a folder and below, but for `LEFTOVERS`, sorted by their names."""
    return sorted(_walk(folder), key=lambda path: os.fsencode(path.relative_to(folder).as_posix()))


def tree(*paths: Path) -> str:
    """A hash of files and of whole folders.

    Of a folder, the names below it count; of each file, its content and whether it can be executed;
    of a link, also where it leads. Where the folder is, who owns it, other permissions and times do
    not count. A path that does not exist counts as such.
    """
    digest = hashlib.sha256()
    for path in paths:
        inside = files(path) if path.is_dir() else [path]
        digest.update(f"{len(inside)}\n".encode())
        for file in inside:
            name = os.fsencode(file.relative_to(path).as_posix())
            digest.update(name + b"\0" + os.fsencode(_content(file)) + b"\0")
    return digest.hexdigest()


def key(**facts: object) -> str:
    """The key of a thing that is made from `facts`: values that can be written as JSON, by name."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def code(*packages: Path) -> str:
    """A hash of the code in some packages, and of all other files there.

    It changes at once when a file does. A process that runs old code, because it was started before
    an edit, shares its key neither with those that run before the edit nor with later ones: what it
    makes may be made from both.
    """
    return key(loaded=[_LOADED[package] for package in packages], now=tree(*packages))


def _walk(folder: Path) -> Iterator[Path]:
    for parent, folders, names in os.walk(folder):
        here = Path(parent)
        linked = [name for name in folders if (here / name).is_symlink()]  # which are not entered
        folders[:] = [name for name in folders if not _left_over(name)]
        for name in (*names, *linked):
            if not _left_over(name):
                yield here / name


def _left_over(name: str) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in LEFTOVERS)


def _content(path: Path) -> str:
    leads_to = f"-> {path.readlink()}" if path.is_symlink() else ""
    try:
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode):
            return f"{leads_to} no file"
        return f"{leads_to} {'x' if mode & stat.S_IXUSR else '-'} {sha256(path)}"
    except FileNotFoundError:  # a link that leads nowhere, or a file that an editor has replaced
        return f"{leads_to} missing"


_LOADED = {package: tree(package) for package in (IMAGE, DEVICE)}
