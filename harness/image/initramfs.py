"""The first root of the kernel: busybox, the drivers of the disks, and the `init` of the guest.

Written as an uncompressed cpio archive (the kernel's `newc` format, described in its
Documentation/driver-api/early-userspace/buffer-format.rst): unpacking costs an emulated CPU
more than reading does.
"""

from __future__ import annotations

import stat
from pathlib import Path

from harness.errors import ImageError

MODULES = (
    *("virtio_pci", "virtio_mmio", "virtio_blk"),
    *("squashfs", "crc32c_generic", "ext4", "overlay"),  # ext4 asks for crc32c when it mounts
)
"""Drivers that must be there before the root is; their dependencies come along."""

_APPLETS = (
    "echo",
    "insmod",
    "mkdir",
    "mount",
    "poweroff",
    "sh",
    "sleep",
    "switch_root",
    "sync",
    "[",
)
_FOLDERS = (
    *("bin", "dev", "modules", "new", "proc", "sys"),
    *("rom", "rom/library", "rom/root", "rom/state"),
)


def load_order(modules: Path, names: tuple[str, ...]) -> list[str]:
    """Modules and all they depend on, in the order in which they load.

    @param modules: the folder of a kernel's modules, with its `modules.dep` and
        `modules.builtin`.
    @return: paths below `modules`.
    @raise ImageError: the kernel has no such module.
    """
    needs: dict[str, list[str]] = {}
    for line in (modules / "modules.dep").read_text().splitlines():
        path, _, dependencies = line.partition(":")
        needs[path] = dependencies.split()
    by_name = {_name(path): path for path in needs}
    builtin = {_name(path) for path in (modules / "modules.builtin").read_text().split()}
    order: dict[str, None] = {}
    for name in map(_name, names):
        if name in builtin:
            continue
        if name not in by_name:
            raise ImageError(f"the kernel {modules.name} has no driver {name}")
        for path in (*reversed(needs[by_name[name]]), by_name[name]):
            order[path] = None
    return list(order)


def _name(path: str) -> str:
    return path.rsplit("/", 1)[-1].split(".", 1)[0].replace("-", "_")


def write(target: Path, busybox: Path, modules: Path, init: Path) -> None:
    """Write the initramfs of a router."""
    archive = _Archive()
    for folder in _FOLDERS:
        archive.folder(folder)
    archive.file("bin/busybox", busybox.read_bytes(), 0o755)
    for applet in _APPLETS:
        archive.link(f"bin/{applet}", "busybox")
    order = load_order(modules, MODULES)
    for path in order:
        archive.file(f"modules/{Path(path).name}", (modules / path).read_bytes(), 0o644)
    listing = "".join(f"{Path(path).name}\n" for path in order)
    archive.file("modules/order", listing.encode(), 0o644)
    archive.file("init", init.read_bytes(), 0o755)
    target.write_bytes(archive.end())


class _Archive:
    """A newc archive in the making; everything belongs to root and is as old as the epoch."""

    def __init__(self) -> None:
        self._data = bytearray()
        self._inode = 0

    def folder(self, path: str) -> None:
        self._add(path, stat.S_IFDIR | 0o755, b"")

    def file(self, path: str, data: bytes, mode: int) -> None:
        self._add(path, stat.S_IFREG | mode, data)

    def link(self, path: str, target: str) -> None:
        self._add(path, stat.S_IFLNK | 0o777, target.encode())

    def end(self) -> bytes:
        self._add("TRAILER!!!", 0, b"")
        return bytes(self._data)

    def _add(self, path: str, mode: int, data: bytes) -> None:
        self._inode += 1
        name = path.encode() + b"\0"
        fields = (self._inode, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name), 0)
        self._data += b"070701" + b"".join(b"%08x" % field for field in fields)
        for part in (name, data):
            self._data += part
            self._data += bytes(-len(self._data) % 4)
