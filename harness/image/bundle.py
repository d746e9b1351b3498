"""The library under test and all it needs, for a Python on a system that is not built here.

One archive of what a `site-packages` folder would hold: the wheels of `requirements/device.lock`
for the architecture, the C library and the version of Python there, and the wheel of the library.
"""

from __future__ import annotations

import dataclasses
import logging
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

from harness.errors import ImageError
from harness.image import cache, digest, library, python, root
from harness.image.architecture import Architecture
from harness.image.build import inputs

FOLDER = Path("opt/paradrop/lib")
"""Where it is unpacked, below the root."""

OLDEST_GLIBC = (2, 17)
"""What the wheels with the oldest tag that is used run on."""


def make(
    arch: str,
    version: tuple[int, int],
    glibc: tuple[int, int],
    progress: Callable[[str], None] | None = None,
) -> Path:
    """A zip file of the packages, from the cache where nothing has changed.

    @param arch: a name in `ARCHITECTURES`.
    @param version: of Python; byte code is in the archive if that is the routers' own.
    @param glibc: version of the GNU C library.
    @param progress: called with a line at each step; default: the log `harness`.
    @raise ImageError: there is no wheel for it, or a tool, the network or the disk failed.
    """
    architecture, checkout, lock = inputs(arch, None)
    architecture = fitting(architecture, glibc)
    if not architecture.platforms:
        raise ImageError(
            f"there are no wheels for {arch} with glibc {_text(glibc)}",
            hint="bring an image that has the library, and say `library: installed`",
        )
    say = progress or logging.getLogger("harness").info

    def fill(folder: Path) -> cache.Manifest:
        say(f"gathering the library and its wheels for {arch} and Python {_text(version)}")
        return _fill(folder, architecture, version, checkout, lock)

    key = key_of(architecture, version, checkout, lock)
    folder, _ = cache.entry(f"bundle-{arch}-{key[:16]}", fill, say)
    return folder / "packages.zip"


def key_of(architecture: Architecture, version: tuple[int, int], checkout: Path, lock: Path) -> str:
    """A hash of everything that decides what is in the archive."""
    return digest.key(
        code=digest.code(digest.IMAGE),
        sources=library.sources(checkout),
        needs=digest.tree(lock),
        arch=architecture.name,
        platforms=architecture.platforms,
        python=version,
    )


def fitting(architecture: Architecture, glibc: tuple[int, int]) -> Architecture:
    """The architecture with those of its wheel tags alone that a C library runs.

    Tags are `manylinux_2_28_…`, and `manylinux2014_…` which stands for 2.17 (PEP 600).
    """
    kept = []
    for tag in architecture.platforms:
        words = tag.split("_")
        needs = (int(words[1]), int(words[2])) if words[0] == "manylinux" else OLDEST_GLIBC
        if needs <= glibc:
            kept.append(tag)
    return dataclasses.replace(architecture, platforms=tuple(kept))


def _text(version: tuple[int, int]) -> str:
    return ".".join(map(str, version))


def _fill(
    folder: Path, architecture: Architecture, version: tuple[int, int], checkout: Path, lock: Path
) -> cache.Manifest:
    work = folder / "work"
    unpacked, tree = work / "unpacked", work / "tree"
    python.download(architecture, lock, work / "wheels", version)
    wheels = dict(python.unpack(each, unpacked) for each in (work / "wheels").glob("*.whl"))
    root.drop_tests(unpacked / python.PACKAGES)
    wheel = python.wheel_of(checkout, work)
    name, release = python.unpack(wheel, unpacked, without=("harness",))
    (tree / FOLDER).parent.mkdir(parents=True)
    (unpacked / python.PACKAGES).rename(tree / FOLDER)
    if version == python.VERSION:
        python.compile_tree(tree, [tree / FOLDER])
    with zipfile.ZipFile(
        folder / "packages.zip", "w", zipfile.ZIP_DEFLATED, compresslevel=6
    ) as out:
        for path in sorted((tree / FOLDER).rglob("*")):
            if path.is_file():
                out.write(path, path.relative_to(tree / FOLDER))
    size = sum(path.stat().st_size for path in (tree / FOLDER).rglob("*") if path.is_file())
    shutil.rmtree(work)
    return {"wheels": wheels, "library": {"name": name, "version": release}, "unpacked": size}
