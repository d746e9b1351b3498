"""Which accelerator QEMU gets: the hardware's only where a guest has really run on it."""

from __future__ import annotations

import contextlib
import os
import platform
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from harness.image import digest, tools

KVM = Path("/dev/kvm")

PROBE_SECONDS = 5


@dataclass(frozen=True)
class Accelerator:
    """@param name: QEMU's word for it: `kvm` or `tcg`. @param why: one line for people."""

    name: str
    why: str


def choose(machine: str, qemu: str, kernel: Path | None, cache: Path) -> Accelerator:
    """The accelerator for guests of an architecture.

    /dev/kvm may open, answer its API version and still run no guest, so a kernel is booted on it
    up to its first line; what came out is kept until one of the two kernels or QEMU is another.

    @param machine: architecture of the guest, as `uname -m` names it.
    @param qemu: program to probe with.
    @param kernel: one that prints to the first serial port; without one, nothing is tried.
    @param cache: folder for the verdict.
    """
    if platform.machine() != machine:
        return Accelerator("tcg", f"software emulation: the host is {platform.machine()}")
    if not opens():
        return Accelerator("tcg", "software emulation: no access to /dev/kvm")
    if kernel is None:
        return Accelerator("tcg", "not tried: there is no image yet, whose kernel could run on KVM")
    verdict = cache / f"kvm-{key_of(qemu, kernel)[:16]}"
    if not verdict.exists():
        verdict.parent.mkdir(parents=True, exist_ok=True)
        fresh = verdict.with_suffix(f".{os.getpid()}")
        fresh.write_text("works" if _runs_a_guest(qemu, kernel) else "fails")
        fresh.replace(verdict)
    if verdict.read_text() == "works":
        return Accelerator("kvm", "hardware acceleration: KVM ran a guest")
    return Accelerator("tcg", "software emulation: /dev/kvm opens but runs no guest")


def key_of(qemu: str, kernel: Path) -> str:
    """A hash of everything that decides whether a guest runs on the hardware."""
    here = os.uname()
    return digest.key(
        code=digest.code(digest.DEVICE),
        host=(here.release, here.version, processor()),
        qemu=(qemu, tools.version(qemu)),
        kernel=digest.sha256(kernel),
    )


def opens() -> bool:
    """Whether we may use the hardware's virtualisation; not whether a guest runs on it."""
    return os.access(KVM, os.R_OK | os.W_OK)


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
