"""What any router in QEMU has, whoever made its image: a machine, its console, cable and power."""

from __future__ import annotations

import itertools
import secrets
from abc import abstractmethod
from pathlib import Path

from harness.device import wan
from harness.device.base import Device
from harness.device.console import Console
from harness.device.machine import Machine
from harness.errors import InfrastructureError
from harness.evidence.timeline import Timeline
from harness.fault.clock import Clock
from harness.fault.freeze import Freeze
from harness.fault.link import Link
from harness.fault.power import Power


class EmulatedDevice(Device):
    """A machine while it has power, with a card for mgmt and one for wan."""

    def __init__(self, folder: Path, timeline: Timeline, argument: str = "") -> None:
        super().__init__(folder, timeline, argument)
        self._machine: Machine | None = None
        self._plugged = True
        self._boots = itertools.count(1)
        card = secrets.token_bytes(2)
        self._addresses = [bytes((0x52, 0x54, 0, number)) + card for number in (2, 3)]
        self.links = {"wan": Link(self.name, "wan", self._set_link, timeline)}
        self.power = Power(self.name, self._power_off, self._power_on, timeline)
        self.clock = Clock(self.name, self.succeed, timeline)
        self.freeze = Freeze(self.name, self._freeze, timeline)

    @property
    def on(self) -> Machine:
        """The machine, while it has power. @raise InfrastructureError: it has none."""
        if self._machine is None:
            raise InfrastructureError("is powered off", device=self.name)
        self._machine.check()
        return self._machine

    @property
    def console(self) -> Console:
        """Its serial console."""
        found = self.on.console
        assert found is not None
        return found

    def check(self) -> None:
        if self._machine is not None:
            self._machine.check()

    @abstractmethod
    def _power_on(self) -> None:
        """Boot it from its disk."""

    def _power_off(self) -> None:
        if self._machine is not None:
            self._machine.close()
            self._machine = None

    def _set_link(self, up: bool) -> None:
        self._plugged = up  # also while it is powered off
        if self._machine is not None:
            self._machine.set_link("wan", up)

    def _freeze(self, frozen: bool) -> None:
        self.on.pause() if frozen else self.on.resume()

    def wan(self, port: int) -> tuple[str, int]:
        return wan.HOST, port

    def evidence(self) -> dict[str, str | Path]:
        files = {"console": self.folder / "console.log", "QEMU": self.folder / "qemu.log"}
        found: dict[str, str | Path] = {
            name: path.read_text(errors="replace") for name, path in files.items() if path.exists()
        }
        for packets in sorted(self.folder.glob("wan-*.pcap")):  # one a boot
            found[packets.stem] = packets
        if self._machine is not None:
            found["daemon log"] = self.daemon_log()
        return found
