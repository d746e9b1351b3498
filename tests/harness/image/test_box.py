"""Boxes for Vagrant: what is in them, and what is not."""

from __future__ import annotations

import json
import subprocess
import tarfile
from pathlib import Path

import pytest

from harness.image import ARCHITECTURES, tools
from harness.image import box as boxes
from harness.image.box import Box, box


@pytest.fixture(scope="module", params=ARCHITECTURES)
def made(request: pytest.FixtureRequest) -> Box:
    return box(request.param, progress=print)


def contents(made: Box) -> dict[str, tarfile.TarInfo]:
    with tarfile.open(made.file) as archive:
        return {member.name: member for member in archive}


def unpacked(made: Box, name: str, folder: Path) -> Path:
    with tarfile.open(made.file) as archive:
        archive.extract(name, folder, filter="data")
    return folder / name


def test_it_has_what_the_provider_and_the_router_need(made: Box) -> None:
    assert sorted(contents(made)) == [
        *("Vagrantfile", "box.img", "initramfs", "kernel", "library.squashfs", "metadata.json"),
        *("root.squashfs", "router.json", "state.qcow2"),
    ]


def test_the_image_is_in_it_as_it_is(made: Box, tmp_path: Path) -> None:
    image = made.image
    for path in (image.kernel, image.initramfs, image.root, image.library):
        assert unpacked(made, path.name, tmp_path).read_bytes() == path.read_bytes()


def test_the_provider_is_told_what_it_asks_for(made: Box, tmp_path: Path) -> None:
    metadata = json.loads(unpacked(made, "metadata.json", tmp_path).read_text())
    assert metadata == {"provider": "libvirt", "format": "qcow2", "virtual_size": 1}
    machine = made.image.architecture
    router = json.loads(unpacked(made, "router.json", tmp_path).read_text())
    assert (router["arch"], router["machine"]) == (machine.name, machine.machine)
    assert router["cpu"] == machine.cpu
    assert router["kernel_arguments"].startswith(machine.kernel_arguments)


def test_there_is_no_secret_in_it(made: Box, tmp_path: Path) -> None:
    """Whoever gets a box can get into no router: keys are made with the machine."""
    disk = tmp_path / "disk"
    state = unpacked(made, "state.qcow2", tmp_path)
    subprocess.run(["qemu-img", "convert", "-O", "raw", state, disk], check=True)
    debugfs = tools.find("debugfs", "e2fsprogs")
    own = {
        "etc/dropbear/dropbear_ed25519_host_key": "0600",
        "root/.ssh/authorized_keys": "0600",
        "etc/machine-id": "0444",
        "etc/hostname": "0644",
    }
    for path, mode in own.items():
        done = subprocess.run(
            [debugfs, "-R", f"stat /upper/{path}", disk], check=True, capture_output=True, text=True
        )
        assert f"Mode:  {mode}" in done.stdout
        assert "Size: 0" in done.stdout


def test_it_says_nothing_of_who_made_it(made: Box) -> None:
    for member in contents(made).values():
        assert (member.uid, member.gid, member.uname, member.mode) == (0, 0, "root", 0o644)


def test_a_second_call_finds_the_same_box(made: Box) -> None:
    lines: list[str] = []
    assert box(made.arch, progress=lines.append) == made
    assert lines == []


def test_another_vagrantfile_makes_another_box(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = box("x86_64")
    other = tmp_path / "Vagrantfile"
    other.write_text("# another\n")
    monkeypatch.setattr(boxes, "_VAGRANTFILE", other)
    with pytest.raises(RuntimeError, match="packed"):
        monkeypatch.setattr(boxes, "_pack", _refuse)
        box("x86_64")
    assert first.file.exists()


def test_another_machine_makes_another_box(monkeypatch: pytest.MonkeyPatch) -> None:
    box("x86_64")
    monkeypatch.setattr(boxes, "MEMORY_MIB", 512)
    monkeypatch.setattr(boxes, "_pack", _refuse)
    with pytest.raises(RuntimeError, match="packed"):
        box("x86_64")


def _refuse(*_: object) -> None:
    raise RuntimeError("packed")
