"""Emulated routers: an image in QEMU, with a mgmt and a wan network, console, power and cable."""

from __future__ import annotations

import functools
import itertools
import logging
import secrets
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

from harness import image
from harness.device import accel, golden, machine, seed, ssh, wan
from harness.device.agent import Agent
from harness.device.base import Completed, Device, Snapshot
from harness.device.emulated import EmulatedDevice
from harness.device.golden import Golden
from harness.device.machine import Machine, Memory
from harness.device.memory import room
from harness.device.own_image import OwnImageDevice
from harness.device.wan import Wan
from harness.errors import InfrastructureError
from harness.evidence.timeline import Timeline
from harness.image import ARCHITECTURES, OWNERS, StateFile, cache, tools
from harness.image.digest import sha256

BOOT_SECONDS = 120
"""Far above what a boot takes on two busy cores in software emulation (about 10 s)."""

GIVEN = frozenset({"ca.pem"})
"""Those that it reads when it connects: a clone is given its own."""

_build = functools.cache(image.build)
"""An image is looked at once a run."""


class QemuDevice(OwnImageDevice, EmulatedDevice):
    """A router image on a machine of its own, as fresh as after its first boot.

    @ivar disk: its state disk, while it has been started.
    @ivar key: what opens its SSH, for people.
    @ivar port: where the cable of wan leads to.
    """

    capabilities: ClassVar[frozenset[str]] = frozenset(
        {"clock", "freeze", "link", "power", "reboot", "rootfs", "several", "snapshot"}
    )
    memory: int = (machine.MEMORY_MIB + machine.TRANSLATED_MIB + 32) << 20  # QEMU itself
    arch: ClassVar[str]

    def __init__(self, folder: Path, timeline: Timeline, argument: str = "") -> None:
        super().__init__(folder, timeline, argument)
        self.image = _build(self.arch)
        self.key = ssh.ClientKey.generate()
        self.disk = folder / "state.ext4"
        self._host_key = ""
        self._golden: Golden | None = None
        self._wan: Wan | None = None
        self.port = wan.ALONE
        self._snapshots = itertools.count(1)

    @classmethod
    def check_host(cls, argument: str) -> None:
        super().check_host(argument)
        architecture = ARCHITECTURES[cls.arch]
        tools.find(architecture.qemu, architecture.qemu_package)

    # -- the first start

    def start(self) -> None:
        """From the golden state; by a boot where a configuration is wanted that none has."""
        if self.config.keys() <= seed.BAKED | GIVEN:
            self._clone(self.golden())
        else:
            self.boot()

    def prepare(self, progress: Callable[[str], None]) -> None:
        self.golden(progress)

    def boot(self, memory: Memory | None = None) -> None:
        """Power it on for the first time, with an empty past. @raise BootError: see `start`."""
        image.state_disk(self.disk, self.files())
        self._power_on(memory)

    def golden(self, progress: Callable[[str], None] | None = None) -> Golden:
        """The golden state that it starts from; made if there is none."""
        return seed.find(self, progress or logging.getLogger("harness").info)

    def _clone(self, state: Golden) -> None:
        golden.copy_disk(state.disk, self.disk)
        shutil.copyfile(state.console, self.folder / "console.log")
        self._golden = state
        memory = None if state.with_ram else Memory(state.ram, shared=False)
        running = self._start_machine(memory, restored=True)
        self._watched(lambda: running.load(state.state, with_ram=state.with_ram))
        running.resume()
        self.be_itself()
        self.timeline.record(self.name, "restored", golden=state.key)

    def be_itself(self) -> None:
        """Nothing of a clone is another's: time, chance, name, addresses, keys."""
        agent = self.agent
        agent.become(self._hostname, self._addresses)
        agent.write(
            *(
                (path, file.mode, OWNERS[file.owner], file.data)
                for path, file in self.files().items()
                if Path(path).name not in seed.BAKED
            )
        )
        agent.sync()
        if self.port is not wan.ALONE:
            renumber = f"ip address flush dev eth1; ip address add {self.port.address}/24 dev eth1"
            self.succeed(renumber)

    # -- snapshots

    def snapshot(self) -> Snapshot:
        self.demand("snapshot")
        folder = self.folder / f"snapshot-{next(self._snapshots)}"
        folder.mkdir(mode=0o700)
        state, disk = folder / "state", folder / "disk"
        running = self.on
        running.save(state, with_ram=True)
        try:
            golden.copy_disk(self.disk, disk)
        except OSError as error:
            why = f"the disk can't be copied to {disk}: {error}"
            raise InfrastructureError(why, device=self.name) from error
        finally:
            running.resume()
        self.timeline.record(self.name, "snapshot", name=folder.name)
        return Snapshot(state, disk, self._plugged, sha256(state))

    def restore(self, snapshot: Snapshot) -> None:
        self.demand("snapshot")
        if not snapshot.state.exists() or sha256(snapshot.state) != snapshot.digest:
            raise InfrastructureError(
                f"{snapshot.state.parent.name} is damaged: {snapshot.state} has changed or is gone",
                device=self.name,
            )
        self._power_off()
        self.disk.unlink()
        running = self._loaded(snapshot)
        self._set_link(snapshot.plugged)
        running.resume()
        running.agent.become(self._hostname, self._addresses)
        self.timeline.record(self.name, "restored", name=snapshot.state.parent.name)

    def fork(self, count: int) -> list[Device]:
        taken = self.snapshot()
        try:
            return [self._fork(taken) for _ in range(count)]
        finally:
            shutil.rmtree(taken.state.parent)

    def _fork(self, origin: Snapshot) -> Device:
        folder = self.folder.with_name(f"{self.folder.name}-fork-{len(self.forks) + 1}")
        folder.mkdir(mode=0o700)
        fork = type(self)(folder, self.timeline)
        fork.config = dict(self.config)
        if self._wan is not None:
            fork.share(self._wan)
        self.forks.append(fork)
        shutil.copyfile(self.folder / "console.log", folder / "console.log")
        fork.give_up, fork.asked = self.give_up, self.asked
        with room(fork.name, fork.memory, give_up=fork.give_up):
            running = fork._loaded(origin)
        fork._set_link(False)  # until it is another: two with one identity would not do
        running.resume()
        fork.be_itself()
        if fork.run(f"kill -0 $(cat {self.runtime_home}/paradropd.pid)").status == 0:
            fork.forget()
        else:
            fork.erase_identity()
        fork._set_link(origin.plugged)
        self.timeline.record(fork.name, "forked", origin=self.name)
        return fork

    def _loaded(self, snapshot: Snapshot) -> Machine:
        """A machine that stands still in the state of a snapshot."""
        golden.copy_disk(snapshot.disk, self.disk)
        running = self._start_machine(None, restored=True)
        self._watched(lambda: running.load(snapshot.state, with_ram=True))
        return running

    @property
    def _hostname(self) -> str:
        return self.name.replace("_", "-")

    def files(self) -> dict[str, StateFile]:
        """What this router has and no other."""
        private, self._host_key = image.host_key()
        files = {
            image.HOST_KEY: StateFile(private, 0o600),
            image.AUTHORIZED_KEYS: StateFile(f"{self.key.public}\n".encode(), 0o600),
            "/etc/machine-id": StateFile(f"{secrets.token_hex(16)}\n".encode(), 0o444),
            "/etc/hostname": StateFile(f"{self._hostname}\n".encode()),
            "/etc/wan_address": StateFile(f"{self.port.address}\n".encode()),
        }
        for name, data in self.config.items():
            files[str(self.config_home / name)] = StateFile(data, 0o600, self.daemon_user)
        return files

    # -- power

    @functools.cached_property
    def accelerator(self) -> accel.Accelerator:
        folder = cache.folder() / "accelerators"
        return accel.choose(self.arch, self.find_qemu(), self.image.kernel, folder)

    def find_qemu(self) -> str:
        """The path of its QEMU. @raise MissingToolError: there is none."""
        return tools.find(self.image.architecture.qemu, self.image.architecture.qemu_package)

    def _start_machine(self, memory: Memory | None, *, restored: bool = False) -> Machine:
        self.find_qemu()
        packets = f"wan-{next(self._boots)}.pcap"
        words = machine.command(
            *(self.image, self.accelerator, self.folder, self.disk, self._addresses),
            *(self.port.netdev, memory, packets, restored),
        )
        self._machine = starting = Machine(self.name, self.folder, self.timeline, self._past)
        self._watched(lambda: starting.start(words))
        return starting

    def _power_on(self, memory: Memory | None = None) -> None:
        running = self._start_machine(memory)
        if not self._plugged:
            self._watched(lambda: running.set_link("wan", False))
        self._watched(self._wait_booted)

    def _wait_booted(self) -> None:
        running = self.on
        self.console.wait_for(
            r"paradrop: router ready", BOOT_SECONDS, running.printed_before, self._check_boot
        )
        running.agent.run("true", BOOT_SECONDS)  # init starts it last
        self.timeline.record(self.name, "booted")

    def close(self) -> None:
        for fork in self.forks:
            fork.close()
        self._power_off()
        if self._wan is not None:
            self._wan.unplug(self.port)
            self._wan = None

    # -- link

    def share(self, network: Wan) -> None:
        self._wan, self.port = network, network.plug()

    @property
    def wan_address(self) -> str:
        return self.port.address

    # -- mgmt

    @property
    def agent(self) -> Agent:
        return self.on.agent

    def run(self, command: str, timeout: float = 60) -> Completed:
        return self.agent.run(command, timeout)

    def adopt(self, pdid: str, router: str, token: str) -> None:
        owner = OWNERS[self.daemon_user]
        if self._golden is None:  # it may have booted only now, and its daemon writes them first
            self.wait_until_succeeds(f"test -s {self.config_home}/config", BOOT_SECONDS)
        self.agent.write(
            *(
                (str(path), mode, owner, data)
                for path, mode, data in self.identity_files(pdid, router, token)
            )
        )
        self.agent.sync()
        self.reload()

    def access(self) -> dict[str, str]:
        config = ssh.write_config(self.folder, self.on.ssh_port(), self.key, self._host_key)
        return {
            "shell": f"ssh -F {config} router",
            "console": f"tail -f {self.folder / 'console.log'}",
        }

    # -- evidence

    def facts(self) -> dict[str, str]:
        facts = {
            "architecture": self.arch,
            "QEMU": tools.version(self.find_qemu()),
            "accelerator": f"{self.accelerator.name} ({self.accelerator.why})",
            "image": self.image.key,
            "kernel": self.image.manifest["kernel"],
            "library": self.image.manifest["library"]["sha256"],
        }
        return facts if self._golden is None else facts | {"golden state": self._golden.key}


class QemuX86Device(QemuDevice):
    kind: ClassVar[str] = "qemu-x86_64"
    arch: ClassVar[str] = "x86_64"


class QemuArmDevice(QemuDevice):
    kind: ClassVar[str] = "qemu-aarch64"
    arch: ClassVar[str] = "aarch64"


class QemuArmhfDevice(QemuDevice):
    kind: ClassVar[str] = "qemu-armhf"
    arch: ClassVar[str] = "armhf"
