"""What a labgrid target has, and how it is made: looked up without taking anything."""

from __future__ import annotations

import copy
import functools
import os
from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import yaml
from labgrid import Environment, Target, target_factory
from labgrid.driver import ManualPowerDriver, SSHDriver
from labgrid.protocol import CommandProtocol, DigitalOutputProtocol, PowerProtocol
from labgrid.resource.remote import RemotePlaceManager

from harness.device.labgrid.place import DEFAULT, Lab, Part, here, visit
from harness.errors import HarnessError, InfrastructureError, UsageError

WAN = "wan"
"""Name of the digital output that is the cable: on while it is plugged in."""

DRIVERS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "NetworkService": ("SSHDriver", "networkservice"),
        "NetworkSerialPort": ("SerialDriver", "port"),
        "NetworkPowerPort": ("NetworkPowerDriver", "port"),
        "PDUDaemonPort": ("PDUDaemonDriver", "port"),
        "HttpDigitalOutput": ("HttpDigitalOutputDriver", "http"),
    }
)
"""Drivers that need no words of a user, by the class of their resource, each with its binding."""


@dataclass(frozen=True)
class Plan:
    """A target, before anything of it is taken.

    @param name: what it is called. @param place: of a lab, as `Lab.find` takes it; or empty.
    @param coordinator: of that lab. @param config: of the target, as a file of labgrid has it.
    @param file: that file, if there is one. @param parts: what the place has.
    """

    name: str
    place: str
    coordinator: str
    config: Mapping[str, Any]
    file: Path | None
    parts: tuple[Part, ...]

    @property
    def emulated(self) -> Part | None:
        """The SSH of a router that `hil export` offers, if it is one."""
        return next((part for part in self.parts if "kind" in part.extra), None)

    @property
    def here(self) -> bool:
        """Whether it is an emulated router of this very computer, which reaches our loopback."""
        return self.emulated is not None and self.emulated.extra.get("here") == here()

    def lacks(self, needs: Set[str]) -> dict[str, str]:
        """Those of some capabilities that the target has not, with the reason."""
        drivers = list(_drivers(self.config))
        whose = "place" if self.place else "target"
        missing = {}
        if not any(
            issubclass(cls, PowerProtocol) and not issubclass(cls, ManualPowerDriver)
            for cls, _ in drivers
        ):
            missing["power"] = f"the {whose} has no power driver"
        if not any(issubclass(cls, DigitalOutputProtocol) and name == WAN for cls, name in drivers):
            missing["link"] = f"the {whose} has no digital output named {WAN}"
        elif not self.here:
            missing["link"] = "the daemon reaches the node through SSH, not over the cable"
        if self.emulated is None and "rootfs" not in (self.config.get("features") or ()):
            missing["rootfs"] = f"the {whose} does not have it among its features"
        return {need: why for need, why in missing.items() if need in needs}

    def make(self, lab: Lab | None) -> Target:
        """The target, its drivers not active yet.

        @param lab: has taken the place.
        @raise InfrastructureError: drivers and resources don't fit.
        """
        environment = Environment(str(self.file)) if self.file is not None else None
        manager = RemotePlaceManager.get()  # one for all places, and that of an earlier one
        manager.resources.clear()
        manager.unmanaged_resources.clear()
        if lab is not None:
            manager.env, manager.session, manager.loop = environment, lab.session, lab.session.loop
        try:
            config = copy.deepcopy(dict(self.config))
            return target_factory.make_target(self.name, config, env=environment)
        except Exception as error:
            raise InfrastructureError(f"labgrid can't make {self.name!r}: {error}") from error


@functools.cache
def plan(argument: str) -> Plan:
    """@param argument: a file that ends in `.yaml`, or a place; see `Lab.find`.
    @raise UsageError: there is no such file or place, or what is in it can't be used.
    @raise InfrastructureError: there is no coordinator.
    """
    if argument.endswith((".yaml", ".yml")):
        return _of_a_file(Path(argument))
    coordinator = os.environ.get("LG_COORDINATOR") or DEFAULT
    parts = _look(coordinator, argument)
    drivers: dict[str, dict[str, Any]] = {}
    for part in parts:
        driver, binding = DRIVERS.get(part.cls, ("", ""))
        if driver and (driver not in drivers or part.name == "default"):
            # a digital output is known by its name
            drivers[driver] = {"cls": driver, "name": part.name, "bindings": {binding: part.name}}
    if "SSHDriver" not in drivers:
        raise UsageError(
            f"place {argument!r} has no NetworkService",
            hint="write an environment file that says how to get in: --device labgrid:ENV.yaml",
        )
    config = {
        "resources": [{"cls": "RemotePlace", "name": argument}],
        "drivers": list(drivers.values()),
    }
    return Plan(argument, argument, coordinator, config, None, parts)


def _of_a_file(file: Path) -> Plan:
    try:
        return _read(file)
    except HarnessError:
        raise
    except Exception as error:  # whatever labgrid's code, or what the file imports, runs into
        if not isinstance(error.__context__, yaml.YAMLError):
            why = " ".join(str(getattr(error, "msg", error)).split())
            raise UsageError(f"labgrid can't use {file}: {why}") from error
        mark = getattr(error.__context__, "problem_mark", None)
    where = f", line {mark.line + 1}" if mark else ""
    why = f"Error in configuration file{where}: it is not valid YAML"
    # outside of the `except`: PyYAML's error quotes the file, with its passwords
    raise UsageError(f"labgrid can't use {file}: {why}")


def _read(file: Path) -> Plan:
    environment = Environment(str(file))
    targets = environment.config.get_targets()
    if len(targets) != 1 and "main" not in targets:
        raise UsageError(
            f"labgrid: {file} has {len(targets)} targets", hint="have one, or call one `main`"
        )
    role = "main" if "main" in targets else next(iter(targets))
    config = targets[role] or {}
    _check_values(config)
    ways = {cls for cls, _ in _drivers(config) if issubclass(cls, CommandProtocol)}
    resources, _ = target_factory.normalize_config(copy.deepcopy(config))
    places = [str(name) for name in resources.get("RemotePlace", {})]
    if places:
        default = os.environ.get("LG_COORDINATOR") or DEFAULT
        coordinator = environment.config.get_option("coordinator_address", default)
        found = Plan(role, places[0], coordinator, config, file, _look(coordinator, places[0]))
    else:
        found = Plan(role, "", "", config, file, ())
    if not any(found.here or issubclass(cls, SSHDriver) for cls in ways):
        raise UsageError(
            f"labgrid: target {role!r} of {file} has no SSHDriver",
            hint="add one: the daemon reaches the node through it",
        )
    return found


def _check_values(config: Mapping[str, Any]) -> None:
    for described in (config.get("resources"), config.get("drivers")):
        if isinstance(described, Mapping):
            for cls, value in described.items():
                if value is None:
                    raise UsageError(f"labgrid: {cls} has no value", hint=f"write `{cls}: {{}}`")


def _look(coordinator: str, place: str) -> tuple[Part, ...]:
    with visit(coordinator) as lab:
        return tuple(lab.parts(lab.find(place)))


def _drivers(config: Mapping[str, Any]) -> Iterable[tuple[type, str]]:
    """Classes of drivers, and their names.

    @raise UsageError: labgrid has no such driver.
    """
    _, drivers = target_factory.normalize_config(copy.deepcopy(dict(config)))
    for cls, named in drivers.items():
        if cls not in target_factory.drivers:
            raise UsageError(f"labgrid has no driver {cls!r}")
        for name in named:
            yield target_factory.drivers[cls], name or ""
