"""A router image that somebody brings, in QEMU: `--device file:router.yaml`.

The way in is its serial console. Where it has Python and a virtio serial port, the agent of our own
routers is started there after each boot, and commands and files go over that.
"""

from __future__ import annotations

import functools
import json
import logging
import secrets
import shlex
import tempfile
import time
from collections.abc import Set
from pathlib import Path, PurePosixPath
from typing import ClassVar

from harness import image
from harness.device import accel, memory, wan
from harness.device.base import Action, Completed, check_action, read_or_why
from harness.device.console import watch
from harness.device.emulated import EmulatedDevice
from harness.device.file import description, disk, qemu
from harness.device.file.description import Firmware
from harness.device.file.shell import Shell
from harness.device.machine import TRANSLATED_MIB, Machine
from harness.device.software import CONFIG_HOME, RUNTIME_HOME, Software
from harness.device.software.installed import Installed
from harness.errors import BootError, CommandError, InfrastructureError, UsageError
from harness.evidence.timeline import Timeline
from harness.image import cache, digest, tools
from harness.image.digest import sha256
from harness.image.root import GUEST

NETWORK_SECONDS = 60
"""From a login to an address by DHCP."""

DAEMON_SECONDS = 300
"""From the start of the daemon until it is at work; on an idle computer it is 10."""

_MGMT, _WAN = "10.0.2.15", wan.ALONE.address
_AGENT = GUEST / "root/usr/libexec/paradrop/agent"

_load = functools.cache(description.load)


class FileDevice(EmulatedDevice):
    """A foreign system on a machine of its own, on a disk that begins as the user's.

    @param argument: the YAML file that describes it; see `harness.device.file.description`.
    """

    kind: ClassVar[str] = "file"
    capabilities: ClassVar[frozenset[str]] = frozenset(
        {"clock", "freeze", "link", "power", "reboot"}
    )

    config_home = PurePosixPath(CONFIG_HOME)
    runtime_home = PurePosixPath(RUNTIME_HOME)
    daemon_user = "paradrop"

    def __init__(self, folder: Path, timeline: Timeline, argument: str = "") -> None:
        super().__init__(folder, timeline, argument)
        self.firmware = _load(Path(argument).absolute())
        self.wan_card = self.firmware.network.wan
        self.memory = (self.firmware.memory + TRANSLATED_MIB + 64) << 20
        self._disk = folder / "disk.qcow2"
        self._shell: Shell | None = None
        self._agent = False
        self._entered = 0  # of its boots, the one that it is logged in to
        bring = Software if self.firmware.library == "install" else Installed
        self.software: Software | Installed = bring(self.name, self._run, self._write)

    # -- before there is one

    @classmethod
    def check_host(cls, argument: str) -> None:
        """Look at the image, and boot it once if it is not known yet what is in the way there.

        @raise UsageError: its description is wrong, or its disk can't be used.
        @raise InfrastructureError: the daemon can't run on it.
        @raise BootError: it does not boot, or its console lets nobody in.
        """
        if not argument:
            raise UsageError("file: of which image?", hint="--device file:router.yaml")
        described = _load(Path(argument).absolute())
        tools.find(described.architecture.qemu, described.architecture.qemu_package)
        _format(described)
        qemu.efi(described)
        if obstacles := _examined(argument, described):
            why = "; ".join(obstacles)
            raise InfrastructureError(f"file:{argument}: the daemon can't run on it: {why}")

    @classmethod
    def lacks(cls, argument: str, needs: Set[str]) -> dict[str, str]:
        why = {
            "rootfs": "its system is not the routers' own",
            "several": "each is alone on its wan",
            "snapshot": "its clones would not differ",
        }
        return {need: why.get(need, "") for need in super().lacks(argument, needs)}

    # -- its life

    def start(self) -> None:
        self._first_boot()
        self._set_addresses()
        self.software.install()
        self.erase_identity()
        for name, data in self.config.items():
            self.write(self.config_home / name, data, 0o600, self.daemon_user)
        self._start_daemon()

    def _start_daemon(self) -> None:
        """Returns when it is at work, which an emulated CPU takes a while for."""
        started = f"cat {self.config_home}/logs/log* 2>/dev/null | grep -c daemon.started"
        before = self.run(started).text.strip()
        try:
            self.software.daemon("restart")
            self.wait_until_succeeds(f'test "$({started})" -gt {before}', DAEMON_SECONDS)
        except CommandError as error:
            said = f"{error.evidence}\n{read_or_why(self.software.log)}"
            raise CommandError(error.what, device=self.name, evidence=said) from error

    def obstacles(self) -> list[str]:
        """Boot it and ask why the daemon can't run on it, a line each."""
        self._first_boot()
        if found := self.software.obstacles():
            return found
        if not self._agent and self.firmware.library == "install":
            return [
                "it has no virtio serial port (the driver virtio_console) to install over, "
                "or no command setsid"
            ]
        self._set_addresses()
        return []

    def _first_boot(self) -> None:
        if self.firmware.disk is not None:
            disk.overlay(self.firmware.disk, _format(self.firmware), self._disk)
        self._boot()

    @functools.cached_property
    def accelerator(self) -> accel.Accelerator:
        """What it runs on; the kernel that tries it is the image's own, or else a router's."""
        kernel = self.firmware.kernel
        if kernel is None and (ours := image.find(self.firmware.architecture.name)) is not None:
            kernel = ours.kernel
        folder = cache.folder() / "accelerators"
        return accel.choose(self.firmware.architecture.name, self._qemu(), kernel, folder)

    def _qemu(self) -> str:
        architecture = self.firmware.architecture
        return tools.find(architecture.qemu, architecture.qemu_package)

    def _boot(self) -> None:
        self._qemu()
        words = qemu.command(
            *(self.firmware, self.accelerator, self.folder),
            self._disk if self.firmware.disk is not None else None,
            *(self._addresses, wan.ALONE.netdev, f"wan-{next(self._boots)}.pcap"),
        )
        self._machine = running = Machine(self.name, self.folder, self.timeline, self._past)
        self._agent, self._shell = False, None

        def boot() -> None:
            running.start(words)
            if not self._plugged:
                running.set_link("wan", False)
            self._log_in()

        self._watched(boot)

    def _log_in(self) -> None:
        wanted, running = self.firmware.console, self.on
        self._agent, self._shell = False, None
        self._entered = running.boots.count

        def check() -> None:
            if running.boots.count != self._entered:
                running.autopsy(rebooted=True)

        shell = Shell(self.name, self.console, wanted.pattern, wanted.login, wanted.password, check)
        shell.enter(wanted.timeout, running.printed_before, self._check_boot)
        self._entered = running.boots.count  # some systems reboot once before they let anybody in
        self._shell = shell
        self._start_agent(shell)
        self.timeline.record(self.name, "booted")

    @property
    def _ready(self) -> Machine:
        """The machine, after somebody has logged in since it booted last."""
        running = self.on
        if running.boots.count != self._entered:
            self._watched(self._wait_booted)
        return running

    def _start_agent(self, shell: Shell) -> None:
        """Have the agent run there, if there is what it needs."""
        ports = "/sys/class/virtio-ports"
        found = shell.run(
            f"ls -d {ports} || modprobe virtio_console; "
            f"ls -d {ports} && command -v python3 && command -v setsid",
            60,
        )
        if found.status != 0:
            return
        path = f"{shell.folder}/agent"
        shell.write(path, _AGENT.read_bytes(), 0o700)
        shell.run(f"setsid python3 -IS {path} </dev/null >/dev/null 2>&1 &", 60)
        self._agent = True
        self.on.agent.run("true", 60)

    def _set_addresses(self) -> None:
        network = self.firmware.network
        for card, address in ((network.mgmt, _MGMT), (network.wan, _WAN)):
            if self._run(f"test -e /sys/class/net/{card}", 60).status != 0:
                there = " ".join(self._run("ls /sys/class/net", 60).text.split())
                raise BootError(
                    f"it has no network card {card}",
                    device=self.name,
                    hint=f"check `network` in {self.firmware.path}: it has {there}",
                )
            if network.addresses == "set":
                self._set_address(card, address)
        if network.addresses == "dhcp" and self._plugged:
            self._wait_address(network.wan)

    def _set_address(self, card: str, address: str) -> None:
        done = self._run(
            f"if command -v ip >/dev/null; then ip link set {card} up && "
            f"{{ ip address show dev {card} | grep -q 'inet {address}/' || "
            f"ip address add {address}/24 dev {card}; }}; "
            f"else ifconfig {card} {address} netmask 255.255.255.0 up; fi",
            60,
        )
        if done.status != 0:
            raise BootError(f"{card} takes no address", device=self.name, evidence=done.said)

    def _wait_address(self, card: str) -> None:
        command = f"ip -4 address show dev {card} 2>/dev/null || ifconfig {card}"
        deadline = time.monotonic() + NETWORK_SECONDS
        while "10.0.3." not in (said := self._run(command, 60).text):
            if time.monotonic() > deadline:
                raise BootError(
                    f"{card} has no address after {NETWORK_SECONDS} s",
                    device=self.name,
                    hint="its system does not ask for one: write `addresses: set`",
                    evidence=said,
                )
            time.sleep(0.5)

    def close(self) -> None:
        self._power_off()

    # -- faults

    def _power_on(self) -> None:
        self._boot()
        self._settle()

    def _wait_booted(self) -> None:
        self._log_in()
        self._settle()

    def _settle(self) -> None:
        """Do after a boot what the system does not do by itself."""
        self._set_addresses()
        if self.firmware.library == "install":
            self._start_daemon()

    @property
    def wan_address(self) -> str:
        return _WAN

    # -- mgmt

    def run(self, command: str, timeout: float = 60) -> Completed:
        return self._run(self.software.command(command), timeout)

    def _run(self, command: str, timeout: float) -> Completed:
        running = self._ready
        try:
            if self._agent:
                return running.agent.run(command, timeout)
            return self._typing.run(command, timeout)
        except InfrastructureError:
            running.autopsy()
            raise

    @property
    def _typing(self) -> Shell:
        """The shell on its console. @raise InfrastructureError: there is none yet."""
        if self._shell is None:
            raise InfrastructureError("nobody is logged in on its console", device=self.name)
        return self._shell

    def write(
        self,
        path: PurePosixPath | str,
        data: bytes,
        mode: int = 0o644,
        owner: str | None = None,
    ) -> None:
        self._write(str(path), data, mode)
        if owner not in (None, "root"):
            self.succeed(f"chown {owner}: {shlex.quote(str(path))}")
        self.succeed("sync")  # what a test is given survives a power cut

    def _write(self, path: str, data: bytes, mode: int) -> None:
        running = self._ready
        if self._agent:
            running.agent.write((path, mode, 0, data))
        else:
            self._typing.write(path, data, mode)

    def read(self, path: PurePosixPath | str) -> bytes:
        running = self._ready
        if self._agent:
            return running.agent.read(str(path))
        return self._typing.read(str(path))

    def daemon(self, action: Action) -> None:
        check_action(action)
        self.software.daemon(action)

    def access(self) -> dict[str, str]:
        return {
            "console": watch(self.folder / "console.log"),
            "ssh": f"ssh -p {self.on.ssh_port()} root@127.0.0.1",
        }

    # -- evidence

    def evidence(self) -> dict[str, str | Path]:
        found = super().evidence()
        if self._machine is not None:
            found["daemon output"] = read_or_why(self.software.log)
        return found

    def facts(self) -> dict[str, str]:
        facts = {
            "architecture": self.firmware.architecture.name,
            "QEMU": tools.version(self._qemu()),
            "accelerator": f"{self.accelerator.name} ({self.accelerator.why})",
            "image": ", ".join(f"{each.name} {_digest(each)[:16]}" for each in self.firmware.files),
            "description": self.firmware.path.name,
            "library": self.firmware.library,
        }
        return facts | self.software.facts()


_digest = functools.cache(sha256)


@functools.cache
def _format(described: Firmware) -> str:
    """The format of its disk, which has been looked at; empty if it has none."""
    if described.disk is None:
        return ""
    boots = described.kernel is None and described.architecture.name == "x86_64"
    return disk.inspect(described.disk, boots=boots)


def _examined(argument: str, described: Firmware) -> list[str]:
    """What is in the daemon's way, from the cache if nothing has changed since it was asked."""
    verdict = cache.folder() / "firmware" / f"{_key(described)[:16]}.json"
    if not verdict.exists():
        say = logging.getLogger("harness").info
        say(f"file:{argument}: booting it once, to see what is in the daemon's way")
        found = _ask(argument)
        verdict.parent.mkdir(parents=True, exist_ok=True)
        fresh = verdict.with_suffix(f".{secrets.token_hex(4)}")
        fresh.write_text(json.dumps(found))
        fresh.replace(verdict)
    obstacles: list[str] = json.loads(verdict.read_text())
    return obstacles


def _key(described: Firmware) -> str:
    """A hash of everything that decides what is in the daemon's way."""
    machine = described.architecture
    stats = [(str(path), path.stat()) for path in described.files]  # they may have gigabytes
    return digest.key(
        code=digest.code(digest.IMAGE, digest.DEVICE),
        description=described.path.read_text(),
        files=[(path, stat.st_size, stat.st_mtime_ns, stat.st_ino) for path, stat in stats],
        qemu=tools.version(tools.find(machine.qemu, machine.qemu_package)),
    )


def _ask(argument: str) -> list[str]:
    with tempfile.TemporaryDirectory(prefix="hil-") as folder:
        home = Path(folder) / "look"
        home.mkdir(mode=0o700)
        timeline = Timeline(home / "timeline.jsonl")
        device = FileDevice(home, timeline, argument)
        try:
            with memory.room(device.name, device.memory):
                return device.obstacles()
        finally:
            device.close()
            timeline.close()
