"""What is in the cache: images, golden states and boxes."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from harness.image import cache
from harness.image.architecture import ARCHITECTURES

_PREFIXES = {"image": "", "golden": "golden-", "box": "box-"}


@dataclass(frozen=True)
class Cached:
    """An image, a golden state or a box in the cache.

    `size` is what its files take on disk in bytes, `used` when it was last handed out in seconds
    since the epoch.
    """

    what: str
    arch: str
    key: str
    size: int
    used: float
    folder: Path


def cached() -> list[Cached]:
    """What is in the cache, newest use first; nothing unreadable."""
    found = []
    for what, prefix in _PREFIXES.items():
        for arch in ARCHITECTURES:
            for folder in cache.folder().glob(f"{prefix}{arch}-*"):
                try:
                    manifest = json.loads((folder / cache.MANIFEST).read_text(encoding="utf-8"))
                    known, key = manifest["architecture"], str(manifest["key"])
                    size, used = sum(cache.allocated(folder).values()), cache.used(folder) / 1e9
                except (OSError, ValueError, KeyError, TypeError):
                    continue
                if known == arch:
                    found.append(Cached(what, arch, key, size, used, folder))
    return sorted(found, key=lambda each: each.used, reverse=True)
