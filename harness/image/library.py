"""The library under test, as the layer that lies over the root: what `pip install` would place.

From the wheel that a release would ship; of its packages only `paradrop`, for the harness has
no business on a router. The layer is the same for every architecture.
"""

from __future__ import annotations

import configparser
import shutil
from collections.abc import Callable
from pathlib import Path

from harness.image import digest, python, squashfs
from harness.image.digest import sha256

_HARNESS = "harness"
_LAUNCHER = """\
#!/usr/bin/python3
import sys

from {module} import {function}

sys.exit({function}())
"""


def sources(project: Path) -> str:
    """A hash of everything in a checkout that the layer is made from."""
    names = ("pyproject.toml", "README.md", "LICENSE", ".gitignore", "paradrop")
    return digest.tree(*(project / name for name in names))


def build(project: Path, folder: Path, progress: Callable[[str], None]) -> dict[str, str]:
    """Make `library.squashfs` in a folder, from the checkout of a project.

    @return: name, version and file name of the wheel, and its sha256.
    @raise ImageError: the wheel can't be built, or its code does not compile.
    """
    progress("building the library's wheel")
    work = folder / "work"
    root = work / "root"
    root.mkdir(parents=True)
    wheel = python.wheel_of(project, work)
    name, version = python.unpack(wheel, root, without=(_HARNESS,))
    _launchers(root)
    python.compile_tree(root, [root / python.PACKAGES])
    squashfs.pack(root, folder / "library.squashfs")
    facts = {"name": name, "version": version, "wheel": wheel.name, "sha256": sha256(wheel)}
    shutil.rmtree(work)
    return facts


def _launchers(root: Path) -> None:
    entry_points = configparser.ConfigParser(delimiters="=")
    entry_points.optionxform = str  # type: ignore[assignment, method-assign]
    for file in (root / python.PACKAGES).glob("*.dist-info/entry_points.txt"):
        entry_points.read(file, encoding="utf-8")
    for command, target in entry_points["console_scripts"].items():
        module, function = target.split(":")
        if module.split(".")[0] == _HARNESS:
            continue
        launcher = root / "usr/bin" / command
        launcher.parent.mkdir(parents=True, exist_ok=True)
        launcher.write_text(_LAUNCHER.format(module=module, function=function), encoding="utf-8")
        launcher.chmod(0o755)
