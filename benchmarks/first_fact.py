"""
How soon a test knows the first fact of a fresh router: with testinfra here, against labgrid.

Both ask for a router and then who owns one file of it, in turns: the same command on the same
image, kernel and emulated machine. labgrid is told once what its router is; see
`benchmarks.labgrid_router`.
"""

from __future__ import annotations

import time
from statistics import median

from benchmarks.labgrid_router import LabgridRouter, labgrid_router
from benchmarks.routers import KINDS, arch_of, bench, clone
from benchmarks.table import Row
from harness.bench import Bench
from harness.device.testinfra import host
from harness.image import CONFIGURATION_HOME

ROUNDS = 5
FILE = f"{CONFIGURATION_HOME}/ca.pem"
OWNER = "paradrop"
AGAINST = "labgrid: QEMUDriver, SSHDriver"


def _cloned(bench: Bench, kind: str) -> float:
    """Seconds from asking for a router to the fact."""
    began = time.perf_counter()
    device = clone(bench, kind)
    try:
        assert host(device).file(FILE).user == OWNER
        return time.perf_counter() - began
    finally:
        bench.drop(device)


def _warm(bench: Bench, kind: str) -> float:
    """The same of one that was made ready while nobody waited for it."""
    bench.warm(kind)
    bench.wait_warm(kind)
    return _cloned(bench, kind)


def _booted(router: LabgridRouter) -> float:
    return router.seconds_until(f"stat -c %U {FILE}", OWNER)


def run() -> list[Row]:
    """@return: seconds, of a clone and of a clone from the warm pool, on each architecture."""
    rows = []
    with bench(*KINDS) as made:
        for kind in KINDS:
            with labgrid_router(made, kind) as router:
                _cloned(made, kind)  # what is done once a run
                rounds = [
                    (_cloned(made, kind), _warm(made, kind), _booted(router)) for _ in range(ROUNDS)
                ]
            cloned, warm, booted = zip(*rounds, strict=True)
            for what, ours, least in (
                ("first fact", cloned, 9),
                ("first fact, warm pool", warm, 40),
            ):
                ratio = median(b / a for a, b in zip(ours, booted, strict=True))
                what = f"fresh {arch_of(kind)}: {what}"
                rows.append(Row(what, median(ours), median(booted), "s", ratio, least, AGAINST))
    return rows
