"""A router as a user of labgrid has it: QEMUDriver boots it, SSHDriver asks it.

It is the same image on the same emulated machine, its state disk made beforehand, and thrown back
to that by each power off (QEMU's `snapshot=on`), which costs nothing.
"""

from __future__ import annotations

import secrets
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
from harness.bench import Bench, settings
from harness.device import create, machine, ssh, wan
from harness.device.qemu import BOOT_SECONDS, QemuDevice
from harness.image import StateFile, tools

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
    folder = bench.folder / f"labgrid-{kind}"
    device = create(kind, folder, bench.timeline)  # for what it knows of image and accelerator
    assert isinstance(device, QemuDevice)
    key = ssh.ClientKey.generate()
    disk = image.state_disk(folder / "state.ext4", _files(bench, device, key))
    port = get_free_port()
    config = folder / "labgrid.yaml"
    config.write_text(yaml.safe_dump(_config(device, disk, key, port)))
    router = LabgridRouter(config, port)
    try:
        yield router
    finally:
        router.close()


def _files(bench: Bench, device: QemuDevice, key: ssh.ClientKey) -> dict[str, StateFile]:
    private, _ = image.host_key()
    files = {
        image.HOST_KEY: StateFile(private, 0o600),
        image.AUTHORIZED_KEYS: StateFile(f"{key.public}\n".encode(), 0o600),
        "/etc/machine-id": StateFile(f"{secrets.token_hex(16)}\n".encode(), 0o444),
        "/etc/hostname": StateFile(b"router\n"),
        "/etc/wan_address": StateFile(f"{wan.ALONE.address}\n".encode()),
    }
    for name, data in (("ca.pem", bench.node.ca_pem), ("settings.ini", settings(device))):
        path = f"{image.CONFIGURATION_HOME}/{name}"
        files[path] = StateFile(data, 0o600, device.daemon_user)
    return files


def _config(device: QemuDevice, disk: Path, key: ssh.ClientKey, port: int) -> dict[str, Any]:
    """An environment of labgrid, as its file says it."""
    folder, architecture = device.folder, device.image.architecture
    keyfile = folder / "key"
    keyfile.touch(mode=0o600)
    keyfile.write_bytes(key.private)
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
