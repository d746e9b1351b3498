"""What `hil doctor` finds: what a qualification needs, and what is only good to know."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from collections import namedtuple
from pathlib import Path

import pytest

from harness import bench, doctor
from harness.device import accel, memory
from harness.device.qemu import QemuX86Device
from harness.doctor import Finding
from harness.image import cache, tools

HIL = Path(sys.executable).with_name("hil")
KIND = "qemu-x86_64"


def hil(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [HIL, "doctor", "--device", KIND, *words],
        env={**os.environ, "COLUMNS": "200", **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )


def found(what: str) -> Finding:
    (finding,) = [each for each in doctor.examine([KIND]) if each.what == what]
    return finding


@pytest.fixture
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache without anything."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return cache.folder()


@pytest.fixture(scope="module", autouse=True)
def prepared() -> None:
    bench.prepare(KIND, print)


def test_where_all_is_there_it_says_what() -> None:
    done = hil("--json")
    assert done.returncode == 0, done.stderr
    known = json.loads(done.stdout)
    assert known["good"] is True
    about = {each["what"]: each for each in known["findings"]}
    assert about["QEMU for x86_64"]["says"].startswith("QEMU emulator version ")
    assert about["accelerator for x86_64"]["data"]["accelerator"] in ("kvm", "tcg")
    assert ": " in about["accelerator for x86_64"]["says"]
    for what, prefix in (("image for x86_64", ""), ("golden state for x86_64", "golden-")):
        folder = Path(about[what]["data"]["folder"])
        assert folder.is_dir()
        assert folder.name.startswith(f"{prefix}x86_64-")
    assert about["memory"]["data"]["workers"] >= 1
    assert about["memory"]["data"]["free"] > 1 << 28
    assert about["disk"]["data"]["free"] > 1 << 28
    assert "/dev/kvm" in about
    assert "images" in about["cache"]["says"]
    assert about["programs"]["good"]


def test_for_people_it_is_a_table() -> None:
    done = hil()
    assert (done.returncode, done.stderr) == (0, "")
    lines = [line.split(maxsplit=2) for line in done.stdout.splitlines()]
    assert ["✓", "memory"] in [line[:2] for line in lines]
    assert "QEMU emulator version" in done.stdout


def test_what_is_missing_is_a_line_each_and_exit_status_1(tmp_path: Path) -> None:
    done = hil(PATH=str(tmp_path))
    assert done.returncode == 1
    lines = done.stderr.splitlines()
    assert "hil: qemu-system-x86_64 is not installed (apt-get install qemu-system-x86)" in lines
    assert "hil: setpriv is not installed (apt-get install util-linux)" in lines
    known = json.loads(hil("--json", PATH=str(tmp_path)).stdout)
    assert known["good"] is False
    (qemu,) = [each for each in known["findings"] if each["what"] == "QEMU for x86_64"]
    assert qemu["advice"] == "apt-get install qemu-system-x86"
    assert not qemu["good"]


def test_of_other_kinds_it_says_whether_they_can_be_had() -> None:
    kinds = ("process", "file:nothing.yaml")
    process, firmware = (f for f in doctor.examine(kinds) if f.what in kinds)
    assert process.good
    assert not firmware.good
    assert "nothing.yaml: can't be read" in firmware.says
    assert "name a YAML file" in firmware.advice


def test_an_empty_cache_is_no_hindrance(empty: Path) -> None:
    findings = {each.what: each for each in doctor.examine([KIND])}
    assert all(each.good for each in findings.values())
    assert "the next run builds it" in findings["image for x86_64"].says
    assert "the next run makes it" in findings["golden state for x86_64"].says
    if platform.machine() == "x86_64" and accel.opens():
        assert findings["accelerator for x86_64"].says.startswith("not tried")
    assert not empty.exists()


def test_with_an_empty_cache_the_programs_that_build_are_needed(
    empty: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = tools.find

    def none(program: str, package: str) -> str:
        return find("no-mmdebstrap" if program == "mmdebstrap" else program, package)

    monkeypatch.setattr(tools, "find", none)
    bad = [each for each in doctor.examine([KIND]) if not each.good]
    assert [each.advice for each in bad] == ["apt-get install mmdebstrap"]
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert found("programs").good


def test_a_golden_state_of_another_qemu_is_not_current(monkeypatch: pytest.MonkeyPatch) -> None:
    assert found("golden state for x86_64").data["current"] is True
    monkeypatch.setattr(tools, "version", lambda program: "QEMU emulator version 99")
    finding = found("golden state for x86_64")
    assert (finding.good, finding.data["current"]) == (True, False)


Usage = namedtuple("Usage", "total used free")


def test_a_full_disk_matters_as_far_as_something_is_to_be_made(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda path: Usage(1 << 40, 1 << 40, 100 << 20))
    assert found("disk").good
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    finding = found("disk")
    assert not finding.good
    assert finding.says == f"100 MiB are free at {cache.folder()}, 1536 are needed"
    assert "make room" in finding.advice


def test_a_cache_that_cannot_be_written_is_said(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    finding = found("disk")
    assert not finding.good
    assert "can't be written" in finding.says


def test_too_little_memory_is_said_with_what_one_router_needs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(memory, "available", lambda: 300 << 20)
    finding = found("memory")
    assert not finding.good
    needs = QemuX86Device.memory >> 20
    assert finding.says.startswith(f"300 MiB are free, a router needs {needs}; 1 worker")


@pytest.mark.parametrize(
    ("path", "mode", "says"),
    [
        ("none", None, "is not there"),
        ("kvm", False, "can't be opened"),
        ("kvm", True, "can be opened"),
    ],
)
def test_access_to_the_hardware_is_told_and_not_needed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, path: str, mode: bool | None, says: str
) -> None:
    (tmp_path / "kvm").touch()
    monkeypatch.setattr(accel, "KVM", tmp_path / path)
    if mode is not None:
        monkeypatch.setattr(accel, "opens", lambda: mode)  # root may open everything
    finding = found(str(tmp_path / path))
    assert (finding.good, finding.says) == (True, says)
    assert ("kvm" in finding.advice) is (mode is not True)
