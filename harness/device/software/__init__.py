"""The daemon on a system that is not ours: what is in its way, put there, run, taken away.

Everything is below one folder, `BASE`; beside it only the daemon's own folders and its user are
made, and `remove` puts back what was there. The programs that run on the system are in `board/`.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

from harness.device.base import Completed
from harness.errors import CommandError, InfrastructureError
from harness.image import ARCHITECTURES, bundle

BASE = "/opt/paradrop"
CONFIG_HOME = "/etc/paradrop"
RUNTIME_HOME = "/var/run/paradrop"

OLDEST_PYTHON = (3, 11)

NEEDS_MIB: Mapping[str, int] = {BASE: 120, CONFIG_HOME: 4, RUNTIME_HOME: 1}
"""Free space: the archive and what it unpacks to; an identity and its logs; a pid."""

INSTALL_SECONDS = 900
"""Of unpacking or importing everything: an emulated CPU takes some 40 s, on a busy computer far
longer."""

STOP_SECONDS = 300
"""A daemon that does not end when it is told to is killed after half a minute."""

LOG_LINES = 200

NO_TIMEOUT = "it has no command timeout"
"""`Device.wait_until_succeeds` runs it there."""

_MODULES = (
    *("asyncio", "bz2", "ctypes", "decimal", "email", "hashlib", "html", "http", "importlib"),
    *("json", "logging", "multiprocessing", "ssl", "unittest", "uuid", "xml", "zipfile"),
)
"""Parts of Python's own library that small systems leave out."""

_BOARD = Path(__file__).with_name("board")
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

Run = Callable[[str, float], Completed]
"""Runs a shell command as the administrator, within some seconds, whatever its exit status."""

Write = Callable[[str, bytes, int], None]
"""Replaces a file: its path, its content, its mode."""


@dataclass(frozen=True)
class Python:
    """An interpreter there. @param glibc: version of its C library; None if that is another.
    @param missing: those of its modules that are not there."""

    path: str
    version: tuple[int, int]
    glibc: tuple[int, int] | None
    missing: tuple[str, ...]

    @property
    def why_not(self) -> str:
        """Why the daemon can't run on it, if so."""
        name = f"its Python {'.'.join(map(str, self.version))}"
        if self.version < OLDEST_PYTHON:
            return f"{name} is too old: the daemon needs 3.11 or newer"
        if self.missing:
            return f"{name} has no {', '.join(self.missing)}: install all of Python's library there"
        if self.glibc is None:
            return f"{name} uses a C library other than glibc, which the wheels need"
        if self.glibc < bundle.OLDEST_GLIBC:
            return f"its glibc {'.'.join(map(str, self.glibc))} is older than the wheels need"
        return ""


@dataclass(frozen=True)
class _Folder:
    """Where something has to go. @param found: the nearest folder above that exists.
    @param free: KiB; None if unknown."""

    wanted: str
    found: str
    writable: bool
    free: int | None


@dataclass(frozen=True)
class _System:
    uid: str
    machine: str
    timeout: bool
    pythons: tuple[Python, ...]
    folders: tuple[_Folder, ...]

    @classmethod
    def read(cls, text: str) -> _System:
        names = ("uid", "machine", "timeout", "python", "folder")
        found: dict[str, list[str]] = {name: [] for name in names}
        for line in text.splitlines():
            name, equals, value = line.strip().partition("=")
            if equals and name in found:
                found[name].append(value)
        return cls(
            "".join(found["uid"]),
            "".join(found["machine"]),
            bool(found["timeout"]),
            tuple(_python(each) for each in found["python"]),
            tuple(_folder(each) for each in found["folder"]),
        )

    @property
    def python(self) -> Python | None:
        """The first that the daemon can run on."""
        return next((each for each in self.pythons if not each.why_not), None)

    def obstacles(self) -> list[str]:
        why = []
        if self.uid != "0":
            why.append(f"commands run as user {self.uid or 'unknown'}, and not as root")
        wheels = [name for name, each in ARCHITECTURES.items() if each.platforms]
        if self.machine not in wheels:
            known = ", ".join(wheels)
            why.append(f"its processor is {self.machine or 'unknown'}; wheels are for {known}")
        if not self.timeout:
            why.append(NO_TIMEOUT)
        if not self.pythons:
            why.append("it has no Python; the daemon needs 3.11 or newer")
        elif self.python is None:
            why.append(self.pythons[0].why_not)
        for folder in self.folders:
            needs = NEEDS_MIB.get(folder.wanted, 0)
            if not folder.writable:
                why.append(f"{folder.found} is read-only, and {folder.wanted} has to be there")
            elif folder.free is not None and folder.free >> 10 < needs:
                free = folder.free >> 10
                why.append(f"{free} MiB are free in {folder.found}, {folder.wanted} takes {needs}")
        return why


class Software:
    """The library, its daemon and their Python packages on a system of somebody else.

    @param device: name for errors.
    @param run: see `Run`. @param write: see `Write`.
    """

    def __init__(self, device: str, run: Run, write: Write) -> None:
        self._device = device
        self._run = run
        self._write = write
        self._system: _System | None = None

    def _look(self) -> _System:
        if self._system is None:
            script = (_BOARD / "probe").read_text()
            script = script.replace("@MODULES@", " ".join(_MODULES))
            script = script.replace("@FOLDERS@", " ".join(NEEDS_MIB))
            self._system = _System.read(self._run(script, 300).text)
            if not self._system.folders:
                self._system = None
                raise InfrastructureError("its shell does not run our script", device=self._device)
        return self._system

    def obstacles(self) -> list[str]:
        """Why the daemon can't be put there, a line each; empty if it can. Nothing is changed."""
        return self._look().obstacles()

    def facts(self) -> dict[str, str]:
        """For the report: what it runs on."""
        python = self._look().python
        return {} if python is None else {"Python": ".".join(map(str, python.version))}

    def command(self, text: str) -> str:
        """A shell command that finds `paradropd`, and a `python3` that has the library."""
        return f"export PATH={BASE}/bin:$PATH:{_PATH}; {text}"

    def install(self) -> None:
        """Put everything there, in place of what an earlier run has left; nothing is started.

        @raise InfrastructureError: it can't be; says why.
        """
        self.remove()
        system = self._look()
        obstacles, python = system.obstacles(), system.python
        if obstacles or python is None or python.glibc is None:
            why = "; ".join(obstacles)
            raise InfrastructureError(f"the daemon can't run there: {why}", device=self._device)
        packages = bundle.make(system.machine, python.version, python.glibc)
        parent = str(PurePosixPath(BASE).parent)
        self._do(
            f"test -d {parent} || made={BASE}/parent-made; mkdir -p {BASE}/bin && "
            f'chmod 755 {BASE} {BASE}/bin && {{ [ -z "$made" ] || touch $made; }}'
        )
        files = {f"bin/{name}": (_BOARD / name).read_bytes() for name in ("control", "supervise")}
        path = shlex.quote(python.path)
        files["bin/python3"] = f'#!/bin/sh\nPYTHONPATH={BASE}/lib exec {path} "$@"\n'.encode()
        files["bin/paradropd"] = f'#!/bin/sh\nexec {BASE}/bin/python3 -m paradrop "$@"\n'.encode()
        files["setup"] = (_BOARD / "setup").read_bytes()
        files["packages.zip"] = packages.read_bytes()
        for name, data in files.items():
            self._write(f"{BASE}/{name}", data, 0o755 if name.startswith("bin/") else 0o644)
        self._do(f"{path} -IS {BASE}/setup install", INSTALL_SECONDS)
        if python.version != OLDEST_PYTHON:  # byte code of that one comes along
            self._do(f"{path} -m compileall -q {BASE}/lib >/dev/null 2>&1; true", INSTALL_SECONDS)
        self._do(f"{BASE}/bin/python3 -c 'import paradrop.daemon.router'", INSTALL_SECONDS)

    def remove(self) -> None:
        """End the daemon and put everything back as it was; nothing is done where nothing is.

        @raise InfrastructureError: it can't be.
        """
        python = f"$(sed -n 's/.*exec \\(.*\\) \"$@\"/\\1/p' {BASE}/bin/python3)"
        self._do(
            f"test -e {BASE} || exit 0; "
            f"test -f {BASE}/undo.json || {{ rm -rf {BASE}; exit; }}; "
            f"{BASE}/bin/control stop && {python} -IS {BASE}/setup remove",
            STOP_SECONDS,
        )

    def daemon(self, action: Literal["start", "stop", "restart"]) -> None:
        """Start it, so that it is kept running, or stop it. It is not started by a boot.

        @raise CommandError: it does not do it.
        """
        done = self._run(f"{BASE}/bin/control {action}", STOP_SECONDS)
        if done.status != 0:
            raise CommandError(
                f"the daemon does not {action}", device=self._device, evidence=done.said
            )

    def log(self) -> str:
        """The last of what the daemon printed; its own log is elsewhere."""
        return self._run(f"tail -n {LOG_LINES} {BASE}/daemon.log", 60).text

    def _do(self, command: str, timeout: float = 60) -> None:
        done = self._run(command, timeout)
        if done.status != 0:
            raise InfrastructureError(
                f"`{command[:100]}` exited {done.status}",
                device=self._device,
                evidence=done.said[-2000:],
            )


def _python(line: str) -> Python:
    path, version, libc, missing = line.split("|")
    glibc = _version(libc.removeprefix("glibc ")) if libc.startswith("glibc ") else None
    return Python(path, _version(version), glibc, tuple(missing.split()))


def _version(text: str) -> tuple[int, int]:
    major, minor = text.split(".")[:2]
    return int(major), int(minor)


def _folder(line: str) -> _Folder:
    wanted, found, can, free = line.split("|")
    return _Folder(wanted, found, can == "yes", int(free) if free.isdigit() else None)
