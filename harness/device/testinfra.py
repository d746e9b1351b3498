"""A testinfra backend for any device: its modules run over the device's own `run`."""

from __future__ import annotations

from typing import Any

from testinfra.backend.base import BaseBackend, CommandResult
from testinfra.host import Host

from harness.device.base import Device


class DeviceBackend(BaseBackend):  # type: ignore[misc]  # testinfra ships no types
    """Carries testinfra's commands to a device over mgmt."""

    NAME = "device"

    def __init__(self, device: Device) -> None:
        super().__init__(device.name)
        self._device = device

    def run(self, command: str, *args: str, **kwargs: Any) -> CommandResult:
        done = self._device.run(self.get_command(command, *args))
        return self.result(done.status, done.command, done.stdout, done.stderr)


def host(device: Device) -> Host:
    """A testinfra host of the device."""
    return Host(DeviceBackend(device))
