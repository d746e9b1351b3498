"""Hardware acceleration is used only where a guest has really run on it."""

from __future__ import annotations

import os
import platform
from pathlib import Path

import pytest

from harness.device import accel
from harness.image import tools

HERE = platform.machine()
QEMU = f"qemu-system-{HERE}"

needs_kvm = pytest.mark.skipif(
    not os.access("/dev/kvm", os.R_OK | os.W_OK), reason="without /dev/kvm nothing is probed"
)


class Probe:
    """Asks what a QEMU of a few lines can do, and counts how often it is really tried."""

    def __init__(self, folder: Path, script: str) -> None:
        self.qemu = folder / "qemu"
        self.kernel = folder / "kernel"
        self._cache = folder / "cache"
        self._runs = folder / "runs"
        self.kernel.write_bytes(b"kernel")
        self.program("1", script)

    def program(self, version: str, script: str) -> None:
        new = self.qemu.with_suffix(".new")
        tried = f"test $1 = --version && echo {version} && exit\necho run >> {self._runs}\n"
        new.write_text(f"#!/bin/sh\n{tried}{script}\n")
        new.chmod(0o755)
        new.replace(self.qemu)
        tools.version.cache_clear()  # as another run sees it

    def choose(self) -> accel.Accelerator:
        return accel.choose(HERE, str(self.qemu), self.kernel, self._cache)

    @property
    def runs(self) -> int:
        return self._runs.read_text().count("run") if self._runs.exists() else 0


def test_a_foreign_architecture_is_emulated(tmp_path: Path) -> None:
    chosen = accel.choose("sparc", "qemu-none", Path("none"), tmp_path)
    assert chosen.name == "tcg"
    assert HERE in chosen.why


def test_without_access_to_the_hardware_it_is_emulated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may open everything
    chosen = accel.choose(HERE, "qemu-none", Path("none"), tmp_path)
    assert chosen.name == "tcg"
    assert "no access to /dev/kvm" in chosen.why


@needs_kvm
@pytest.mark.parametrize(
    ("script", "name"),
    [
        ("echo 'Linux version 6.1'", "kvm"),
        ("echo 'KVM internal error. Suberror: 3'; exit 1", "tcg"),
        ("exec sleep 60", "tcg"),
    ],
    ids=["runs a guest", "fails", "hangs"],
)
def test_the_probe_decides_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, name: str
) -> None:
    monkeypatch.setattr(accel, "PROBE_SECONDS", 0.5)
    probe = Probe(tmp_path, script)
    assert [probe.choose().name for _ in range(3)] == [name] * 3
    assert probe.runs == 1


@needs_kvm
def test_a_verdict_is_of_a_kernel_a_qemu_and_a_guest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    probe = Probe(tmp_path, "echo 'Linux version 6.1'")
    assert probe.choose().name == "kvm"
    moved = tmp_path / "elsewhere"
    probe.kernel.rename(moved)  # the same one, as of another image
    probe.kernel = moved
    assert (probe.choose().name, probe.runs) == ("kvm", 1)
    fails = "exit 1"
    probe.program("2", fails)
    assert (probe.choose().name, probe.runs) == ("tcg", 2)
    probe.kernel.write_bytes(b"another")
    assert (probe.choose().name, probe.runs) == ("tcg", 3)
    ours = os.uname()
    for field in ("release", "version"):
        there = {name: getattr(ours, name) for name in ("sysname", "nodename", "release")}
        there |= {"version": ours.version, "machine": ours.machine, field: "another"}
        uname = os.uname_result(there.values())
        monkeypatch.setattr(os, "uname", lambda uname=uname: uname)
        assert probe.choose().name == "tcg"
    assert probe.runs == 5


@needs_kvm
def test_a_kernel_that_is_none_does_not_run(tmp_path: Path) -> None:
    (tmp_path / "kernel").write_bytes(b"no kernel at all")
    assert accel.choose(HERE, QEMU, tmp_path / "kernel", tmp_path / "cache").name == "tcg"
