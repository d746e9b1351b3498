"""From an architecture's name to an image on disk.

An image is two cached layers: the root (Debian and wheels: a minute, changes rarely) and the
library under test (seconds, changes with every edit). Its folder joins them by hard links.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import harness
from harness.errors import ImageError, UsageError
from harness.image import apt, cache, digest, initramfs, library, python, root
from harness.image.architecture import ARCHITECTURES, Architecture


@dataclass(frozen=True)
class Image:
    """A router image on disk; its files never change.

    `manifest` says what is in it: `architecture`, `key`, `kernel` (version), `packages`
    (versions of Debian's), `wheels` (version and sha256), `library` (version, wheel, sha256),
    `files` (size and sha256).
    """

    arch: str
    folder: Path
    kernel: Path
    initramfs: Path
    root: Path
    library: Path
    key: str
    manifest: dict[str, Any] = field(repr=False, compare=False)

    @property
    def architecture(self) -> Architecture:
        return ARCHITECTURES[self.arch]

    @property
    def size(self) -> int:
        """Bytes of all its files."""
        return sum(int(facts["size"]) for facts in self.manifest["files"].values())


def build(
    arch: str,
    *,
    progress: Callable[[str], None] | None = None,
    rebuild: bool = False,
    project: Path | None = None,
) -> Image:
    """The image of an architecture, from the cache where its inputs have not changed.

    @param arch: a name in `ARCHITECTURES`.
    @param progress: called with a line at each step that takes time; default: the log `harness`.
    @param rebuild: fetch Debian's packages again, which also brings their updates.
    @param project: the checkout with the library; default: the one that the harness runs from.
    @raise ImageError: unknown architecture, or a mirror, a tool, the disk or the code failed.
    @raise MissingToolError: a program is not installed; the error names its package.
    """
    architecture, checkout, needs = inputs(arch, project)
    say = progress or logging.getLogger("harness").info

    def say_arch(text: str) -> None:
        say(f"{arch}: {text}")

    def build_root(folder: Path) -> cache.Manifest:
        return asdict(root.build(architecture, needs, folder, say_arch))

    def build_library(folder: Path) -> cache.Manifest:
        return library.build(checkout, folder, say)

    root_name, library_name = _parts(architecture, checkout, needs)
    root_folder, root_facts = cache.entry(root_name, build_root, say_arch, rebuild=rebuild)
    library_folder, library_facts = cache.entry(library_name, build_library, say)
    files, key = _joined(arch, root_facts, library_facts)

    def join(folder: Path) -> cache.Manifest:
        for name in files:
            source = library_folder if name.startswith("library.") else root_folder
            os.link(source / name, folder / name)
        return {"architecture": arch, "key": key, "library": library_facts, **root_facts}

    folder, manifest = cache.entry(f"{arch}-{key[:16]}", join, say_arch)
    return _image(arch, folder, key, manifest)


def find(arch: str, *, project: Path | None = None) -> Image | None:
    """The image that `build` would find in the cache; None if it would build something.

    Nothing is checked. @raise ImageError: unknown architecture, or no checkout.
    """
    root_entry, library_entry = map(cache.look, _parts(*inputs(arch, project)))
    if root_entry is None or library_entry is None:
        return None
    _, key = _joined(arch, root_entry[1], library_entry[1])
    entry = cache.look(f"{arch}-{key[:16]}")
    return None if entry is None else _image(arch, entry[0], key, entry[1])


def check(arch: str) -> None:
    """@raise UsageError: there is no such architecture."""
    if arch not in ARCHITECTURES:
        raise UsageError(f"no architecture {arch}", hint=f"there are {', '.join(ARCHITECTURES)}")


def inputs(arch: str, project: Path | None) -> tuple[Architecture, Path, Path]:
    """@return: with the checkout, and its list of what the daemon needs."""
    check(arch)
    architecture = ARCHITECTURES[arch]
    checkout = project or Path(harness.__file__).resolve().parents[1]
    needs = checkout / "requirements" / architecture.requirements
    if not needs.is_file():
        raise ImageError(
            f"{checkout} is no checkout of the project", hint="images are built from one"
        )
    return architecture, checkout, needs


def _parts(architecture: Architecture, checkout: Path, needs: Path) -> tuple[str, str]:
    """The names in the cache of the two that an image is joined of."""
    base_key = root_key(architecture, needs)
    return f"root-{architecture.name}-{base_key[:16]}", f"library-{library_key(checkout)[:16]}"


def _joined(
    arch: str, root_facts: cache.Manifest, library_facts: cache.Manifest
) -> tuple[dict[str, Any], str]:
    """@return: the files of an image, which are taken from the facts of its parts, and its key."""
    files = {**root_facts.pop("files"), **library_facts.pop("files")}
    return files, digest.key(arch=arch, files=files)


def _image(arch: str, folder: Path, key: str, manifest: cache.Manifest) -> Image:
    return Image(
        arch=arch,
        folder=folder,
        kernel=folder / "kernel",
        initramfs=folder / "initramfs",
        root=folder / "root.squashfs",
        library=folder / "library.squashfs",
        key=key,
        manifest=manifest,
    )


def root_key(architecture: Architecture, needs: Path) -> str:
    """A hash of everything that decides what is in a root, but for the mirrors' state."""
    return digest.key(
        code=digest.code(digest.IMAGE),
        guest=digest.tree(root.GUEST),
        needs=digest.tree(needs),
        names=(architecture.name, architecture.debian, architecture.kernel, architecture.console),
        platforms=architecture.platforms,
        release=(apt.RELEASE, python.NAME),
        packages=root.PACKAGES,
        modules=initramfs.MODULES,
    )


def library_key(checkout: Path) -> str:
    """A hash of everything that decides what is in the library's layer."""
    return digest.key(
        code=digest.code(digest.IMAGE), python=python.NAME, sources=library.sources(checkout)
    )
