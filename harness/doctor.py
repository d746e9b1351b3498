"""What there is for a qualification, what is missing, and what to do about it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from harness import image
from harness.bench import settings
from harness.device import Device, accel, golden, kind_class, memory, seed, split
from harness.errors import HarnessError, UsageError
from harness.image import ARCHITECTURES, Image, cache, tools
from harness.image.listing import cached
from harness.node import crossbar

RUN_NEEDS = {"setpriv": "util-linux", "mke2fs": "e2fsprogs", "debugfs": "e2fsprogs"}
"""Programs of a run, each with its Debian package, beside QEMU and crossbar."""

BUILD_NEEDS = {"mmdebstrap": "mmdebstrap", "mksquashfs": "squashfs-tools", "depmod": "kmod"}
"""Those that build an image."""

BUILD_BYTES = 1 << 30
"""Of disk, while an image is built: its packages, unpacked, and what becomes of them."""


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    @param what: its name. @param says: how it is, in one line.
    @param good: False if no qualification is possible like that.
    @param advice: what can be done, in one line. @param data: the same for machines.
    """

    what: str
    says: str
    good: bool = True
    advice: str = ""
    data: Mapping[str, object] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.says} ({self.advice})" if self.advice else self.says


def examine(kinds: Sequence[str]) -> list[Finding]:
    """Look at everything that these kinds of device need; nothing is built or changed.

    A guest is started for a moment if it is not known yet whether the hardware runs one, and an
    image that somebody brings is booted if it is not known yet what is in the daemon's way there.

    @raise UsageError: there is no such kind, or its argument is wrong.
    """
    classes = [kind_class(kind) for kind in kinds]
    emulated = [_Emulated(kind) for kind in classes if getattr(kind, "arch", None)]
    findings = [finding for each in emulated for finding in each.findings()]
    building = any(each.image is None for each in emulated)
    room = sum(each.room for each in emulated)
    findings += [_other(kind) for kind in kinds if getattr(kind_class(kind), "arch", None) is None]
    return [*findings, *_programs(building), _memory(classes), _kvm(), _disk(room), _cache()]


def _other(kind: str) -> Finding:
    """Whether there can be a device of a kind that is not one of our images in QEMU."""
    try:
        kind_class(kind).check_host(split(kind)[1])
    except UsageError:
        raise
    except HarnessError as error:
        return Finding(kind, error.what, False, error.hint)
    return Finding(kind, "can be had")


class _Emulated:
    """What belongs to an architecture.

    @ivar image: known after `findings`. @ivar room: bytes of disk still to be taken; likewise.
    """

    def __init__(self, kind: type[Device]) -> None:
        self._kind = kind
        self._arch: str = kind.arch  # type: ignore[attr-defined]
        self.image: Image | None = None
        self.room = 0

    def findings(self) -> list[Finding]:
        machine, found = ARCHITECTURES[self._arch], []
        try:
            qemu = tools.find(machine.qemu, machine.qemu_package)
            found.append(self._finding("QEMU", tools.version(qemu), path=qemu))
        except HarnessError as error:
            qemu = ""
            found.append(self._finding("QEMU", error.what, good=False, advice=error.hint))
        try:
            self.image = image.find(self._arch)
        except HarnessError as error:
            return [*found, self._finding("image", error.what, good=False, advice=error.hint)]
        if self.image is None:
            self.room += BUILD_BYTES
            found.append(
                self._finding("image", "none is current: the next run builds it", current=False)
            )
        else:
            name = self.image.folder
            found.append(self._finding("image", f"{name.name} is current", folder=str(name)))
        return [*found, *self._states(qemu)]

    def _states(self, qemu: str) -> list[Finding]:
        if not qemu:
            return []
        folder = cache.folder() / "accelerators"
        kernel = None if self.image is None else self.image.kernel
        chosen = accel.choose(self._arch, qemu, kernel, folder)
        again = f"remove {folder} to have it tried again" if "runs no guest" in chosen.why else ""
        found = [self._finding("accelerator", chosen.why, advice=again, accelerator=chosen.name)]
        states: list[Path] = []
        if self.image is not None:
            baked = {"settings.ini": settings(self._kind)}
            for with_ram in (False, True):
                facts = seed.facts(self.image, chosen, qemu, baked, with_ram=with_ram)
                states.append(golden.place(self._arch, facts))
        states = [path for path in states if path.is_dir()]
        if states:
            says, folder = f"{states[0].name} is current", states[0]
            return [*found, self._finding("golden state", says, folder=str(folder), current=True)]
        self.room += golden.NEEDS
        says = "none is current: the next run makes it, which takes a boot"
        return [*found, self._finding("golden state", says, current=False)]

    def _finding(
        self, what: str, says: str, good: bool = True, advice: str = "", **data: object
    ) -> Finding:
        return Finding(f"{what} for {self._arch}", says, good, advice, data)


def _programs(building: bool) -> list[Finding]:
    needs = RUN_NEEDS | (BUILD_NEEDS if building else {})
    steps: list[Callable[[], object]] = [crossbar.find]
    steps += [partial(tools.find, *each) for each in needs.items()]
    missing = []
    for step in steps:
        try:
            step()
        except HarnessError as error:
            missing.append(Finding("programs", error.what, False, error.hint))
    return missing or [Finding("programs", f"crossbar, {', '.join(needs)}")]


def _memory(kinds: Sequence[type[Device]]) -> Finding:
    free, needs = memory.available(), max(kind.memory for kind in kinds)
    count, why = memory.workers(len(os.sched_getaffinity(0)), free)
    says = f"{free >> 20} MiB are free, a router needs {needs >> 20}; "
    says += f"{count} worker{'s' * (count > 1)}: {why}"
    good = free >= needs
    advice = "" if good else "end something, or use a computer with more memory"
    return Finding("memory", says, good, advice, {"free": free, "needs": needs, "workers": count})


def _kvm() -> Finding:
    what = str(accel.KVM)
    if accel.opens():
        return Finding(what, "can be opened", data={"access": True})
    says = "can't be opened" if accel.KVM.exists() else "is not there"
    advice = "without it, routers are slower: the group kvm, or a container's --device /dev/kvm"
    return Finding(what, says, advice=advice, data={"access": False})


def _disk(needs: int) -> Finding:
    home = cache.folder()
    there = next(path for path in (home, *home.parents) if path.exists())
    advice = "make room, or point XDG_CACHE_HOME elsewhere"
    if not there.is_dir() or not os.access(there, os.W_OK):
        return Finding("disk", f"{there} can't be written", False, advice)
    free = shutil.disk_usage(there).free
    good = free >= needs
    says = f"{free >> 20} MiB are free at {home}, {needs >> 20} are needed"
    return Finding("disk", says, good, "" if good else advice, {"free": free, "needs": needs})


def _cache() -> Finding:
    found = cached()
    images, states = (sum(each.what == what for each in found) for what in ("image", "golden"))
    size = sum(cache.allocated(cache.folder()).values())
    says = f"{images} images and {states} golden states, {size >> 20} MiB"
    data = {"images": images, "golden states": states, "bytes": size}
    return Finding("cache", says, advice="", data=data)
