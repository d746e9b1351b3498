"""
A fleet on one computer: 100 clones of one golden state at once, all joined to one node.

The other side is the room there is: whether all of them fit into it, with crossbar. They are
started a few at a time, for a processor can do no more than one thing at once.
"""

from __future__ import annotations

import json
import os
import time
from concurrent.futures import ThreadPoolExecutor

from benchmarks.routers import KINDS, arch_of, bench, clone, pss, session
from benchmarks.table import Row
from harness.bench import Bench, Identity
from harness.device.qemu import QemuDevice

CLONES = 100
ROOM = 12_000
"""MB."""


def _join(bench: Bench, kind: str) -> tuple[QemuDevice, Identity]:
    device = clone(bench, kind)
    return device, bench.provision(device)


def run() -> list[Row]:
    """@return: MB of all, and how many seconds passed until all had joined."""
    kind = KINDS[0]
    cores = len(os.sched_getaffinity(0))
    # the threads outlive the bench: processes end with the thread that has started them
    with ThreadPoolExecutor(cores) as starters, bench(kind) as made:
        began = time.monotonic()
        joining = [starters.submit(_join, made, kind) for _ in range(CLONES)]
        joined = [each.result() for each in joining]
        took = time.monotonic() - began
        for _, identity in joined:
            made.assert_healthy(identity.pdid)
        used = sum(pss(device.on.pid) for device, _ in joined)
        crossbar = json.loads((made.node.folder / "node.pid").read_text())["pid"]
        used += sum(pss(pid) for pid in session(crossbar))
    what = f"{CLONES} {arch_of(kind)} joined to one node after {took:.0f} s, memory"
    return [Row(what, used, ROOM, "MB", ROOM / used, 1, f"{ROOM / 1000:g} GB")]
