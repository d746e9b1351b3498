"""One life of an emulated machine: QEMU from power on to power off, and its three ways in."""

from __future__ import annotations

import contextlib
import shlex
import shutil
import signal
import socket
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.child import Child
from harness.device.accel import Accelerator
from harness.device.agent import Agent
from harness.device.boots import Boots
from harness.device.console import Console
from harness.device.qmp import Monitor, RefusedError, escape
from harness.errors import InfrastructureError
from harness.evidence.timeline import Timeline
from harness.image import Image

MEMORY_MIB = 256

TRANSLATED_MIB = 128
"""QEMU's buffer for translated code of a machine that boots: with less, it is emptied while the
daemon starts, and much is translated once more."""

RESTORED_MIB = 56
"""The same of a machine that did not have to boot: with less, it is emptied until it has joined."""

ENDING_SECONDS = 1
"""From the moment that a QEMU which ends has closed its sockets to its end."""

SAVING_SECONDS = 60
"""In which there is always news of a state that is being saved or restored."""

_NO_ROOM = "the disk of its RAM is full: make room, or point XDG_CACHE_HOME elsewhere"
"""What SIGBUS means: RAM is a file, and a page of it can't be written; mmap(2)."""


@dataclass(frozen=True)
class Memory:
    """The machine's RAM as a file.

    @param shared: what the machine writes goes into the file; else the file is what the machine
        starts from, and what it writes is its own, page by page (mmap(2), MAP_PRIVATE).
    """

    path: Path
    shared: bool


def command(
    image: Image,
    accelerator: Accelerator,
    folder: Path,
    disk: Path,
    addresses: Sequence[bytes],
    wan: str,
    memory: Memory | None = None,
    packets: str = "wan.pcap",
    restored: bool = False,
) -> list[str]:
    """QEMU's command line for a router, but for its control socket.

    @param folder: where its sockets and logs are.
    @param disk: its state disk, raw.
    @param addresses: MAC addresses of mgmt and wan.
    @param wan: what the cable of wan leads to: see `harness.device.wan.Port`.
    @param memory: None for RAM of its own, of which nothing stays.
    @param packets: name of the file that the packets of wan go to.
    @param restored: it does not boot, but waits for a state to `load`.
    """
    machine = image.architecture
    words = [machine.qemu, "-machine", f"{machine.machine},memory-backend=ram"]
    words += ["-accel", accelerator.name]
    if accelerator.name == "tcg":
        words[-1] += f",tb-size={RESTORED_MIB if restored else TRANSLATED_MIB}"
    words += ["-cpu", "host" if accelerator.name == "kvm" else machine.cpu]
    ram = f"id=ram,size={MEMORY_MIB}M"
    if memory is None:
        words += ["-object", f"memory-backend-ram,{ram}"]
    else:
        share = "on" if memory.shared else "off"
        words += ["-object", f"memory-backend-file,{ram},share={share}"]
        words[-1] += f",mem-path={escape(memory.path)}"
    words += ["-m", str(MEMORY_MIB), "-nodefaults", "-display", "none", "-no-user-config"]
    words += ["-kernel", str(image.kernel), "-initrd", str(image.initramfs)]
    words += ["-append", machine.kernel_arguments]
    disks = ((image.root, "on"), (disk, "off"), (image.library, "on"))
    for slot, (path, readonly) in enumerate(disks, start=4):
        name = f"disk{slot}"
        words += ["-drive", f"if=none,id={name},format=raw,readonly={readonly}"]
        words[-1] += f",cache=unsafe,file={escape(path)}"
        words += ["-device", f"virtio-blk-pci,drive={name},addr={slot:#x}"]
    words += wiring(folder, addresses, wan, packets)
    if restored:
        words += ["-incoming", "defer"]
    return words


def wiring(
    folder: Path, addresses: Sequence[bytes], wan: str, packets: str, card: str = ""
) -> list[str]:
    """The part of the command line that is the same for any router: its network cards, a source of
    random numbers, a device that tells of a kernel's panic, the console and the port of the agent.

    The cards lack the feature that a guest announces itself. A card that has it, and nothing to
    announce (see `Machine.load`), loses its timer when QEMU 7.2 loads a state. QEMU then ends with
    SIGSEGV when the guest resets the card, which every reboot does.

    @param folder, addresses, wan, packets: see `command`.
    @param card: more properties of both cards, with a comma before each.
    """
    card += ",guest_announce=off"
    mgmt, other = (f"{card},mac={address.hex(':')}" for address in addresses)
    forward = "hostfwd=tcp:127.0.0.1:0-10.0.2.15:22"
    words = ["-netdev", f"user,id=mgmt,net=10.0.2.0/24,restrict=on,{forward}"]
    words += ["-device", f"virtio-net-pci,netdev=mgmt,addr=0x2{mgmt}"]
    words += ["-netdev", f"{wan},id=wan"]
    words += ["-device", f"virtio-net-pci,netdev=wan,addr=0x3{other}"]
    words += ["-object", "filter-dump,id=wan-packets,netdev=wan"]
    words[-1] += f",file={escape(folder / packets)}"
    words += ["-device", "virtio-rng-pci,addr=0x7"]
    # a panic is the router's own affair: QEMU would end the machine
    words += ["-device", "pvpanic-pci,addr=0x9", "-action", "panic=none"]
    console = f"{_socket(folder / 'console.sock')},id=console"
    console += f",logfile={escape(folder / 'console.log')},logappend=on"
    words += ["-chardev", console, "-serial", "chardev:console"]
    words += ["-chardev", f"{_socket(folder / 'agent.sock')},id=agent"]
    words += ["-device", "virtio-serial-pci,addr=0x8"]
    words += ["-device", "virtserialport,chardev=agent,name=org.paradrop.agent"]
    return words


def _socket(path: Path) -> str:
    return f"socket,path={escape(path)},server=on,wait=off"


class Machine:
    """A QEMU, from its start to its end.

    @param device: name for errors.
    @param boots: of the same machine, if it had power before.
    @ivar console: its serial console.
    @ivar agent: commands and files, out of band.
    @ivar monitor: QEMU's own control.
    @ivar boots: how often it has booted, and how that ended.
    @ivar printed_before: characters that the console had printed when its last boot began.
    @raise InfrastructureError: there can be no sockets in `folder`.
    """

    def __init__(
        self, device: str, folder: Path, timeline: Timeline, boots: Boots | None = None
    ) -> None:
        self._device = device
        self._folder = folder
        self._timeline = timeline
        self._child: Child | None = None
        self._shared_ignored = False
        self._log = folder / "console.log"
        self.boots = boots or Boots(device, self._log)
        self.boots.begin()
        self.printed_before = 0
        self._shut_down = threading.Event()
        self.console: Console | None = None
        self.agent = Agent(device, folder / "agent.sock", self.check, self.autopsy)
        self.monitor = Monitor(device, folder / "qmp.sock", self._on_event)

    def start(self, words: list[str]) -> None:
        """Give it power.

        @param words: its command line.
        @raise InfrastructureError: QEMU does not start; what it said is in the evidence.
        """
        self._child = Child([*words, *self.monitor.option], self._folder / "qemu.log")
        self._timeline.record(self._device, "power on", pid=self._child.pid)
        self.monitor.accept(timeout=30, check=self.check)
        console = self._folder / "console.sock"
        self.console = Console(self._device, console, self._log)

    def _on_event(self, event: dict[str, Any]) -> None:
        name, data = event["event"], event.get("data", {})
        now = self._timeline.record(self._device, f"QMP {name}", **data)
        if name == "GUEST_PANICKED":
            self.boots.panicked = True
        elif name == "SHUTDOWN" and data.get("guest"):
            self._shut_down.set()
        elif name == "RESET" and self.boots.reset(now):
            self.agent.hang_up()
            self.printed_before = 0 if self.console is None else self.console.printed
            self._timeline.record(self._device, "rebooted")

    @property
    def running(self) -> bool:
        return self._child is not None and self._child.running

    @property
    def pid(self) -> int:
        assert self._child is not None
        return self._child.pid

    def check(self) -> None:
        """@raise DeviceError: its kernel has panicked and hangs, or it has powered itself off.
        @raise InfrastructureError: QEMU ended without being asked to.
        """
        if self._child is None:
            return
        if self.running:
            self.boots.check_answering()
            return
        self.boots.check_kernel(gone=True)
        status = self._child.returncode
        if status == 0 and self._shut_down.wait(ENDING_SECONDS):  # the event may be on its way
            raise self.boots.error("the device powered itself off")
        raise InfrastructureError(
            f"QEMU ended by itself, status {status}",
            device=self._device,
            hint=_NO_ROOM if status == -signal.SIGBUS else "",
            evidence=f"{self._child.tail()}\n-- console --\n{self.boots.last_lines()}",
        )

    def autopsy(self, rebooted: bool = False) -> None:
        """Something failed: if the machine is why, say so instead.

        @param rebooted: it has meanwhile.
        @raise DeviceError: so it did, or it powered itself off, was halted, or its kernel panicked.
        @raise InfrastructureError: QEMU ended.
        """
        if self._child is not None and not rebooted:
            with contextlib.suppress(InfrastructureError):
                self._child.wait(ENDING_SECONDS)
        self.check()
        self.boots.autopsy(rebooted=rebooted)

    def wait_reboot(self, count: int, timeout: float) -> None:
        """Wait until it has rebooted. @param count: of its boots before.

        @raise DeviceError: it has not in `timeout` seconds, or ended otherwise.
        """
        deadline = time.monotonic() + timeout
        while self.boots.count == count:
            if time.monotonic() > deadline:
                raise self.boots.error(f"the device did not reboot within {timeout:g} s")
            self.check()
            time.sleep(0.05)

    def _tell(self, command: str, arguments: dict[str, Any]) -> Any:
        """Run a QMP command; of a QEMU that has ended it is said that it has."""
        try:
            return self.monitor.execute(command, arguments)
        except RefusedError:
            raise
        except InfrastructureError:
            self.autopsy()
            raise

    def set_link(self, name: str, up: bool) -> None:
        """Plug a network cable in, or pull it."""
        self._tell("set_link", {"name": name, "up": up})

    def save(self, target: Path, *, with_ram: bool) -> None:
        """Write the machine's state into a file; it stands still afterwards, its disk is whole.

        @param with_ram: False where the RAM is a shared file, which then belongs to the state.
        @raise RefusedError: QEMU can't leave the RAM out. That is its capability
            `x-ignore-shared`, which is experimental.
        @raise InfrastructureError: QEMU can't, or the disk is full.
        """
        path = self._folder / "state.sock"
        path.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
            listener.bind(str(path))
            listener.listen(1)
            listener.settimeout(SAVING_SECONDS)
            self._ignore_shared(not with_ram)
            self.pause()  # nothing is written while it is read
            self._tell("migrate-set-parameters", {"max-bandwidth": 1 << 40})
            self._tell("migrate", {"uri": f"unix:{path}"})
            try:
                link, _ = listener.accept()
                link.settimeout(SAVING_SECONDS)
                with link, link.makefile("rb") as stream, target.open("wb") as file:
                    shutil.copyfileobj(stream, file, 1 << 20)
            except OSError as error:
                self.autopsy()
                self._wait_for("query-migrate", {"failed", "cancelled"}, set())
                self.resume()
                raise InfrastructureError(
                    f"the machine's state can't be saved to {target}: {error}", device=self._device
                ) from error
        path.unlink()
        self._wait_for("query-migrate", {"completed"}, {"failed", "cancelled"})

    def pause(self) -> None:
        """Have it stand still."""
        self._tell("stop", {})

    def is_paused(self) -> bool:
        return bool(self._tell("query-status", {})["status"] == "paused")

    def resume(self) -> None:
        """Go on after a `pause`, a `save` or a `load`."""
        self._tell("cont", {})

    def load(self, state: Path, *, with_ram: bool) -> None:
        """Take a state that was saved; the machine stands still afterwards. For one that was
        started so that it waits for one.

        @param with_ram: as in `save`.
        @raise InfrastructureError: it is damaged, or of another machine.
        """
        self._ignore_shared(not with_ram)
        # it has not moved to another switch port, and telling so would keep it busy
        self._tell("migrate-set-parameters", {"announce-rounds": 0})
        uri = f"exec:cat {shlex.quote(str(state))}"
        self._tell("migrate-incoming", {"uri": uri})
        self._wait_for("query-status", {"paused"}, {"internal-error", "io-error"})

    def _ignore_shared(self, ignored: bool) -> None:
        if ignored is self._shared_ignored:  # a QEMU that can't is not asked in vain
            return
        self._shared_ignored = ignored
        capability = {"capability": "x-ignore-shared", "state": ignored}
        self._tell("migrate-set-capabilities", {"capabilities": [capability]})

    def _wait_for(self, query: str, good: set[str], bad: set[str]) -> None:
        deadline = time.monotonic() + SAVING_SECONDS
        while True:
            answer = self._tell(query, {})
            status = answer.get("status")
            if status in good:
                return
            if status in bad or time.monotonic() > deadline:
                raise InfrastructureError(
                    f"{query}: {status}", device=self._device, evidence=answer.get("error-desc", "")
                )
            time.sleep(0.005)

    def ssh_port(self) -> int:
        """The port on 127.0.0.1 that leads to the machine's SSH."""
        for line in self.monitor.human("info usernet").splitlines():
            if "[HOST_FORWARD]" in line:
                return int(line.split()[3])
        raise InfrastructureError("QEMU forwards no port for mgmt", device=self._device)

    def close(self) -> None:
        """Take its power away. May be called twice."""
        self.agent.close()
        if self._child is not None:
            self._child.kill()
        self.monitor.close()
        if self.console is not None:
            self.console.close()
