"""
How soon a test has a fresh router: a clone of the golden state against a boot of the same image.

Both with the same kernel, the same image and the same emulation, in turns. The golden state is
there.
"""

from __future__ import annotations

import itertools
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from benchmarks.table import Row
from harness import bench as benches
from harness import device as devices
from harness.bench import Bench
from harness.device.qemu import QemuDevice
from harness.device.testinfra import host

KINDS = ("qemu-x86_64", "qemu-aarch64")
ROUNDS = 3
CLONES = 8

Start = Callable[[Bench, str], QemuDevice]
Use = Callable[[Bench, QemuDevice], None]

_numbers = itertools.count()


def _clone(bench: Bench, kind: str) -> QemuDevice:
    device = bench.device(kind)
    assert isinstance(device, QemuDevice)
    return device


def _warm(bench: Bench, kind: str) -> QemuDevice:
    """The clone that was made ready beforehand; see `_measure`."""
    return _clone(bench, kind)


def _boot(bench: Bench, kind: str) -> QemuDevice:
    folder = bench.folder / f"cold-{next(_numbers)}"
    device = devices.create(kind, folder, bench.timeline)
    assert isinstance(device, QemuDevice)
    device.config = {"ca.pem": bench.node.ca_pem, "settings.ini": benches.settings(device)}
    device.boot()
    return device


def _until_fact(bench: Bench, device: QemuDevice) -> None:
    assert host(device).file(f"{device.config_home}/ca.pem").user == device.daemon_user


def _until_joined(bench: Bench, device: QemuDevice) -> None:
    bench.provision(device)


FIGURES: tuple[tuple[str, Start, Use, float | None], ...] = (
    ("first answer", _clone, lambda bench, device: None, 10),
    ("first fact of testinfra", _clone, _until_fact, None),
    ("first fact, warm pool", _warm, _until_fact, None),
    ("joined", _clone, _until_joined, 8),
)


def _measure(bench: Bench, kind: str, start: Start, use: Use) -> float:
    """Seconds from asking for a device until it was used."""
    if start is _warm:
        bench.warm(kind)
        bench.wait_warm(kind)
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
            log = device.config_home / "logs" / "log"
            device.wait_until_succeeds(f"grep -q daemon.unprovisioned {log}")
        return sum(_pss(device.on.pid) for device in running)
    finally:
        for device in running:
            bench.drop(device)


def _pss(pid: int) -> float:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        name, _, rest = line.partition(":")
        if name == "Pss":
            return int(rest.split()[0]) / 1e3
    raise AssertionError("the kernel tells no Pss")


@contextmanager
def _bench() -> Iterator[Bench]:
    folder = Path(tempfile.mkdtemp(prefix="hil-"))
    bench = Bench(folder)
    try:
        assert bench.operator
        yield bench
    finally:
        bench.close()
        shutil.rmtree(folder)


def run() -> list[Row]:
    rows = []
    for kind in KINDS:
        benches.prepare(kind, lambda line: None)
    with _bench() as bench:
        for kind in KINDS:
            arch = kind.removeprefix("qemu-")
            for what, start, use, least in FIGURES:
                _measure(bench, kind, start, use)  # what is done once a run
                pairs = [
                    (_measure(bench, kind, start, use), _measure(bench, kind, _boot, use))
                    for _ in range(ROUNDS)
                ]
                ratio = median(booted / cloned for cloned, booted in pairs)
                ours, theirs = (median(side) for side in zip(*pairs, strict=True))
                rows.append(Row(f"fresh {arch}: {what}", ours, theirs, "s", ratio, least, "a boot"))
        mine, others = (_memory(bench, KINDS[0], start) for start in (_clone, _boot))
        what = f"memory of {CLONES} {KINDS[0].removeprefix('qemu-')} at rest"
        rows.append(Row(what, mine, others, "MB", others / mine, 3, f"{CLONES} that booted"))
    return rows
