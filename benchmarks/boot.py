"""
Where the time of a cold boot goes: from the power of an emulated router to its session on the node.

Shows a chart for each architecture, of the boot that is the median of `ROUNDS`. It promises
nothing, so it has no rows. The stages are told by the kernel's log (dmesg(1)), the console, proc(5)
and the daemon's own log, all in seconds of the guest's uptime.
"""

from __future__ import annotations

import io
import itertools
import json
import re
import time
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.routers import KINDS, arch_of, bench, boot
from benchmarks.table import Row
from harness.bench import Bench
from harness.device.qemu import QemuDevice

ROUNDS = 3
WIDTH = 60
"""Characters of the whole boot in a chart."""

# Prints what the router knows: seconds of its uptime, of the present and of what is past.
_ASK = """
import json, os, subprocess, time
up = float(open("/proc/uptime").read().split()[0])
pid = open("/run/paradrop-daemon.pid").read().strip()
ticks = int(open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()[19])
records = map(json.loads, open("/etc/paradrop/logs/log"))
print(json.dumps({
    "now": up,
    "kernel": subprocess.run(["dmesg"], capture_output=True, text=True).stdout,
    "daemon": ticks / os.sysconf("SC_CLK_TCK"),
    "events": {r["extra"]["event"]: r["timestamp"] - time.time() + up for r in records},
}))
"""


@dataclass(frozen=True)
class Stage:
    """@param begin: seconds since the power came on. @param end: the same."""

    what: str
    begin: float
    end: float


def stages(bench: Bench, kind: str) -> list[Stage]:
    """Boot a router, have it join, and say what it did meanwhile."""
    began = time.monotonic()
    device = boot(bench, kind)
    try:
        device.wait_blank()
        bench.provision(device)
        joined = time.monotonic() - began
        told = json.loads(device.python(_ASK))
        kernel_began = time.monotonic() - began - told["now"]
        marks = [("QEMU, firmware, unpacking of the kernel", kernel_began)]
        marks += [(what, kernel_began + at) for what, at in _marks(device, told)]
        marks.append(("daemon: its identity, TLS, the session", joined))
    finally:
        bench.drop(device)
    times = itertools.pairwise([0.0, *(end for _, end in marks)])
    return [Stage(what, *time) for (what, _), time in zip(marks, times, strict=True)]


def _marks(device: QemuDevice, told: dict[str, Any]) -> list[tuple[str, float]]:
    """What ended when, in seconds of uptime."""
    console = (device.folder / "console.log").read_text(errors="replace")
    kernel, events = told["kernel"], told["events"]

    def found(pattern: str, text: str) -> float:
        match = re.search(pattern, text)
        assert match is not None, pattern
        return float(match[1])

    return [
        ("kernel", found(r"\[ *([\d.]+)\] Run /init as init", kernel)),
        ("initramfs: drivers of disks, the root", found(r"kernel \S+ \(([\d.]+) s\)", console)),
        ("drivers of cards, packet filter, network", found(r"network up.*\(([\d.]+) s\)", console)),
        ("SSH", found(r"router ready \(([\d.]+) s\)", console)),
        ("console, agent, supervisor", told["daemon"]),
        ("daemon: Python and its imports", events["daemon.started"]),
    ]


def chart(title: str, boot: list[Stage]) -> Table:
    """A boot for people: a bar for each stage."""
    whole = boot[-1].end
    made = Table("from", "took", "", title=title, title_justify="left", box=None)
    made.add_column("", max_width=WIDTH, no_wrap=True)
    made.columns[0].justify = made.columns[1].justify = "right"
    for stage in boot:
        begin, end = (round(WIDTH * at / whole) for at in (stage.begin, stage.end))
        bar = " " * begin + ("█" * (end - begin) or "▏")
        made.add_row(f"{stage.begin:.2f}", f"{stage.end - stage.begin:.2f} s", stage.what, bar)
    return made


def run() -> list[Row]:
    """Show the charts; there are no figures to compare."""
    shown = Console(width=120, file=io.StringIO())
    with bench(*KINDS) as made:
        for kind in KINDS:
            boots = sorted((stages(made, kind) for _ in range(ROUNDS)), key=lambda it: it[-1].end)
            middle = boots[ROUNDS // 2]
            title = f"a boot of {arch_of(kind)}: joined after {middle[-1].end:.1f} s"
            shown.print(chart(title, middle))
    print(shown.file.getvalue())  # type: ignore[attr-defined]
    return []
