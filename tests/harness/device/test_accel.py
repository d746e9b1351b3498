"""Hardware acceleration is used only where a guest has really run on it."""

from __future__ import annotations

import os
import platform
from pathlib import Path

import pytest

from harness.device import accel

HERE = platform.machine()
QEMU = f"qemu-system-{HERE}"

needs_kvm = pytest.mark.skipif(
    not os.access("/dev/kvm", os.R_OK | os.W_OK), reason="without /dev/kvm nothing is probed"
)


def program(folder: Path, script: str) -> str:
    path = folder / "qemu"
    path.write_text(f"#!/bin/sh\necho run >> {folder}/runs\n{script}\n")
    path.chmod(0o755)
    return str(path)


def test_a_foreign_architecture_is_emulated(tmp_path: Path) -> None:
    chosen = accel.choose("sparc", "qemu-none", Path("none"), tmp_path)
    assert (chosen.name, chosen.option) == ("tcg", "tcg,tb-size=64")
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
    qemu = program(tmp_path, script)
    verdicts = [accel.choose(HERE, qemu, Path("k"), tmp_path / "cache") for _ in range(3)]
    assert [verdict.name for verdict in verdicts] == [name] * 3
    assert (tmp_path / "runs").read_text() == "run\n"


@needs_kvm
def test_a_kernel_that_is_none_does_not_run(tmp_path: Path) -> None:
    (tmp_path / "kernel").write_bytes(b"no kernel at all")
    assert accel.choose(HERE, QEMU, tmp_path / "kernel", tmp_path / "cache").name == "tcg"
