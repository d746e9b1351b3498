"""Emulated routers: an image in QEMU, with a mgmt and a wan network, console, power and cable."""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
import re
import secrets
import shlex
import shutil
import subprocess
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar, Literal

from harness import image
from harness.child import Child
from harness.device import accel
from harness.device.base import Completed, Device
from harness.device.console import Console
from harness.device.qmp import Monitor
from harness.device.ssh import ClientKey, Ssh
from harness.errors import CommandError, HarnessError, InfrastructureError, MissingToolError
from harness.evidence.timeline import Timeline
from harness.fault.clock import Clock
from harness.fault.link import Link
from harness.fault.power import Power
from harness.image import cache

MEMORY_MIB = 256
BOOT_SECONDS = 120
"""Far above what a boot takes on two busy cores in software emulation (about 10 s)."""

ENDING_SECONDS = 1
"""From the moment that a QEMU which ends has closed its sockets to its end."""

WAN_HOST = "10.0.3.2"
"""What QEMU's user-mode network maps to the loopback of this machine."""


class QemuDevice(Device):
    """A router image on a machine of its own.

    @ivar console: its serial console.
    @ivar ssh_config: file for `ssh -F`, for people.
    """

    capabilities: ClassVar[frozenset[str]] = frozenset({"link", "power", "clock", "rootfs"})
    arch: ClassVar[str]
    console: Console

    config_home = PurePosixPath("/etc/paradrop")
    runtime_home = PurePosixPath("/var/run/paradrop")
    daemon_user = "paradrop"

    def __init__(self, folder: Path, timeline: Timeline) -> None:
        super().__init__(folder, timeline)
        self.image = image.build(self.arch)
        self._architecture = image.ARCHITECTURES[self.arch]
        self._program = self._architecture.qemu
        self._key = ClientKey.generate()
        self._disk = folder / "state.ext4"
        self._host_key = ""
        self._child: Child | None = None
        self._monitor: Monitor | None = None
        self._ssh: Ssh | None = None
        self._plugged = True
        self._boots = itertools.count(1)
        self.ssh_config = folder / "ssh_config"
        self.links = {"wan": Link(self.name, "wan", self._set_link, timeline)}
        self.power = Power(self.name, self.close, self._power_on, timeline)
        self.clock = Clock(self.name, self.succeed, timeline)

    # -- power

    def start(self) -> None:
        private, self._host_key = image.host_key()
        files = {
            image.HOST_KEY: image.StateFile(private, 0o600),
            image.AUTHORIZED_KEYS: image.StateFile(f"{self._key.public}\n".encode(), 0o600),
            "/etc/machine-id": image.StateFile(f"{secrets.token_hex(16)}\n".encode(), 0o444),
            "/etc/hostname": image.StateFile(f"{self.name.replace('_', '-')}\n".encode()),
        }
        for name, data in self.config.items():
            path = str(self.config_home / name)
            files[path] = image.StateFile(data, 0o600, self.daemon_user)
        image.state_disk(self._disk, files)
        self._power_on()

    @functools.cached_property
    def accelerator(self) -> accel.Accelerator:
        return accel.choose(
            self.arch, self._program, self.image.kernel, cache.folder() / "accelerators"
        )

    def _command(self, monitor: Monitor) -> list[str]:
        machine = self._architecture
        mac = secrets.token_bytes(2).hex(":")
        command = [self._program, "-machine", machine.machine, "-accel", self.accelerator.option]
        command += ["-cpu", "host" if self.accelerator.name == "kvm" else machine.cpu]
        command += ["-m", str(MEMORY_MIB), "-nodefaults", "-display", "none", "-no-user-config"]
        command += ["-kernel", str(self.image.kernel), "-initrd", str(self.image.initramfs)]
        command += ["-append", machine.kernel_arguments]
        for slot, (path, options) in enumerate(
            (
                (self.image.root, "readonly=on"),
                (self._disk, "readonly=off"),
                (self.image.library, "readonly=on"),
            ),
            start=4,
        ):
            disk = f"disk{slot}"
            command += ["-drive", f"if=none,id={disk},format=raw,{options},file={_escape(path)}"]
            command += ["-device", f"virtio-blk-pci,drive={disk},addr={slot:#x}"]
        command += [
            "-netdev",
            "user,id=mgmt,net=10.0.2.0/24,restrict=on,hostfwd=tcp:127.0.0.1:0-10.0.2.15:22",
        ]
        command += ["-device", f"virtio-net-pci,netdev=mgmt,addr=0x2,mac=52:54:00:02:{mac}"]
        command += ["-netdev", f"user,id=wan,net=10.0.3.0/24,host={WAN_HOST}"]
        command += ["-device", f"virtio-net-pci,netdev=wan,addr=0x3,mac=52:54:00:03:{mac}"]
        command += [
            "-object",
            f"filter-dump,id=wan-packets,netdev=wan,"
            f"file={_escape(self.folder / f'wan-{next(self._boots)}.pcap')}",
        ]
        command += ["-device", "virtio-rng-pci,addr=0x7"]
        command += [
            "-chardev",
            f"socket,id=console,path={_escape(self.folder / 'console.sock')},"
            f"server=on,wait=off,logfile={_escape(self.folder / 'console.log')},"
            "logappend=on",
            "-serial",
            "chardev:console",
        ]
        return command + monitor.option

    def _power_on(self) -> None:
        if shutil.which(self._program) is None:
            raise MissingToolError(self._program, self._architecture.qemu_package)
        monitor = Monitor(self.name, self.folder / "qmp.sock", self._on_event)
        self._monitor = monitor
        try:
            self._child = Child(self._command(monitor), self.folder / "qemu.log")
            self.timeline.record(self.name, "power on", pid=self._child.pid)
            self._boot(monitor)
        except HarnessError:
            self._autopsy()
            raise

    def _boot(self, monitor: Monitor) -> None:
        monitor.accept(timeout=30, check=self.check)
        if not self._plugged:
            self._set_link(False)
        self.console = Console(self.name, self.folder / "console.sock", self.folder / "console.log")
        self.console.wait_for(r"paradrop: router ready", BOOT_SECONDS)
        networks = monitor.human("info usernet")
        forwarded = re.search(r"HOST_FORWARD\]\s+\d+\s+127\.0\.0\.1\s+(\d+)", networks)
        if forwarded is None:
            raise InfrastructureError("QEMU forwards no port for mgmt", device=self.name)
        self._ssh = Ssh(self.name, int(forwarded[1]), self._key, self._host_key)
        self._write_ssh_config(self._ssh.port)
        self.timeline.record(self.name, "booted")

    def _on_event(self, event: dict[str, Any]) -> None:
        self.timeline.record(self.name, f"QMP {event['event']}", **event.get("data", {}))

    def close(self) -> None:
        if self._ssh is not None:
            self._ssh.close()
            self._ssh = None
        if self._child is not None:
            self._child.kill()
            self._child = None
        if self._monitor is not None:
            self._monitor.close()
            self._monitor = None
        if "console" in self.__dict__:
            self.console.close()

    def check(self) -> None:
        if self._child is not None and not self._child.running:
            status, stderr = self._child.returncode, self._child.tail()
            console = self.folder / "console.log"
            last = (
                console.read_text(errors="replace").splitlines()[-20:] if console.exists() else []
            )
            raise InfrastructureError(
                f"QEMU ended by itself, status {status}",
                device=self.name,
                evidence=f"{stderr}\n-- console --\n" + ("\n".join(last) or "printed nothing"),
            )

    def _autopsy(self) -> None:
        """Something failed: if that is because QEMU ended, say so instead."""
        if self._child is not None:
            with contextlib.suppress(InfrastructureError):
                self._child.wait(ENDING_SECONDS)
        self.check()

    # -- link

    def _set_link(self, up: bool) -> None:
        self._plugged = up  # also while it is powered off
        if self._monitor is not None:
            self._monitor.execute("set_link", {"name": "wan", "up": up})

    def access(self) -> dict[str, str]:
        return {
            "shell": f"ssh -F {self.ssh_config} router",
            "console": f"tail -f {self.folder / 'console.log'}",
        }

    def wan(self, port: int) -> tuple[str, int]:
        return WAN_HOST, port

    # -- mgmt

    def run(self, command: str, timeout: float = 60) -> Completed:
        return self._mgmt(command, timeout)

    def _mgmt(self, command: str, timeout: float = 60, stdin: bytes = b"") -> Completed:
        self.check()
        if self._ssh is None:
            raise InfrastructureError("is powered off", device=self.name)
        try:
            return self._ssh.run(command, timeout, stdin)
        except InfrastructureError:
            self._autopsy()
            raise

    def write(
        self,
        path: PurePosixPath | str,
        data: bytes,
        mode: int = 0o644,
        owner: str | None = None,
    ) -> None:
        target = shlex.quote(str(path))
        command = f"umask 077 && cat > {target} && chmod {mode:o} {target}"
        if owner is not None:
            command += f" && chown {owner}: {target}"
        done = self._mgmt(command, stdin=data)
        if done.status != 0:
            raise CommandError(
                f"can't write {path}", device=self.name, evidence=done.stderr.decode()
            )

    def read(self, path: PurePosixPath | str) -> bytes:
        done = self._mgmt(f"cat {shlex.quote(str(path))}")
        if done.status != 0:
            raise CommandError(
                f"can't read {path}", device=self.name, evidence=done.stderr.decode()
            )
        return done.stdout

    def daemon(self, action: Literal["start", "stop", "restart"]) -> None:
        self.succeed(f"/etc/init.d/paradrop {action}")

    def _write_ssh_config(self, port: int) -> None:
        key, known = self.folder / "ssh_key", self.folder / "known_hosts"
        host = f"[127.0.0.1]:{port} {self._host_key}\n".encode()
        for path, data in ((key, self._key.private), (known, host)):
            path.touch(mode=0o600)
            path.write_bytes(data)
        self.ssh_config.write_text(
            f"Host router\n  HostName 127.0.0.1\n  Port {port}\n  User root\n"
            f"  IdentityFile {key}\n  IdentitiesOnly yes\n  UserKnownHostsFile {known}\n"
            "  StrictHostKeyChecking yes\n"
        )

    # -- evidence

    def evidence(self) -> dict[str, str | Path]:
        files = {"console": self.folder / "console.log", "QEMU": self.folder / "qemu.log"}
        found: dict[str, str | Path] = {
            name: path.read_text(errors="replace") for name, path in files.items() if path.exists()
        }
        for packets in sorted(self.folder.glob("wan-*.pcap")):  # one a boot
            found[packets.stem] = packets
        if self._ssh is not None:
            try:
                found["daemon log"] = self.read(self.config_home / "logs" / "log").decode(
                    errors="replace"
                )
            except (InfrastructureError, CommandError) as error:
                found["daemon log"] = f"could not be read: {error}"
        return found

    def facts(self) -> dict[str, str]:
        version = subprocess.run([self._program, "--version"], capture_output=True, text=True)
        return {
            "QEMU": version.stdout.partition("\n")[0],
            "accelerator": f"{self.accelerator.option} ({self.accelerator.why})",
            "image": self.image.key,
            "kernel": self.image.manifest["kernel"],
            "library": self.image.manifest["library"]["sha256"],
        }


def _escape(path: Path) -> str:
    """A path as QEMU's option parser reads it back (a comma is doubled)."""
    return os.fspath(path).replace(",", ",,")


class QemuX86Device(QemuDevice):
    kind: ClassVar[str] = "qemu-x86_64"
    arch: ClassVar[str] = "x86_64"


class QemuArmDevice(QemuDevice):
    kind: ClassVar[str] = "qemu-aarch64"
    arch: ClassVar[str] = "aarch64"
