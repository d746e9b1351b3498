"""A router that Vagrant brings up from a box of our image, in a libvirt of its own."""

from __future__ import annotations

import functools
import itertools
import json
import logging
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

from harness.device import ssh, wan
from harness.device.agent import Agent
from harness.device.base import Completed
from harness.device.boots import Boots
from harness.device.carrier import carrier
from harness.device.console import Console, watch
from harness.device.own_image import OwnImageDevice
from harness.device.qmp import escape
from harness.device.vagrant import session
from harness.device.vagrant.session import Session
from harness.errors import BootError, DeviceError, InfrastructureError, UsageError
from harness.evidence.timeline import Timeline
from harness.image import ARCHITECTURES, tools
from harness.image.box import MEMORY_MIB, Box, box
from harness.machine.functions import (
    CableFunctions,
    PauseFunctions,
    RebootFunctions,
    SupplyFunctions,
)

DEFAULT = "x86_64"
KNOWN = (DEFAULT, "aarch64")
"""Architectures that the Vagrantfile names."""

UP_SECONDS = 300
"""From nothing to SSH: the box is unpacked, and the router boots; some 25 s where nothing else
runs."""

BOOT_SECONDS = 120

_box = functools.cache(box)
"""A box is looked at once a run."""

_VAGRANTFILE = """\
Vagrant.configure("2") do |config|
  config.vm.box = {box}
  config.vm.box_url = {url}
  config.vm.box_check_update = false
  config.vm.boot_timeout = {seconds}
  config.vm.provider :libvirt do |libvirt|
    libvirt.qemu_use_session = true
    libvirt.uri = libvirt.system_uri = "qemu:///session"
    {words}.each {{ |word| libvirt.qemuargs(value: word) }}
  end
end
"""
"""A JSON string or list is one of Ruby, too, as long as it has no `#`."""


class VagrantDevice(OwnImageDevice):
    """The one machine of a Vagrantfile that is written for it; beside what the box gives to
    everybody, it has an agent, a console that is read, and a record of the packets of wan.

    @param argument: its architecture.
    """

    kind: ClassVar[str] = "vagrant"
    capabilities: ClassVar[frozenset[str]] = frozenset(
        {"clock", "freeze", "link", "power", "reboot", "rootfs"}
    )
    memory: int = (MEMORY_MIB + 512) << 20  # of the emulator, libvirt and Vagrant

    def __init__(self, folder: Path, timeline: Timeline, argument: str = "") -> None:
        super().__init__(folder, timeline, argument)
        self.arch = argument or DEFAULT
        self._session: Session | None = None
        self._agent: Agent | None = None
        self._console: Console | None = None
        self._life: Boots | None = None
        self._domain = ""
        self._plugged = True
        self._boots = itertools.count(1)
        self.cables = {"wan": CableFunctions(self._set_link, self._is_plugged)}
        self.parts = {
            "power": SupplyFunctions(self._power_off, self._power_on, self._has_power),
            "clock": self,
            "freeze": PauseFunctions(
                lambda: self._virsh("suspend"), lambda: self._virsh("resume"), self._is_paused
            ),
            "reboot": RebootFunctions(self.succeed, self._rebooted),
        }

    @classmethod
    def check_host(cls, argument: str) -> None:
        if argument and argument not in KNOWN:
            raise UsageError(
                f"vagrant: no architecture {argument!r}", hint=f"there are: {', '.join(KNOWN)}"
            )
        session.check_host()
        machine = ARCHITECTURES[argument or DEFAULT]
        tools.find(machine.qemu, machine.qemu_package)

    # -- the first start

    def prepare(self, progress: Callable[[str], None]) -> None:
        box(self.arch, progress=progress)

    def box(self) -> Box:
        """What it is made of; packed if there is none."""
        return _box(self.arch, progress=logging.getLogger("harness").info)

    def start(self) -> None:
        made = self._session = Session(self.name)
        made.start()
        self._life = Boots(self.name, made.home / "console.log")
        made.link(self.box().file, made.home / "router.box")
        text = _VAGRANTFILE.format(
            box=json.dumps(self.box().name),
            url=json.dumps(f"file://{made.home / 'router.box'}"),
            seconds=UP_SECONDS,
            words=json.dumps(self._words(made.home)),
        )
        made.write(made.project / "Vagrantfile", text)
        try:
            made.vagrant("up", timeout=UP_SECONDS)
        except InfrastructureError as error:
            if not (made.home / "console.log").exists():
                raise
            try:
                self._watch.check_kernel(gone=True)
            except DeviceError as panic:
                raise BootError(panic.what, device=self.name, evidence=panic.evidence) from error
            raise BootError(error.what, device=self.name, evidence=self._printed()) from error
        self._domain = (self._data / "id").read_text()
        self._attach()
        self._blank()

    @staticmethod
    def _words(home: Path) -> list[str]:
        """QEMU's options beside those of the box."""
        place = escape(home)
        console = f"socket,id=console,path={place}/console.sock,server=on,wait=off"
        return [
            *("-chardev", f"{console},logfile={place}/console.log,logappend=on"),
            *("-serial", "chardev:console"),
            *("-chardev", f"socket,id=agent,path={place}/agent.sock,server=on,wait=off"),
            *("-device", "virtio-serial-pci,id=agent-port,bus=pcie.0,addr=0x18"),
            *("-device", "virtserialport,bus=agent-port.0,chardev=agent,name=org.paradrop.agent"),
            *("-object", f"filter-dump,id=wan-packets,netdev=wan,file={place}/wan.pcap"),
        ]

    def _attach(self) -> None:
        home = self._on.home
        self._console = Console(self.name, home / "console.sock", home / "console.log")
        self._agent = Agent(
            *(self.name, home / "agent.sock"), self._watch.check_answering, self._autopsy
        )

    def _blank(self) -> None:
        """Have the daemon start as for the first time, now that its configuration is there."""
        self.run("true", BOOT_SECONDS)  # init starts the agent last
        self.daemon("stop")
        self.erase_identity()
        self.succeed(f"rm -f {self.config_home}/logs/*")
        for name, data in self.config.items():
            self.write(self.config_home / name, data, 0o600, self.daemon_user)
        self.daemon("start")
        self.wait_blank(BOOT_SECONDS)
        self.timeline.record(self.name, "booted")

    @property
    def _data(self) -> Path:
        """What Vagrant keeps of the machine."""
        return self._on.project / ".vagrant/machines/default/libvirt"

    @property
    def _on(self) -> Session:
        if self._session is None:
            raise InfrastructureError("has not been started", device=self.name)
        self._session.check()
        return self._session

    # -- power

    def _power_on(self) -> None:
        if self._agent is not None:
            if self._state().startswith(("running", "paused")):
                return
            self._detach()  # it has powered itself off
        self._watch.begin()
        self._virsh("start")
        self._attach()
        if not self._plugged:
            self._set_link(False)
        self._wait_booted(0)

    def _wait_booted(self, since: int) -> None:
        """@param since: see `Console.wait_for`. @raise BootError: it does not come up."""
        try:
            self.console.wait_for(r"paradrop: router ready", BOOT_SECONDS, since)
            self.agent.hang_up()
            self.run("true", BOOT_SECONDS)
        except BootError as error:
            try:
                self._autopsy(False)
            except DeviceError as death:
                raise BootError(death.what, device=self.name, evidence=death.evidence) from error
            raise
        self.timeline.record(self.name, "booted")

    @contextmanager
    def _rebooted(self) -> Iterator[None]:
        self.check_kernel()
        since = self.console.printed
        yield
        self._wait_booted(since)
        self._watch.expect_no_more()

    def _state(self) -> str:
        return self._virsh("domstate", "--reason").strip()

    def _power_off(self) -> None:
        if self._agent is None:
            return
        if self._state().startswith(("running", "paused")):
            self._virsh("destroy")
        self._detach()

    def _detach(self) -> None:
        if self._agent is not None and self._console is not None:
            self._watch.end()
            self._agent.close()
            self._console.close()
            self._agent = self._console = None
            packets = self._on.home / "wan.pcap"
            if packets.exists():
                shutil.copyfile(packets, self.folder / f"wan-{next(self._boots)}.pcap")

    def _virsh(self, command: str, *words: str) -> str:
        return self._on.virsh(command, self._domain, *words)

    @property
    def console(self) -> Console:
        """Its serial console."""
        if self._console is None:
            raise InfrastructureError("is powered off", device=self.name)
        return self._console

    @property
    def agent(self) -> Agent:
        if self._agent is None:
            raise InfrastructureError("is powered off", device=self.name)
        return self._agent

    def close(self) -> None:
        if self._session is None:
            return
        try:
            self._keep()
            self._detach()
        finally:
            self._session.close()
            self._session = None

    def _keep(self) -> None:
        """Save what it leaves from the end of its session's folder."""
        for name, path in self._logs().items():
            if path.exists():
                shutil.copyfile(path, self.folder / f"{name}.log")

    def check(self) -> None:
        if self._agent is None:
            return
        state = self._state()
        if state.startswith(("running", "paused")):
            self._watch.check_answering()
            return
        self._watch.check_kernel(gone=True)
        if state == "shut off (shutdown)":
            raise self._watch.error("the device powered itself off")
        raise InfrastructureError(
            f"the machine ended by itself: {state}", device=self.name, evidence=self._printed()
        )

    def check_kernel(self) -> None:
        if self._life is not None:
            self._life.check_kernel()

    def _autopsy(self, rebooted: bool) -> None:
        """It does not answer: if the device is why, say so."""
        self.check()
        self._watch.autopsy(rebooted=rebooted)

    @property
    def _watch(self) -> Boots:
        """libvirt tells nobody of a reboot, so that the console has to."""
        assert self._life is not None
        return self._life

    # -- link and freeze

    def _set_link(self, up: bool) -> None:
        self._plugged = up  # also while it is powered off
        if self._agent is not None:
            order = {"execute": "set_link", "arguments": {"name": "wan", "up": up}}
            answer = self._virsh("qemu-monitor-command", json.dumps(order))
            if "error" in json.loads(answer):
                raise InfrastructureError(f"set_link: {answer.strip()}", device=self.name)

    def _is_plugged(self) -> bool:
        """What its kernel says. A device without power, or one that stands still, can't be asked:
        then the last order counts."""
        if self._agent is None or self._is_paused():
            return self._plugged
        return carrier(self, "eth1")

    def _has_power(self) -> bool:
        return self._agent is not None and self._state().startswith(("running", "paused"))

    def _is_paused(self) -> bool:
        return self._state().startswith("paused")

    def wan(self, port: int) -> tuple[str, int]:
        return wan.HOST, port

    @property
    def wan_address(self) -> str:
        return wan.ALONE.address

    # -- mgmt

    def run(self, command: str, timeout: float = 60) -> Completed:
        return self.agent.run(command, timeout)

    def access(self) -> dict[str, str]:
        forwards = self._virsh("qemu-monitor-command", "--hmp", "info usernet")
        port = re.search(r"HOST_FORWARD\]\s+\d+\s+\S+\s+(\d+)", forwards)
        if port is None:
            raise InfrastructureError("QEMU forwards no port for mgmt", device=self.name)
        private = (self._data / "private_key").read_bytes()
        public = (self._data / "private_key.pub").read_text()
        host_key = (self._data / "known_hosts").read_text().partition(" ")[2].strip()
        key = ssh.ClientKey(private, public)
        config = ssh.write_config(self.folder, int(port[1]), key, host_key)
        return {
            "shell": ssh.command(config),
            "console": watch(self._on.home / "console.log"),
        }

    # -- evidence

    def _logs(self) -> dict[str, Path]:
        if self._session is None:
            return {name: self.folder / f"{name}.log" for name in ("console", "QEMU")}
        home = self._session.home
        name = f"{self._session.project.name}_default"
        return {
            "console": home / "console.log",
            "QEMU": home / f"cache/libvirt/qemu/log/{name}.log",
        }

    def _printed(self) -> str:
        log = self._logs()["console"]
        printed = log.read_text(errors="replace").splitlines()[-20:] if log.exists() else []
        return "\n".join(printed) or "the console printed nothing"

    def evidence(self) -> dict[str, str | Path]:
        found: dict[str, str | Path] = {
            name: path.read_text(errors="replace")
            for name, path in self._logs().items()
            if path.exists()
        }
        for packets in sorted(self.folder.glob("wan-*.pcap")):  # one a boot that has ended
            found[packets.stem] = packets
        if self._session is not None and (last := self._session.home / "wan.pcap").exists():
            found["wan"] = last
        if self._agent is not None:
            found["daemon log"] = self.daemon_log()
        return found

    def facts(self) -> dict[str, str]:
        image = self.box().image
        return {
            "architecture": self.arch,
            "QEMU": tools.version(tools.find(image.architecture.qemu, "")),
            "accelerator": "tcg (a box is for any computer)",
            "libvirt": tools.version(tools.find("libvirtd", "libvirt-daemon")),
            "Vagrant": tools.version(tools.find("vagrant", "vagrant")),
            "box": self.box().key,
            "image": image.key,
            "kernel": image.manifest["kernel"],
            "library": image.manifest["library"]["sha256"],
        }
