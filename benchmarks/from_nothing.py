"""
How long it takes from nothing to a golden state: neither an image nor a state is in the cache.

What is downloaded is downloaded before: Debian's packages come from a proxy on this computer,
wheels from pip's cache. All else is done: to unpack, to compile, to pack, and to boot once. The
other side is the minute that may pass.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from benchmarks.mirror import mirror
from benchmarks.routers import KINDS, arch_of
from benchmarks.table import Row
from harness import bench as benches

LIMIT = 60.0
"""Seconds."""


def _run(kind: str, cache: Path, environment: Mapping[str, str]) -> float:
    """Seconds of a process that makes a golden state, with an empty cache of images."""
    cache.mkdir()
    (cache / "pip").symlink_to(_pip_cache(), target_is_directory=True)
    began = time.monotonic()
    subprocess.run(
        [sys.executable, "-m", "benchmarks.from_nothing", kind],
        env={**os.environ, **environment, "XDG_CACHE_HOME": str(cache)},
        check=True,
    )
    return time.monotonic() - began


def _pip_cache() -> Path:
    said = subprocess.run(
        [sys.executable, "-m", "pip", "cache", "dir"], stdout=subprocess.PIPE, text=True, check=True
    )
    return Path(said.stdout.strip())


def run() -> list[Row]:
    """@return: seconds, on each architecture."""
    rows = []
    with tempfile.TemporaryDirectory(prefix="hil-") as name:
        folder = Path(name)
        for kind in KINDS:
            arch = arch_of(kind)
            with mirror(folder / f"mirror-{arch}") as config:
                environment = {"APT_CONFIG": str(config)}
                _run(kind, folder / f"first-{arch}", environment)  # downloads
                took = _run(kind, folder / f"second-{arch}", environment)
            what = f"golden state of {arch} from nothing"
            rows.append(Row(what, took, LIMIT, "s", LIMIT / took, 1, f"{LIMIT:g} s"))
    return rows


def main(kind: str) -> None:
    benches.prepare(kind, lambda line: None)


if __name__ == "__main__":
    main(*sys.argv[1:])
