"""The kinds of device that suites run on, a module each; none knows another.

A kind is a class derived from `harness.device.base.Device` and an entry in `KINDS`.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path, PurePath
from types import MappingProxyType

from harness.device.base import CAPABILITIES, Device
from harness.errors import UsageError
from harness.evidence.timeline import Timeline

__all__ = ["CAPABILITIES", "KINDS", "Device", "create", "kind_class", "label", "split"]

KINDS: Mapping[str, str] = MappingProxyType(
    {
        "process": "harness.device.process:ProcessDevice",
        "qemu-x86_64": "harness.device.qemu:QemuX86Device",
        "qemu-aarch64": "harness.device.qemu:QemuArmDevice",
        "qemu-armhf": "harness.device.qemu:QemuArmhfDevice",
        "vagrant": "harness.device.vagrant:VagrantDevice",
        "labgrid": "harness.device.labgrid:LabgridDevice",
        "file": "harness.device.file:FileDevice",
    }
)


def split(kind: str) -> tuple[str, str]:
    """What `--device` takes: the name of a kind, and which one of it if there is a colon."""
    name, _, argument = kind.partition(":")
    return name, argument


def label(kind: str) -> str:
    """The same without the folders of a file that it names."""
    name, argument = split(kind)
    return f"{name}:{PurePath(argument).name}" if argument else name


def kind_class(kind: str) -> type[Device]:
    """The class of a kind of device.

    @raise UsageError: there is no such kind, or nothing follows its colon.
    """
    name, argument = split(kind)
    if kind.endswith(":") and not argument:
        raise UsageError(f"{kind!r}: nothing follows the colon")
    try:
        module, _, name = KINDS[name].partition(":")
    except KeyError:
        raise UsageError(
            f"no device of kind {name!r}", hint=f"there are: {', '.join(KINDS)}"
        ) from None
    found: type[Device] = getattr(importlib.import_module(module), name)
    return found


def create(kind: str, folder: Path, timeline: Timeline) -> Device:
    """A new device of its own identity, not started yet.

    @param folder: where everything it leaves is kept; made here.
    """
    folder.mkdir(mode=0o700, parents=True)
    return kind_class(kind)(folder, timeline, split(kind)[1])
