"""Vagrant boxes: a router image in the form that Vagrant and its provider libvirt take.

A box is a tar file (vagrant-libvirt's "box format"). There is no secret in it: every machine that
is made of it gets its keys then, from the box's Vagrantfile.

================  =================================================================
metadata.json     what the provider asks for
Vagrantfile       the box's own configuration: machine, cards, disks, keys
router.json       what of that differs between architectures
box.img           an empty disk: the provider insists on one of its own
kernel            as in the image, like the following
initramfs
root.squashfs
library.squashfs
state.qcow2       the state disk, with empty files where a router's own ones will be
================  =================================================================
"""

from __future__ import annotations

import json
import logging
import tarfile
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from harness.image import cache, digest, tools
from harness.image.architecture import Architecture
from harness.image.build import Image, build
from harness.image.state import AUTHORIZED_KEYS, HOST_KEY, StateFile, state_disk

MEMORY_MIB = 256

FILE = "router.box"

_VAGRANTFILE = Path(__file__).with_name("box") / "Vagrantfile"

_OWN = {
    HOST_KEY: StateFile(b"", 0o600),
    AUTHORIZED_KEYS: StateFile(b"", 0o600),
    "/etc/machine-id": StateFile(b"", 0o444),
    "/etc/hostname": StateFile(b""),
}
"""What the box's Vagrantfile writes on each machine's disk."""

_ARGUMENTS = {"x86_64": " no_timer_check"}
"""More for the kernel, which panics if an emulated CPU has too little time for the timer's test."""

_FEATURES = {"x86_64": ["acpi", "apic"]}
"""Of libvirt's machines. Those are the provider's default, and refused where there are none."""


@dataclass(frozen=True)
class Box:
    """A box on disk. @param name: what Vagrant knows it by. @param file: what it adds."""

    arch: str
    name: str
    file: Path
    key: str
    image: Image


def name(arch: str) -> str:
    """What Vagrant knows the box of an architecture by."""
    return f"paradrop/router-{arch}"


def box(
    arch: str, *, progress: Callable[[str], None] | None = None, project: Path | None = None
) -> Box:
    """The box of an architecture, from the cache where its image has not changed.

    @param progress, project: see `harness.image.build`.
    @raise ImageError, MissingToolError: likewise.
    """
    say = progress or logging.getLogger("harness").info
    image = build(arch, progress=say, project=project)
    key = key_of(image)

    def make(folder: Path) -> cache.Manifest:
        say(f"{arch}: packing the box")
        _pack(image, folder / FILE)
        return {"architecture": arch, "key": key}

    folder, _ = cache.entry(f"box-{arch}-{key[:16]}", make, say)
    return Box(arch, name(arch), folder / FILE, key, image)


def key_of(image: Image) -> str:
    """A hash of everything that decides what is in the box of an image."""
    return digest.key(
        code=digest.code(digest.IMAGE),
        vagrantfile=digest.tree(_VAGRANTFILE),
        image=image.key,
        router=_router(image.architecture),
    )


def _pack(image: Image, target: Path) -> None:
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".box-") as name:
        scratch = Path(name)
        empty, raw, disk = scratch / "box.img", scratch / "state", scratch / "state.qcow2"
        _qemu_img("create", "-q", "-f", "qcow2", empty, "1M")
        state_disk(raw, _OWN)
        _qemu_img("convert", "-O", "qcow2", raw, disk)
        router, metadata = scratch / "router.json", scratch / "metadata.json"
        router.write_text(json.dumps(_router(image.architecture), indent=2) + "\n")
        metadata.write_text('{"provider": "libvirt", "format": "qcow2", "virtual_size": 1}\n')
        files = (metadata, _VAGRANTFILE, router, empty, disk)
        parts = (image.kernel, image.initramfs, image.root, image.library)
        with tarfile.open(target, "w") as archive:
            for path in (*files, *parts):
                archive.add(path, path.name, filter=_anonymous)


def _router(machine: Architecture) -> dict[str, object]:
    return {
        "arch": machine.name,
        "machine": machine.machine,
        "cpu": machine.cpu,
        "features": _FEATURES.get(machine.name, []),
        "memory": MEMORY_MIB,
        "kernel_arguments": machine.kernel_arguments + _ARGUMENTS.get(machine.name, ""),
    }


def _anonymous(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.uname = member.gname = "root"
    member.mode = 0o644
    return member


def _qemu_img(*words: str | Path) -> None:
    tools.run(["qemu-img", *words], "qemu-utils", purpose="making a disk of the box")
