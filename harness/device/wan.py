"""A wan that several emulated routers have in common: they reach each other, and this computer.

A QEMU without a machine is its switch. Routers are plugged in by datagrams over Unix sockets, so
one that loses its power finds its place again when it comes back.
"""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.child import Child
from harness.device.qmp import Monitor
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
    """One network, of up to 239 routers; its switch runs from the first `plug` on.

    @param folder: where its sockets are; made here.
    """

    def __init__(self, folder: Path, timeline: Timeline) -> None:
        self._folder = folder
        self._timeline = timeline
        self._numbers = deque(range(16, 255))  # the longest unused first: addresses are remembered
        self._lock = threading.Lock()
        self._child: Child | None = None
        self._monitor: Monitor | None = None

    def plug(self) -> Port:
        """A place for one more router. @raise InfrastructureError: there is none."""
        with self._lock:
            monitor = self._switch()
            if not self._numbers:
                raise InfrastructureError("no place is left for a router", device=_NAME)
            number = self._numbers.popleft()
        ours, theirs = (self._folder / f"{number}.{end}" for end in ("switch", "router"))
        link = {"type": "dgram", "id": f"port{number}", "local": _unix(ours)}
        monitor.execute("netdev_add", {**link, "remote": _unix(theirs)})
        hub = {"type": "hubport", "id": f"hub{number}", "hubid": 0, "netdev": link["id"]}
        monitor.execute("netdev_add", hub)
        netdev = f"dgram,local.type=unix,local.path={theirs},remote.type=unix,remote.path={ours}"
        return Port(f"10.0.3.{number}", netdev)

    def unplug(self, port: Port) -> None:
        """Give a place back."""
        with self._lock:
            number = int(port.address.rpartition(".")[2])
            if self._monitor is None or self._child is None or not self._child.running:
                return
            for name in (f"hub{number}", f"port{number}"):
                self._monitor.execute("netdev_del", {"id": name})
            self._numbers.append(number)

    def _switch(self) -> Monitor:
        if self._monitor is None:
            self._folder.mkdir(mode=0o700)
            program = "qemu-system-x86_64"
            tools.find(program, "qemu-system-x86")
            monitor = Monitor(_NAME, self._folder / "qmp.sock", self._on_event)
            words = [program, "-machine", "none", "-nodefaults", "-display", "none"]
            words += ["-netdev", f"user,id=uplink,{_UPLINK}"]
            words += ["-netdev", "hubport,id=hub0,hubid=0,netdev=uplink", *monitor.option]
            self._child = Child(words, self._folder / "qemu.log")
            monitor.accept(check=self.check)
            self._monitor = monitor
        return self._monitor

    def _on_event(self, event: dict[str, Any]) -> None:
        self._timeline.record(_NAME, f"QMP {event['event']}", **event.get("data", {}))

    def check(self) -> None:
        """@raise InfrastructureError: the switch ended by itself."""
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


def _unix(path: Path) -> dict[str, str]:
    return {"type": "unix", "path": str(path)}
