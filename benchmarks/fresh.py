"""
How soon a test has a fresh router: a clone of the golden state against a boot of the same image.

Both with the same kernel, the same image and the same emulation, in turns. The golden state is
there.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median

from benchmarks.routers import KINDS, arch_of, bench, boot, clone, pss
from benchmarks.table import Row
from harness.bench import Bench
from harness.device.qemu import QemuDevice

ROUNDS = 3
CLONES = 8

Start = Callable[[Bench, str], QemuDevice]
Use = Callable[[Bench, QemuDevice], None]


def _until_joined(bench: Bench, device: QemuDevice) -> None:
    bench.provision(device)


FIGURES: tuple[tuple[str, Start, Use, float | None], ...] = (
    ("first answer", clone, lambda bench, device: None, 10),
    ("joined", clone, _until_joined, 8),
)


def _measure(bench: Bench, kind: str, start: Start, use: Use) -> float:
    """Seconds from asking for a device until it was used."""
    began = time.perf_counter()
    device = start(bench, kind)
    try:
        use(bench, device)
        return time.perf_counter() - began
    finally:
        bench.drop(device)


def _memory(bench: Bench, kind: str, start: Start) -> float:
    """MB of `CLONES` machines at rest; what they share counts once (proc(5), Pss)."""
    running: list[QemuDevice] = []
    try:
        for _ in range(CLONES):
            running.append(start(bench, kind))
        for device in running:
            device.wait_blank()
        return sum(pss(device.on.pid) for device in running)
    finally:
        for device in running:
            bench.drop(device)


def run() -> list[Row]:
    rows = []
    with bench(*KINDS) as made:
        for kind in KINDS:
            arch = arch_of(kind)
            for what, start, use, least in FIGURES:
                _measure(made, kind, start, use)  # what is done once a run
                pairs = [
                    (_measure(made, kind, start, use), _measure(made, kind, boot, use))
                    for _ in range(ROUNDS)
                ]
                ratio = median(booted / cloned for cloned, booted in pairs)
                ours, theirs = (median(side) for side in zip(*pairs, strict=True))
                rows.append(Row(f"fresh {arch}: {what}", ours, theirs, "s", ratio, least, "a boot"))
        mine, others = (_memory(made, KINDS[0], start) for start in (clone, boot))
        what = f"memory of {CLONES} {arch_of(KINDS[0])} at rest"
        rows.append(Row(what, mine, others, "MB", others / mine, 3, f"{CLONES} that booted"))
    return rows
