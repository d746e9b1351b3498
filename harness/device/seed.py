"""The machine that boots once, so that a golden state can be made of it."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from harness.device import accel, golden, machine, wan
from harness.device.accel import Accelerator
from harness.device.golden import Golden
from harness.device.machine import Memory
from harness.device.qmp import RefusedError
from harness.errors import BootError, CommandError
from harness.evidence.timeline import Timeline
from harness.image import Image, tools

if TYPE_CHECKING:
    from harness.device.qemu import QemuDevice

BAKED = frozenset({"settings.ini"})
"""Files of the configuration that the daemon reads when it starts: part of a golden state."""

REST_SECONDS = 300
"""From the end of the boot until the daemon has started and nothing is to be done: as armhf it
takes 36 s of CPU time, and several times that on a busy computer."""

_IDLE = (
    "while :; do set -- $(head -n 1 /proc/stat); idle=$5; sleep 0.5;"
    " set -- $(head -n 1 /proc/stat); test $(($5 - idle)) -lt 45 || exit 0; done"
)
"""Ends when the CPU was idle for nine tenths of half a second; proc(5), in 1/100 s."""

_READ = "cat $(sed -n 's:.* /:/:p' /proc/$(cat {pid})/maps | sort -u) >/dev/null"
"""Has all of the daemon's libraries in memory, also what it needs only when it joins."""


_USE = "stat -Lc %U /etc/paradrop"
"""Has in memory what tests begin with."""


def find(device: QemuDevice, progress: Callable[[str], None]) -> Golden:
    """The golden state that a device starts from; made if there is none.

    @param progress: called with a line whenever something takes time.
    @raise BootError: the machine does not come up, or not to rest.
    @raise ImageError: the state can't be kept.
    """
    baked = {name: device.config[name] for name in sorted(BAKED & device.config.keys())}
    qemu = device.find_qemu()

    def known(with_ram: bool) -> list[str]:
        return facts(device.image, device.accelerator, qemu, baked, with_ram=with_ram)

    def make(state: Golden) -> None:
        with tempfile.TemporaryDirectory(prefix="hil-") as name:
            timeline = Timeline(Path(name) / "timeline.jsonl")
            seed = type(device)(Path(name), timeline)
            seed.config = baked
            seed.port = wan.UNPLUGGED
            try:
                seed.boot(None if state.with_ram else Memory(state.ram, shared=True))
                _save(seed, state)
            finally:
                seed.close()
                timeline.close()

    def found(with_ram: bool) -> Golden:
        return golden.find(device.arch, known(with_ram), make, progress, with_ram=with_ram)

    if golden.place(device.arch, known(with_ram=True)).is_dir():  # so the other way was refused
        return found(with_ram=True)
    try:
        return found(with_ram=False)
    except RefusedError:  # the capability is experimental; see `Machine.save`
        progress(
            f"{device.arch}: this QEMU can't leave RAM out of a state: it is saved with its RAM"
        )
        return found(with_ram=True)


def facts(
    image: Image,
    accelerator: Accelerator,
    qemu: str,
    baked: Mapping[str, bytes],
    *,
    with_ram: bool = False,
) -> list[str]:
    """What decides how a golden state looks, beside the code.

    @param qemu: path of the program. @param baked: files of the configuration.
    """
    nowhere = Path("/nowhere")
    memory = None if with_ram else Memory(nowhere, False)
    words = machine.command(
        *(image, accelerator, nowhere, nowhere, [b"", b""]), wan.UNPLUGGED.netdev, memory
    )
    found = [image.key, tools.version(qemu), *words, repr(baked)]
    if accelerator.name == "kvm":  # whose guest sees this processor
        found.append(accel.processor())
    return found


def _save(seed: QemuDevice, state: Golden) -> None:
    """Have everything loaded and nothing to do, and leave all of that in files."""
    try:
        seed.wait_blank(REST_SECONDS)
        seed.be_itself()
        seed.succeed(_READ.format(pid=seed.runtime_home / "paradropd.pid"))
        seed.succeed(_USE)
        seed.succeed(_IDLE, REST_SECONDS)
    except CommandError as error:
        raise BootError(str(error), device=seed.name, evidence=error.evidence) from error
    seed.on.save(state.state, with_ram=state.with_ram)
    seed.power.cut()
    golden.copy_disk(seed.disk, state.disk)
    shutil.copyfile(seed.folder / "console.log", state.console)
