"""Which accelerator QEMU gets: the hardware's only where a guest has really run on it."""

from __future__ import annotations

import contextlib
import hashlib
import os
import platform
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

TRANSLATED_MIB = {"x86_64": 40}
"""Of the buffer for translated code: as small as it can be without slowing down a router until it
has joined. QEMU's own choice doubles the memory of a small guest."""

TRANSLATED_MIB_OF_OTHERS = 64

PROBE_SECONDS = 5


@dataclass(frozen=True)
class Accelerator:
    """@param option: the value of QEMU's `-accel`. @param why: one line for people."""

    option: str
    why: str

    @property
    def name(self) -> str:
        return self.option.partition(",")[0]


def choose(machine: str, qemu: str, kernel: Path, cache: Path) -> Accelerator:
    """The accelerator for guests of an architecture.

    /dev/kvm may open, answer its API version and still run no guest, so a kernel is booted on it
    up to its first line; what came out is kept for as long as the host stays up.

    @param machine: architecture of the guest, as `uname -m` names it.
    @param qemu: program to probe with.
    @param kernel: one that prints to the first serial port.
    @param cache: folder for the verdict.
    """
    size = TRANSLATED_MIB.get(machine, TRANSLATED_MIB_OF_OTHERS)
    emulation = f"tcg,tb-size={size}"
    if platform.machine() != machine:
        return Accelerator(emulation, f"software emulation: the host is {platform.machine()}")
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return Accelerator(emulation, "software emulation: no access to /dev/kvm")
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    key = hashlib.sha256(f"{boot} {qemu} {kernel}".encode()).hexdigest()[:16]
    verdict = cache / f"kvm-{key}"
    if not verdict.exists():
        verdict.parent.mkdir(parents=True, exist_ok=True)
        fresh = verdict.with_suffix(f".{os.getpid()}")
        fresh.write_text("works" if _runs_a_guest(qemu, kernel) else "fails")
        fresh.replace(verdict)
    if verdict.read_text() == "works":
        return Accelerator("kvm", "hardware acceleration: KVM ran a guest")
    return Accelerator(emulation, "software emulation: /dev/kvm opens but runs no guest")


def processor() -> str:
    """What tells this computer's processor from another: its model and its flags; proc(5)."""
    lines = Path("/proc/cpuinfo").read_text().partition("\n\n")[0].splitlines()
    return "\n".join(line for line in lines if line.startswith(("model", "flags", "stepping")))


def _runs_a_guest(qemu: str, kernel: Path) -> bool:
    command = [qemu, "-accel", "kvm", "-nodefaults", "-display", "none", "-no-reboot", "-m", "128"]
    command += ["-kernel", str(kernel), "-append", "console=ttyS0 earlyprintk=ttyS0 panic=-1"]
    with tempfile.TemporaryFile() as console:
        with contextlib.suppress(subprocess.TimeoutExpired):
            subprocess.run(
                [*command, "-serial", "stdio"],
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=subprocess.DEVNULL,
                timeout=PROBE_SECONDS,
            )
        console.seek(0)
        return b"Linux version" in console.read()
