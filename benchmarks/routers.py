"""A bench of emulated routers for the benchmarks, and the memory that processes take."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harness import bench as benches
from harness.bench import Bench
from harness.device.qemu import QemuDevice

KINDS = ("qemu-x86_64", "qemu-aarch64")


def arch_of(kind: str) -> str:
    return kind.removeprefix("qemu-")


def clone(bench: Bench, kind: str) -> QemuDevice:
    """A fresh router; the one that was made ready beforehand, if any."""
    device = bench.device(kind)
    assert isinstance(device, QemuDevice)
    return device


def boot(bench: Bench, kind: str) -> QemuDevice:
    """A router as fresh as a clone, the long way; whoever asks for it has to drop it."""
    device = bench.new(kind)
    assert isinstance(device, QemuDevice)
    device.boot()
    return device


@contextmanager
def bench(*kinds: str) -> Iterator[Bench]:
    """A bench whose node and operator run, with the golden states of those kinds made."""
    for kind in kinds:
        benches.prepare(kind, lambda line: None)
    folder = Path(tempfile.mkdtemp(prefix="hil-"))
    made = Bench(folder)
    try:
        assert made.operator
        yield made
    finally:
        made.close()
        shutil.rmtree(folder)


def pss(pid: int) -> float:
    """MB of a process; what it shares with others is divided among them (proc(5), Pss)."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        name, _, rest = line.partition(":")
        if name == "Pss":
            return int(rest.split()[0]) * 1024 / 1e6
    raise AssertionError("the kernel tells no Pss")


def session(leader: int) -> list[int]:
    """The processes of a session (setsid(2)), such as all of a crossbar."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it ended while we looked
            # proc(5): after the name in parentheses come the state, the parent, group, session
            fields = stat.read_text(errors="replace").rpartition(")")[2].split()
            if int(fields[3]) == leader:
                found.append(int(stat.parent.name))
    return found
