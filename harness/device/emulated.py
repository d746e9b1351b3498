"""What any router in QEMU has, whoever made its image: a machine, its console, cable and power."""

from __future__ import annotations

import itertools
import secrets
from abc import abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from harness.device import kernel, wan
from harness.device.base import Device
from harness.device.boots import Boots
from harness.device.carrier import carrier
from harness.device.console import Console
from harness.device.machine import Machine
from harness.errors import BootError, DeviceError, HarnessError, InfrastructureError
from harness.evidence.timeline import Timeline
from harness.machine.functions import (
    CableFunctions,
    PauseFunctions,
    RebootFunctions,
    SupplyFunctions,
)

REBOOT_SECONDS = 60
"""From an order until the machine begins to boot: its daemons are stopped in order."""


class EmulatedDevice(Device):
    """A machine while it has power, with a card for mgmt and one for wan.

    @ivar wan_card: what its system calls the latter.
    """

    wan_card = "eth1"

    def __init__(self, folder: Path, timeline: Timeline, argument: str = "") -> None:
        super().__init__(folder, timeline, argument)
        self._machine: Machine | None = None
        self._plugged = True
        self._past = Boots(self.name, folder / "console.log")
        self._boots = itertools.count(1)
        card = secrets.token_bytes(2)
        self._addresses = [bytes((0x52, 0x54, 0, number)) + card for number in (2, 3)]
        self.cables = {"wan": CableFunctions(self._set_link, self._is_plugged)}
        self.parts = {
            "power": SupplyFunctions(self._power_off, self._supply, self._has_power),
            "clock": self,
            "freeze": PauseFunctions(
                lambda: self.on.pause(), lambda: self.on.resume(), lambda: self.on.is_paused()
            ),
            "reboot": RebootFunctions(self.succeed, self._rebooted),
        }

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

    def check_kernel(self) -> None:
        self._past.check_kernel()

    @abstractmethod
    def _power_on(self) -> None:
        """Boot it from its disk."""

    @abstractmethod
    def _wait_booted(self) -> None:
        """Wait until the machine, which boots, can be used.

        @raise BootError: it does not come up.
        """

    def _supply(self) -> None:
        """Give it power, also after it has powered itself off."""
        if self._machine is None or not self._machine.running:
            self._power_off()
            self._power_on()

    def _watched(self, step: Callable[[], object]) -> None:
        """Do a step of its start; if the machine itself is why it fails, say so instead."""
        try:
            step()
        except HarnessError as error:
            if self._machine is not None:
                try:
                    self._machine.autopsy()
                except DeviceError as death:
                    raise BootError(
                        death.what, device=self.name, evidence=death.evidence
                    ) from error
            raise

    def _check_boot(self) -> None:
        """A machine that boots and panics may do so for ever. @raise DeviceError: it did."""
        self.on.boots.check_kernel()

    @contextmanager
    def _rebooted(self) -> Iterator[None]:
        running = self.on
        self.check_kernel()
        count = running.boots.count
        yield
        running.wait_reboot(count, REBOOT_SECONDS)
        running.boots.expect_no_more()
        self._watched(self._wait_booted)

    def _power_off(self) -> None:
        if self._machine is not None:
            self._past.end()
            self._machine.close()
            self._machine = None

    def _set_link(self, up: bool) -> None:
        self._plugged = up  # also while it is powered off
        if self._machine is not None:
            self._machine.set_link("wan", up)

    def _has_power(self) -> bool:
        return self._machine is not None and self._machine.running

    def _is_plugged(self) -> bool:
        """What its kernel says. A device without power, or one that stands still, can't be asked:
        then the last order counts."""
        if self._machine is None or self._machine.is_paused():
            return self._plugged
        return carrier(self, self.wan_card)

    def wan(self, port: int) -> tuple[str, int]:
        return wan.HOST, port

    def evidence(self) -> dict[str, str | Path]:
        files = {"console": self.folder / "console.log", "QEMU": self.folder / "qemu.log"}
        found: dict[str, str | Path] = {
            name: path.read_text(errors="replace") for name, path in files.items() if path.exists()
        }
        for packets in sorted(self.folder.glob("wan-*.pcap")):  # one a boot
            found[packets.stem] = packets
        if damage := kernel.damage(str(found.get("console", ""))):
            found["kernel"] = damage
        if self._machine is not None:
            found["daemon log"] = self.daemon_log()
        return found
