"""The first root of the kernel."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from harness.errors import ImageError
from harness.image import initramfs


@pytest.fixture
def modules(tmp_path: Path) -> Path:
    folder = tmp_path / "6.1.0"
    (folder / "kernel").mkdir(parents=True)
    (folder / "modules.builtin").write_text("kernel/ext4.ko\n")
    lines = ["kernel/virtio.ko: kernel/virtio_ring.ko", "kernel/virtio_ring.ko:"]
    lines += ["kernel/virtio-blk.ko: kernel/virtio.ko kernel/virtio_ring.ko"]
    (folder / "modules.dep").write_text("\n".join(lines) + "\n")
    for name in ("virtio", "virtio_ring", "virtio-blk"):
        (folder / f"kernel/{name}.ko").write_bytes(name.encode())
    return folder


def test_modules_load_after_what_they_need(modules: Path) -> None:
    order = initramfs.load_order(modules, ("ext4", "virtio_blk", "virtio"))
    assert order == ["kernel/virtio_ring.ko", "kernel/virtio.ko", "kernel/virtio-blk.ko"]


def test_a_module_that_the_kernel_lacks_is_named(modules: Path) -> None:
    with pytest.raises(ImageError, match=r"6\.1\.0 has no driver virtio_gpu"):
        initramfs.load_order(modules, ("virtio_gpu",))


def read(archive: bytes) -> dict[str, tuple[int, bytes]]:
    """Mode and data of each entry of a newc archive."""
    entries, at = {}, 0
    while True:
        header = archive[at : at + 110]
        assert header[:6] == b"070701"
        fields = [int(header[i : i + 8], 16) for i in range(6, 110, 8)]
        mode, size, name_size = fields[1], fields[6], fields[11]
        name = archive[at + 110 : at + 110 + name_size - 1].decode()
        at += 110 + name_size + -(110 + name_size) % 4
        if name == "TRAILER!!!":
            return entries
        entries[name] = (mode, archive[at : at + size])
        at += size + -size % 4


def test_it_has_init_busybox_and_the_drivers_in_order(
    modules: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(initramfs, "MODULES", ("virtio_blk",))
    (tmp_path / "busybox").write_bytes(b"\x7fELF")
    (tmp_path / "init").write_bytes(b"#!/bin/sh\n")
    initramfs.write(tmp_path / "out", tmp_path / "busybox", modules, tmp_path / "init")
    entries = read((tmp_path / "out").read_bytes())
    assert entries["init"] == (stat.S_IFREG | 0o755, b"#!/bin/sh\n")
    assert entries["bin/busybox"] == (stat.S_IFREG | 0o755, b"\x7fELF")
    assert entries["bin/switch_root"] == (stat.S_IFLNK | 0o777, b"busybox")
    assert entries["modules/order"][1] == b"virtio_ring.ko\nvirtio.ko\nvirtio-blk.ko\n"
    assert entries["modules/virtio-blk.ko"][1] == b"virtio-blk"
    for folder in ("dev", "proc", "sys", "new", "rom/root", "rom/library", "rom/state"):
        assert entries[folder][0] == stat.S_IFDIR | 0o755


def test_every_command_of_init_is_there() -> None:
    """`init` may use the shell's own words and the applets that are linked, nothing else."""
    from harness.image.root import GUEST

    script = (GUEST / "initramfs/init").read_text()
    for command in ("insmod", "mount", "switch_root", "poweroff", "sleep", "mkdir", "sync"):
        assert f" {command} " in script.replace("\n", " ")
        assert command in initramfs._APPLETS
