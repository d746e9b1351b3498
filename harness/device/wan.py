"""A wan that several emulated routers have in common: they reach each other, and this computer.

They are plugged into a switch, and so is the way to this computer, a QEMU without a machine. One
that loses its power finds its place again when it comes back.
"""

from __future__ import annotations

import shutil
import threading
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.child import Child
from harness.device.qmp import Monitor, escape
from harness.device.switch import Switch
from harness.errors import InfrastructureError
from harness.evidence.timeline import Timeline
from harness.image import tools

HOST = "10.0.3.2"
"""What QEMU's user-mode network maps to the loopback of this computer."""

_UPLINK = f"net=10.0.3.0/24,host={HOST}"
_NAME = "shared-wan"


@dataclass(frozen=True)
class Port:
    """A router's place on a wan.

    @param address: the router's IPv4 address there, in a network of 24 bits.
    @param netdev: what QEMU's `-netdev` takes, but for the id.
    """

    address: str
    netdev: str


ALONE = Port("10.0.3.15", f"user,{_UPLINK}")
"""The one place on a wan of a router's own."""

UNPLUGGED = Port(ALONE.address, "hubport,hubid=0")
"""A cable with nothing at its other end."""


class Wan:
    """One network, of up to 239 routers, that is there from the first `plug` on.

    @param folder: where its sockets are; made here.
    """

    def __init__(self, folder: Path, timeline: Timeline) -> None:
        self._folder = folder
        self._timeline = timeline
        self._numbers = deque(range(16, 255))  # the longest unused first: addresses are remembered
        self._lock = threading.Lock()
        self._switch: Switch | None = None
        self._child: Child | None = None
        self._monitor: Monitor | None = None

    def plug(self) -> Port:
        """A place for one more router. @raise InfrastructureError: there is none."""
        with self._lock:
            if self._switch is None:
                self._start()
            switch = self._switch
            assert switch is not None
            if not self._numbers:
                raise InfrastructureError("no place is left for a router", device=_NAME)
            number = self._numbers.popleft()
            socket = self._folder / str(number)
            switch.plug(socket)
        return Port(f"10.0.3.{number}", self._cord(socket))

    def unplug(self, port: Port) -> None:
        """Give a place back."""
        with self._lock:
            if self._switch is None:
                return
            number = int(port.address.rpartition(".")[2])
            self._switch.unplug(self._folder / str(number))
            self._numbers.append(number)

    def _cord(self, socket: Path) -> str:
        """What QEMU's `-netdev` takes for a cable between a socket of its own and the switch."""
        ends = {"local": socket, "remote": self._folder / "switch"}
        return ",".join(
            ["dgram", *(f"{end}.type=unix,{end}.path={escape(path)}" for end, path in ends.items())]
        )

    def _start(self) -> None:
        try:
            self._connect()
        except OSError as error:
            self.close()
            raise InfrastructureError(f"does not start: {error}", device=_NAME) from error
        except BaseException:
            self.close()
            raise

    def _connect(self) -> None:
        program = "qemu-system-x86_64"
        tools.find(program, "qemu-system-x86")
        shutil.rmtree(self._folder, ignore_errors=True)
        self._folder.mkdir(mode=0o700)
        self._switch = Switch(self._folder / "switch")
        socket = self._folder / "uplink"
        self._switch.plug(socket)
        self._monitor = Monitor(_NAME, self._folder / "qmp.sock", self._on_event)
        words = [program, "-machine", "none", "-nodefaults", "-display", "none"]
        for name, leads in (("uplink", f"user,{_UPLINK}"), ("cord", self._cord(socket))):
            words += ["-netdev", f"{leads},id={name}"]
            words += ["-netdev", f"hubport,id={name}-end,hubid=0,netdev={name}"]
        self._child = Child([*words, *self._monitor.option], self._folder / "qemu.log")
        self._monitor.accept(check=self.check)

    def _on_event(self, event: dict[str, Any]) -> None:
        self._timeline.record(_NAME, f"QMP {event['event']}", **event.get("data", {}))

    def check(self) -> None:
        """@raise InfrastructureError: the way to this computer ended by itself."""
        if self._child is not None and not self._child.running:
            raise InfrastructureError(
                f"QEMU ended by itself, status {self._child.returncode}",
                device=_NAME,
                evidence=self._child.tail(),
            )

    def close(self) -> None:
        """End it. May be called twice."""
        if self._child is not None:
            self._child.kill()
            self._child = None
        if self._monitor is not None:
            self._monitor.close()
            self._monitor = None
        if self._switch is not None:
            self._switch.close()
            self._switch = None
