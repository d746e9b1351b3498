"""The embedded default: the daemon as a process in a folder of its own, seconds to a verdict."""

from __future__ import annotations

import os
import platform
import pwd
import signal
import subprocess
import sys
import time
from pathlib import Path, PurePosixPath
from shlex import quote
from typing import ClassVar

import paradrop
from harness import environment
from harness.child import Child
from harness.device.base import Action, Completed, Device, check_action
from harness.device.console import watch
from harness.device.relay import Relay
from harness.errors import CommandError, DeviceError, InfrastructureError
from harness.evidence.timeline import Timeline
from harness.machine.functions import CableFunctions, PauseFunctions, SupplyFunctions

START_SECONDS = 30

UMASK = 0o022
"""A usual one, whatever ours is: a strict one would hide files that the daemon leaves open."""


class ProcessDevice(Device):
    """Runs the daemon of this very environment; its wan is a relay that can go silent."""

    kind: ClassVar[str] = "process"
    capabilities: ClassVar[frozenset[str]] = frozenset({"freeze", "link", "power", "several"})

    def __init__(self, folder: Path, timeline: Timeline, argument: str = "") -> None:
        super().__init__(folder, timeline, argument)
        self._home = folder / "etc"
        self.config_home = PurePosixPath(self._home)
        self.runtime_home = PurePosixPath(folder / "run")
        self.daemon_user = _user()
        self._log = folder / "console.log"
        self._child: Child | None = None
        self._relays: dict[int, Relay] = {}
        self._plugged = True
        self.cables = {"wan": CableFunctions(self._switch, self._is_plugged)}
        self.parts = {
            "power": SupplyFunctions(
                self._cut, lambda: self.daemon("start"), lambda: self._child is not None
            ),
            "freeze": PauseFunctions(
                lambda: self._send(signal.SIGSTOP),
                lambda: self._send(signal.SIGCONT),
                self._is_stopped,
            ),
        }
        # its settings are its own: a variable of our shell may have the name of one
        self._environment = environment.of_python(
            Path(paradrop.__file__).parents[1],
            PATH=f"{Path(sys.executable).parent}:{environment.search_path()}",
            HOME=str(self._home),
            TMPDIR=str(folder / "tmp"),
            TZ="UTC",
            CONFIG_HOME_DIR=f"{self._home}/",
            RUNTIME_HOME_DIR=f"{folder / 'run'}/",
        )

    def start(self) -> None:
        self._home.mkdir(mode=0o750)
        (self.folder / "run").mkdir(mode=0o755)
        (self.folder / "tmp").mkdir(mode=0o700)
        for name, data in self.config.items():
            self.write(self.config_home / name, data, mode=0o600)
        self.daemon("start")

    def close(self) -> None:
        if self._child is not None:
            self._child.terminate()
            self._child = None
        for relay in self._relays.values():
            relay.close()
        self._relays.clear()

    def run(self, command: str, timeout: float = 60) -> Completed:
        shell = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", "sh", "-c", command],
            cwd=self._home,
            env=self._environment,
            umask=UMASK,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        try:
            output, errors = shell.communicate(timeout=timeout)
        except BaseException as error:
            os.killpg(shell.pid, signal.SIGKILL)
            shell.communicate()
            if isinstance(error, subprocess.TimeoutExpired):
                raise InfrastructureError(
                    f"`{command[:200]}`: no end within {timeout:g} s", device=self.name
                ) from error
            raise
        return Completed(command, shell.returncode, output, errors)

    def write(
        self,
        path: PurePosixPath | str,
        data: bytes,
        mode: int = 0o644,
        owner: str | None = None,  # all of it belongs to the one user there is
    ) -> None:
        target = Path(path)
        try:
            target.touch(mode=0o600)
            target.chmod(mode)
            target.write_bytes(data)
        except OSError as error:
            raise CommandError(f"can't write {path}: {error}", device=self.name) from error

    def read(self, path: PurePosixPath | str) -> bytes:
        try:
            return Path(path).read_bytes()
        except OSError as error:
            raise CommandError(f"can't read {path}: {error}", device=self.name) from error

    def access(self) -> dict[str, str]:
        return {
            "shell": f"cd {quote(str(self._home))}",
            "console": watch(self._log),
        }

    def wan(self, port: int) -> tuple[str, int]:
        if port not in self._relays:
            self._relays[port] = Relay(port)
            self._relays[port].switch(self._plugged)
        return "127.0.0.1", self._relays[port].port

    def _switch(self, plugged: bool) -> None:
        self._plugged = plugged
        for relay in self._relays.values():
            relay.switch(plugged)

    def _is_plugged(self) -> bool:
        return any(relay.plugged for relay in self._relays.values()) or self._plugged

    def _send(self, number: signal.Signals) -> None:
        if self._child is not None:
            self._child.send(number)

    def _is_stopped(self) -> bool:
        """Whether the kernel says so of each of its threads; proc(5)."""
        if self._child is None:
            return True
        stats = Path(f"/proc/{self._child.pid}/task").glob("*/stat")
        return all(each.read_text().rpartition(")")[2].split()[0] == "T" for each in stats)

    def _cut(self) -> None:
        if self._child is not None:
            self._child.kill()
            self._child = None

    def daemon(self, action: Action) -> None:
        check_action(action)
        if action != "start" and self._child is not None:
            status = self._child.terminate()
            self._child = None
            if status != 0:
                raise DeviceError(
                    f"the daemon exited {status} when it was stopped", device=self.name
                )
        if action != "stop" and self._child is None:
            self._child = Child(
                [sys.executable, "-m", "paradrop"],
                self._log,
                cwd=self._home,
                env=self._environment,
                umask=UMASK,
            )
            deadline = time.monotonic() + START_SECONDS
            while not self._is_up(self._child.pid):  # a power cut leaves an older pid there
                self.check()
                if time.monotonic() > deadline:
                    raise DeviceError(
                        f"the daemon is not up after {START_SECONDS} s",
                        device=self.name,
                        evidence=self._child.tail(),
                    )
                time.sleep(0.02)

    def _is_up(self, pid: int) -> bool:
        try:
            return int((self.folder / "run" / "paradropd.pid").read_text()) == pid
        except (OSError, ValueError):
            return False

    def check(self) -> None:
        if self._child is not None and not self._child.running:
            raise DeviceError(
                f"the daemon ended by itself, status {self._child.returncode}",
                device=self.name,
                evidence=self._child.tail(),
            )

    def evidence(self) -> dict[str, str | Path]:
        found = {"console": self._log, "daemon log": self._home / "logs" / "log"}
        return {
            name: path.read_text(errors="replace") for name, path in found.items() if path.exists()
        }

    def facts(self) -> dict[str, str]:
        return {
            "architecture": platform.machine(),
            "paradrop": paradrop.__version__,
            "python": sys.version.split()[0],
        }


def _user() -> str:
    """Who we are, as `stat` names the owner of our files; an account is not needed."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return "UNKNOWN"
