"""A libvirt and a Vagrant of their own, in a folder: nothing of the user's is seen or changed.

They run as an ordinary user (libvirt: `qemu:///session`), which needs no bridge and no privileges.
Where we are root they are `nobody`, for the libvirt of root is the system's.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import pwd
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from harness import environment
from harness.child import Child
from harness.errors import InfrastructureError
from harness.image import tools

PLUGIN = Path("/usr/share/vagrant-plugins/plugins.d/vagrant-libvirt.json")
"""By which Debian's Vagrant knows its provider; one in a user's home would not be seen."""

PROGRAMS = {
    "vagrant": "vagrant",
    "libvirtd": "libvirt-daemon",
    "virsh": "libvirt-clients",
    "debugfs": "e2fsprogs",
    "ssh-keygen": "openssh-client",
}
"""What is needed, each with its Debian package, beside the provider and QEMU."""

START_SECONDS = 60
VIRSH_SECONDS = 60

_NOBODY = "nobody"

_SWEEP = """\
cat >/dev/null
runs() { grep -qF "$1" /proc/$pid/cmdline 2>/dev/null; }
for file in "$1"/run/libvirt/qemu/run/*.pid "$1"/config/libvirt/qemu/lib/qmp-*/qmp.pid; do
    pid=$(cat "$file" 2>/dev/null) && runs "$1" && kill -KILL $pid || continue
    while runs "$1"; do sleep 0.05; done
done
rm -rf "$1"
"""
"""Ends what libvirt has started, which is nobody's child, when its own input ends: with the run,
whatever the reason. That is a machine, or a QEMU that is asked what it can do."""


def check_host() -> None:
    """@raise InfrastructureError: Vagrant, or what it needs, is not installed."""
    missing = []
    for program, package in PROGRAMS.items():
        try:
            tools.find(program, package)
        except InfrastructureError:
            missing.append(package)
    if not PLUGIN.exists():
        missing.append("vagrant-libvirt")
    if missing:
        what = f"{', '.join(missing)} {'is' if len(missing) == 1 else 'are'} not installed"
        raise InfrastructureError(what, device="vagrant", hint="make vagrant")


class Session:
    """@param device: name for errors. @ivar home: the folder; it is gone after `close`."""

    def __init__(self, device: str) -> None:
        self._device = device
        self._user = pwd.getpwnam(_NOBODY) if os.getuid() == 0 else None
        # nobody can't get into the folders of a run of root
        place = "/tmp" if self._user else None  # noqa: S108
        self.home = Path(tempfile.mkdtemp(prefix="hil-", dir=place))
        self._give(self.home)
        self._numbers = itertools.count(1)
        self._daemon: Child | None = None
        self._sweep: subprocess.Popen[bytes] | None = None
        self.project = self.folder("router")

    def folder(self, name: str) -> Path:
        """A folder in the home, of the user that all runs as."""
        path = self.home / name
        path.mkdir(mode=0o700, parents=True)
        self._give(path)
        return path

    def write(self, path: Path, text: str) -> None:
        """Write a file for that user."""
        path.write_text(text)
        self._give(path)

    def link(self, source: Path, target: Path) -> None:
        """Have a file in the home that may be in a folder which that user can't read."""
        try:
            os.link(source, target)
        except OSError:
            shutil.copyfile(source, target)
            self._give(target)

    def _give(self, path: Path) -> None:
        if self._user is not None:
            os.chown(path, self._user.pw_uid, self._user.pw_gid)

    @property
    def environment(self) -> dict[str, str]:
        """All that Vagrant and libvirt are told; nothing of ours, as an empty `VAGRANT_LOG`."""
        home = self.home
        return {
            **environment.of(),
            "HOME": str(home),
            "TMPDIR": str(home / "tmp"),
            "XDG_CACHE_HOME": str(home / "cache"),
            "XDG_CONFIG_HOME": str(home / "config"),
            "XDG_DATA_HOME": str(home / "data"),
            "XDG_RUNTIME_DIR": str(home / "run"),
            "LIBVIRT_DEFAULT_URI": "qemu:///session",
            "LIBVIRT_AUTOSTART": "0",
            "VAGRANT_HOME": str(home / "vagrant"),
            "VAGRANT_CWD": str(self.project),
            "VAGRANT_DOTFILE_PATH": str(self.project / ".vagrant"),
            "VAGRANT_CHECKPOINT_DISABLE": "1",
            "VAGRANT_NO_COLOR": "1",
        }

    def start(self) -> None:
        """Start the libvirt; it and all it starts end with this process, whatever the reason."""
        for name in ("tmp", "cache", "config", "data", "run"):
            self.folder(name)
        # else it starts a daemon that writes QEMU's log, and outlives it
        self.write(self.folder("config/libvirt") / "qemu.conf", 'stdio_handler = "file"\n')
        self._sweep = subprocess.Popen(
            [*self._as_user(), "sh", "-c", _SWEEP, "sh", str(self.home)],
            stdin=subprocess.PIPE,
            start_new_session=True,
            cwd="/",
            env=environment.of(),
        )
        self._daemon = self._child("libvirtd", self.home / "libvirtd.log")
        socket = self.home / "run/libvirt/libvirt-sock"
        deadline = time.monotonic() + START_SECONDS
        while not socket.exists():
            self.check()
            if time.monotonic() > deadline:
                why = f"libvirt does not listen after {START_SECONDS} s"
                raise InfrastructureError(why, device=self._device, evidence=self._daemon.tail())
            time.sleep(0.05)

    def _as_user(self, *options: str) -> list[str]:
        if self._user is None:
            return []
        user = [f"--reuid={self._user.pw_uid}", f"--regid={self._user.pw_gid}", "--clear-groups"]
        return ["setpriv", *user, *options, "--"]

    def _child(self, program: str, log: Path, *words: str) -> Child:
        path = tools.find(program, PROGRAMS[program])
        # who becomes another user is no longer bound to its parent, so once more
        argv = [*self._as_user("--pdeathsig", "KILL"), path, *words]
        return Child(argv, log, env=self.environment, cwd=self.project)

    def vagrant(self, *words: str, timeout: float) -> str:
        """Run Vagrant in the folder `project`.

        @return: its output.
        @raise InfrastructureError: it fails, or takes more than `timeout` seconds.
        """
        return self._run("vagrant", *words, timeout=timeout)

    def virsh(self, *words: str) -> str:
        """Ask libvirt. @raise InfrastructureError: as for `vagrant`."""
        return self._run("virsh", "--quiet", *words, timeout=VIRSH_SECONDS)

    def _run(self, program: str, *words: str, timeout: float) -> str:
        log = self.home / f"{program}-{next(self._numbers)}.log"
        child = self._child(program, log, *words)
        what = f"{program} {' '.join(words)[:100]}"
        try:
            status = child.wait(timeout)
        except InfrastructureError as error:
            why = f"`{what}`: no end within {timeout:g} s"
            raise InfrastructureError(why, device=self._device, evidence=child.tail()) from error
        finally:
            child.kill()
        if status != 0:
            why = f"`{what}` ended with status {status}"
            raise InfrastructureError(why, device=self._device, evidence=child.tail())
        said = log.read_text(errors="replace")
        log.unlink()
        return said

    def check(self) -> None:
        """@raise InfrastructureError: the libvirt ended by itself."""
        if self._daemon is not None and not self._daemon.running:
            why = f"libvirtd ended by itself, status {self._daemon.returncode}"
            raise InfrastructureError(why, device=self._device, evidence=self._daemon.tail())

    def close(self) -> None:
        """End all of it, and remove the folder. May be called twice."""
        if self._daemon is not None:
            self._daemon.terminate()
            self._daemon = None
        if self._sweep is not None:
            assert self._sweep.stdin is not None
            with contextlib.suppress(BrokenPipeError):
                self._sweep.stdin.close()
            self._sweep.wait(START_SECONDS)
            self._sweep = None
        shutil.rmtree(self.home, ignore_errors=True)
