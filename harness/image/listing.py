"""What is in the cache of images."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from harness.image import cache
from harness.image.architecture import ARCHITECTURES


@dataclass(frozen=True)
class Cached:
    """An image in the cache. `size` is in bytes, `built` in seconds since the epoch."""

    arch: str
    key: str
    size: int
    built: float
    folder: Path


def cached() -> list[Cached]:
    """The whole images in the cache, newest first; one that can't be read is left out."""
    found = []
    for arch in ARCHITECTURES:
        for folder in cache.folder().glob(f"{arch}-*"):
            try:
                manifest = json.loads((folder / cache.MANIFEST).read_text(encoding="utf-8"))
                size = sum(int(facts["size"]) for facts in manifest["files"].values())
                built = (folder / cache.MANIFEST).stat().st_mtime
                if manifest["architecture"] == arch:
                    found.append(Cached(arch, str(manifest["key"]), size, built, folder))
            except (OSError, ValueError, KeyError, TypeError, AttributeError):
                continue
    return sorted(found, key=lambda each: each.built, reverse=True)
