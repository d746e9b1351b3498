"""A router as a user of labgrid has it: QEMUDriver boots it, SSHDriver asks it.

It is the same image on the same emulated machine, its state disk made beforehand, and thrown back
to that by each power off (QEMU's `snapshot=on`), which costs nothing.
"""

from __future__ import annotations

import shlex
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from labgrid import Environment
from labgrid.util.helper import get_free_port

from harness import image
from harness.bench import Bench
from harness.device import machine, wan
from harness.device.qemu import BOOT_SECONDS, QemuDevice
from harness.image import tools

OWN = ("-machine", "-cpu", "-m", "-kernel", "-append", "-serial", "-display")
"""Options of QEMU for which QEMUDriver has its own words, each with a value."""


class LabgridRouter:
    """One target of labgrid, configured once and powered on as often as wanted."""

    def __init__(self, config: Path, ssh_port: int) -> None:
        self._target = Environment(str(config)).get_target("router")
        self._ssh_port = ssh_port
        self._ssh = self._target.get_driver("SSHDriver", activate=False)
        self._qemu = self._target.get_driver("QEMUDriver")
        self._forwarded = False

    def seconds_until(self, command: str, answer: str) -> float:
        """From asking for the router to the answer to a first command; it is off afterwards."""
        began = time.perf_counter()
        try:
            self._qemu.on()
            if not self._forwarded:  # afterwards, the driver does it
                forward = ("127.0.0.1", self._ssh_port, "10.0.2.15", 22)
                self._qemu.add_port_forward("tcp", *forward, netdev="mgmt")
                self._forwarded = True
            # to try SSH again and again would be later: the driver waits 0.5 s between two tries
            self._qemu.expect("paradrop: router ready", timeout=BOOT_SECONDS)
            self._target.activate(self._ssh)
            said = self._ssh.run_check(command)
            took = time.perf_counter() - began
        finally:
            self._target.deactivate(self._ssh)
            self._qemu.off()
        if said != [answer]:
            raise AssertionError(f"`{command}` said {said} instead of {answer}")
        return took

    def close(self) -> None:
        self._target.cleanup()


@contextmanager
def labgrid_router(bench: Bench, kind: str) -> Iterator[LabgridRouter]:
    """A router of a kind, ready to be powered on; it ends with the block."""
    device = bench.new(kind)  # is never started: for what it knows and would write
    assert isinstance(device, QemuDevice)
    image.state_disk(device.disk, device.files())
    port = get_free_port()
    config = device.folder / "labgrid.yaml"
    config.write_text(yaml.safe_dump(_config(device, port)))
    router = LabgridRouter(config, port)
    try:
        yield router
    finally:
        router.close()


def _config(device: QemuDevice, port: int) -> dict[str, Any]:
    """An environment of labgrid, as its file says it."""
    folder, disk, architecture = device.folder, device.disk, device.image.architecture
    keyfile = folder / "key"
    keyfile.touch(mode=0o600)
    keyfile.write_bytes(device.key.private)
    addresses = [bytes((0x52, 0x54, 0, number, 0, 1)) for number in (2, 3)]
    program, *words = machine.command(
        *(device.image, device.accelerator, folder, disk, addresses), wan.ALONE.netdev
    )
    words = [f"{word},snapshot=on" if f"file={disk}" in word else word for word in words]
    given, rest = split(words)
    qemu = folder / "qemu"  # which ends with us, as ours do, whatever becomes of the driver
    found = tools.find(program, architecture.qemu_package)
    qemu.write_text(f'#!/bin/sh\nexec setpriv --pdeathsig KILL -- {found} "$@"\n')
    qemu.chmod(0o755)
    driver = {
        "qemu_bin": "qemu",
        "machine": given["-machine"],
        "cpu": given["-cpu"],
        "memory": f"{given['-m']}M",
        "kernel": "kernel",
        "boot_args": given["-append"],
        "extra_args": shlex.join(rest),
    }
    service = {"address": "127.0.0.1", "port": port, "username": "root"}
    drivers = {"QEMUDriver": driver, "SSHDriver": {"keyfile": str(keyfile)}}
    return {
        "targets": {"router": {"resources": {"NetworkService": service}, "drivers": drivers}},
        "images": {"kernel": given["-kernel"]},
        "tools": {"qemu": str(qemu)},
    }


def split(words: list[str]) -> tuple[dict[str, str], list[str]]:
    """@return: the values of the options that are `OWN`, and all that is left of the words."""
    given: dict[str, str] = {}
    rest = []
    left = iter(words)
    for word in left:
        if word in OWN:
            given[word] = next(left)
        else:
            rest.append(word)
    return given, rest
