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


_systems: dict[str, dict[str, str]] = {}


def host(device: Device) -> Host:
    """A testinfra host of the device.

    Which system it runs, testinfra asks with six commands; that is the same for all devices of
    one image.
    """
    made = Host(DeviceBackend(device))
    image = device.facts().get("image")
    if image is not None:
        if image not in _systems:
            _systems[image] = made.system_info.sysinfo
        made.system_info.__dict__["sysinfo"] = _systems[image]  # what it has asked it keeps there
    return made
