"""A device of a labgrid lab: a board, or an emulated router that a computer of the lab exports.

Labgrid has the power switches, the consoles and the places; see docs/labgrid.md. What is asked of
it is in modules of their own, as they need labgrid, which may not be installed.
"""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import shlex
import time
from collections.abc import Callable, Iterator, Set
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, ClassVar

from harness.device import wan
from harness.device.base import Action, Completed, Device, check_action, read_or_why
from harness.device.boots import Boots
from harness.device.console import watch
from harness.device.software import Software
from harness.errors import (
    BootError,
    CommandError,
    DeviceError,
    HarnessError,
    InfrastructureError,
    UsageError,
)
from harness.evidence.timeline import Timeline
from harness.fault.reboot import BOOT_ID
from harness.machine.functions import CableFunctions, RebootFunctions, SupplyFunctions

if TYPE_CHECKING:
    from harness.device.labgrid.console import ConsoleLog
    from harness.device.labgrid.place import Lab
    from harness.device.labgrid.plan import Plan
    from harness.device.labgrid.shell import Shell

BOOT_SECONDS = 180
"""Until a target takes commands that has got its power back."""

INIT = "/etc/init.d/paradrop"
"""What our own images start their daemon with; where it is, nothing is installed."""

LIVE = frozenset({"ca.pem"})
"""Those files of the configuration that the daemon reads again whenever it connects."""


class LabgridDevice(Device):
    """A target of labgrid: `labgrid:PLACE`, or `labgrid:ENV.yaml`."""

    kind: ClassVar[str] = "labgrid"
    capabilities: ClassVar[frozenset[str]] = frozenset(
        {"clock", "link", "power", "reboot", "rootfs"}
    )
    memory: int = 32 << 20  # of this computer: it runs elsewhere

    config_home = PurePosixPath("/etc/paradrop")
    runtime_home = PurePosixPath("/var/run/paradrop")
    daemon_user = "paradrop"

    def __init__(self, folder: Path, timeline: Timeline, argument: str = "") -> None:
        super().__init__(folder, timeline, argument)
        self._lab: Lab | None = None
        self._place = ""
        self._target: Any = None
        self._shell: Shell | None = None
        self._console: ConsoleLog | None = None
        self._power_driver: Any = None
        self._facts: dict[str, str] = {}
        self._off = False
        self._plugged = True
        self._software: Software | None = None
        self.parts = {
            "power": SupplyFunctions(self._cut, self._power_on, self._has_power),
            "clock": self,
            "reboot": RebootFunctions(self.succeed, self._rebooted),
        }
        self._boots = Boots(self.name, folder / "console.log")

    # -- before there is one

    @classmethod
    def check_host(cls, argument: str) -> None:
        if not argument:
            raise UsageError(
                "labgrid: which one?", hint="--device labgrid:PLACE or labgrid:ENV.yaml"
            )
        _plan(argument)

    @classmethod
    def lacks(cls, argument: str, needs: Set[str]) -> dict[str, str]:
        here = needs & cls.capabilities
        return super().lacks(argument, needs) | _plan(argument).lacks(here)

    # -- its life

    def start(self) -> None:
        plan = _plan(self.argument)
        if plan.place:
            self._take(plan)
        self._target = plan.make(self._lab)
        self._bind(plan)
        if self._power_driver is not None:
            self._switch(True)
        self._connect()
        self._configure()
        self._facts = self._ask()

    def _take(self, plan: Plan) -> None:
        from harness.device.labgrid.place import Lab

        self._lab = Lab(plan.coordinator)
        self._place = self._lab.take(plan.place)
        self.timeline.record(self.name, "place acquired", place=self._place)
        self._lab.wait_ready(self._place)

    def _bind(self, plan: Plan) -> None:
        """Find the drivers of what it has to do."""
        from labgrid.driver import ManualPowerDriver, SSHDriver
        from labgrid.protocol import CommandProtocol, ConsoleProtocol, PowerProtocol

        from harness.device.labgrid.console import ConsoleLog
        from harness.device.labgrid.plan import WAN
        from harness.device.labgrid.shell import Serial, Ssh

        ssh = self._driver(SSHDriver)
        if ssh is not None:
            key = self._extra("key")
            self._shell = Ssh(self.name, self._target, ssh, self.folder, key)
        else:
            command = self._driver(CommandProtocol)
            self._shell = Serial(self.name, self._target, command)
        power = self._driver(PowerProtocol)
        if power is not None and not isinstance(power, ManualPowerDriver):
            self._power_driver = power
            self._activate(power)
        if not plan.lacks({"link"}):
            from labgrid.protocol import DigitalOutputProtocol

            cable = self._driver(DigitalOutputProtocol, WAN)
            self._activate(cable)
            self.cables = {"wan": CableFunctions(self._turn(cable), self._reading(cable))}
        console = self._driver(ConsoleProtocol)
        if console is not None and ssh is not None:  # else it is where commands are typed
            self._activate(console)
            self._console = ConsoleLog(console, self.folder / "console.log")

    def _driver(self, cls: type, name: str | None = None) -> Any:
        """The driver that implements a protocol, not active yet; None if there is none."""
        from labgrid.exceptions import NoDriverFoundError

        try:
            return self._target.get_driver(cls, name=name, activate=False)
        except NoDriverFoundError as error:
            if "multiple" in error.msg:
                raise InfrastructureError(f"labgrid: {error.msg}", device=self.name) from error
            return None

    def _activate(self, driver: Any) -> None:
        try:
            self._target.activate(driver)
        except Exception as error:
            name = type(driver).__name__
            raise InfrastructureError(f"labgrid's {name}: {error}", device=self.name) from error

    def _extra(self, name: str) -> str:
        """What the exporter of our own routers tells of one."""
        if self._lab is None:
            return ""
        extras = (part.extra for part in self._lab.parts(self._place))
        return next((str(extra[name]) for extra in extras if name in extra), "")

    def _connect(self) -> None:
        try:
            self._open.connect(BOOT_SECONDS)
        except BootError as error:
            try:
                self.check()
                self._boots.autopsy()
            except DeviceError as death:
                raise BootError(death.what, device=self.name, evidence=death.evidence) from error
            if self._console is not None:
                error.evidence = self._console.tail()
            raise

    def _configure(self) -> None:
        """Have the daemon run with this bench's settings, and without an identity."""
        if self.run(f"test -x {INIT}").status != 0:
            self._software = Software(self.name, self._run, self.write)
            self._software.install()
        changed = {
            name
            for name, data in self.config.items()
            if self.run(f"cat {self.config_home / name}").stdout != data
        }
        for name in changed:
            self.write(self.config_home / name, self.config[name], 0o600, self.daemon_user)
        if changed - LIVE:
            self.erase_identity()
            self.daemon("restart")
        else:
            self.daemon("start")
        self.forget()

    def close(self) -> None:
        with contextlib.ExitStack() as held:
            if self._lab is not None:
                held.callback(self._lab.close)
                if self._place:
                    held.callback(self._lab.release, self._place)
            if self._target is not None:
                held.callback(self._target.cleanup)
            if self._shell is not None:
                held.callback(self._shell.drop)
            if self._software is not None:
                held.callback(self._clean, self._software)
            if self._console is not None:
                held.callback(self._console.close)
        self._lab = self._target = self._shell = self._console = self._power_driver = None
        self._software = None
        self._place = ""
        self.cables = {}

    def _clean(self, software: Software) -> None:
        """Have the target as it was; one that was left without power gets it back."""
        try:
            if self._off:
                self._switch(True)
                self._connect()
            software.remove()
        except HarnessError as error:
            logging.getLogger("harness").warning(f"what was installed is still there: {error}")

    def check(self) -> None:
        if self._lab is not None and self._place:
            try:
                self._lab.check(self._place)
            except InfrastructureError as error:
                raise InfrastructureError(error.what, device=self.name, hint=error.hint) from None
        self._boots.check_answering()

    def check_kernel(self) -> None:
        self._boots.check_kernel()

    # -- power

    def _switch(self, on: bool) -> None:
        assert self._power_driver is not None
        try:
            self._power_driver.on() if on else self._power_driver.off()
        except Exception as error:
            self.check()
            word = "on" if on else "off"
            raise InfrastructureError(
                f"can't be powered {word}: {error}", device=self.name
            ) from error
        self._off = not on

    def _has_power(self) -> bool:
        """Where its driver can only switch, the last order counts."""
        try:
            return bool(self._power_driver.get())
        except Exception:
            return not self._off

    def _cut(self) -> None:
        self._boots.end()
        self._switch(False)
        self._open.drop()

    def _power_on(self) -> None:
        self._boots.begin()
        self._switch(True)
        self._connect()
        self._start_daemon()

    def _start_daemon(self) -> None:
        if self._software is not None:  # which no boot starts
            self.daemon("start")

    @contextlib.contextmanager
    def _rebooted(self) -> Iterator[None]:
        self.check_kernel()
        before = self._open.run(BOOT_ID, 30).text
        yield
        deadline = time.monotonic() + BOOT_SECONDS
        while self._boot_id() in ("", before):
            if time.monotonic() > deadline:
                raise self._boots.error(f"the device did not reboot within {BOOT_SECONDS} s")
            time.sleep(0.5)
        self._start_daemon()
        self._boots.expect_no_more()

    def _boot_id(self) -> str:
        """Of its current boot; empty while it does not answer."""
        try:
            return self._open.run(BOOT_ID, 10).text
        except InfrastructureError:
            self._open.drop()
            with contextlib.suppress(BootError):
                self._open.connect(10)
            return ""

    def _reading(self, cable: Any) -> Callable[[], bool]:
        """Where its driver can only switch, the last order counts."""

        def read() -> bool:
            try:
                return bool(cable.get())
            except Exception:
                return self._plugged

        return read

    def _turn(self, cable: Any) -> Callable[[bool], None]:
        def turn(up: bool) -> None:
            try:
                cable.set(up)
                self._plugged = up
            except Exception as error:
                self.check()
                raise InfrastructureError(f"the cable: {error}", device=self.name) from error

        return turn

    # -- mgmt

    @property
    def _open(self) -> Shell:
        if self._shell is None:
            raise InfrastructureError("is not started", device=self.name)
        return self._shell

    def run(self, command: str, timeout: float = 60) -> Completed:
        if self._software is not None:
            done = self._run(self._software.command(command), timeout)
            return Completed(command, done.status, done.stdout, done.stderr)
        return self._run(command, timeout)

    def _run(self, command: str, timeout: float = 60, stdin: bytes = b"") -> Completed:
        if self._off:
            raise InfrastructureError("is powered off", device=self.name)
        try:
            return self._open.run(command, timeout, stdin)
        except InfrastructureError:
            self._autopsy()
            raise

    def _autopsy(self) -> None:
        """Something failed: if that is because the place or the device has gone, say so instead."""
        deadline = time.monotonic() + 2  # the lab has to notice first
        while self._lab is not None and time.monotonic() < deadline:
            self.check()
            time.sleep(0.1)
        self._boots.autopsy()

    def write(
        self,
        path: PurePosixPath | str,
        data: bytes,
        mode: int = 0o644,
        owner: str | None = None,
    ) -> None:
        # a new file takes its place at once, as whoever reads it meanwhile may not see half of it
        target, new = shlex.quote(str(path)), shlex.quote(f"{path}.new")
        command = f"umask 077 && cat > {new} && chmod {mode:o} {new}"
        if owner is not None:
            command += f" && chown {shlex.quote(owner)}: {new}"
        done = self._run(f"{command} && mv {new} {target} && sync", stdin=data)
        if done.status != 0:
            raise CommandError(f"can't write {path}: {_said(done)}", device=self.name)

    def read(self, path: PurePosixPath | str) -> bytes:
        done = self._run(f"cat {shlex.quote(str(path))}")
        if done.status != 0:
            raise CommandError(f"can't read {path}: {_said(done)}", device=self.name)
        return done.stdout

    def access(self) -> dict[str, str]:
        where = self._place or f"-c {self.argument}"
        known = {"console": watch(self.folder / "console.log")} if self._console else {}
        if self._place:
            known["labgrid"] = f"labgrid-client -p {where} show"
        return known

    def wan(self, port: int) -> tuple[str, int]:
        if _plan(self.argument).here:
            return wan.HOST, port
        self._open.forward(port)
        return "127.0.0.1", port

    def daemon(self, action: Action) -> None:
        check_action(action)
        if self._software is not None:
            self._software.daemon(action)
        else:
            self.succeed(f"{INIT} {action}")

    # -- evidence

    def evidence(self) -> dict[str, str | Path]:
        found: dict[str, str | Path] = {}
        if self._console is not None:
            found["console"] = self._console.path.read_text(errors="replace")
        if self._shell is not None and not self._off:
            found["daemon log"] = self.daemon_log()
            if self._software is not None:
                found["daemon output"] = read_or_why(self._software.log)
        return found

    def _ask(self) -> dict[str, str]:
        kernel, architecture = self.succeed("uname -r; uname -m").split()
        facts = {"architecture": architecture, "kernel": kernel}
        if self._lab is not None:
            facts |= {"place": self._place, "coordinator": self._lab.address}
        if self._software is not None:
            facts |= self._software.facts()
        if kind := self._extra("kind"):
            facts["exported"] = kind
        return facts

    def facts(self) -> dict[str, str]:
        return self._facts


def _plan(argument: str) -> Plan:
    """@raise InfrastructureError: labgrid is not installed, or see `labgrid.plan`."""
    if importlib.util.find_spec("labgrid") is None:
        raise InfrastructureError(
            "labgrid is not installed", hint="pip install 'paradrop[labgrid]'"
        )
    from harness.device.labgrid.plan import plan

    return plan(argument)


def _said(done: Completed) -> str:
    return (done.stderr or done.stdout).decode(errors="replace").strip()
