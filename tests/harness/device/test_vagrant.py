"""Vagrant for real: what a person does with it, and the device that suites run on."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import harness
from harness.device.vagrant import VagrantDevice, session
from harness.device.vagrant.session import Session
from harness.errors import DeviceError, HarnessError, InfrastructureError, UsageError
from harness.evidence.timeline import Timeline
from harness.image.box import Box, box

CHECKOUT = Path(harness.__file__).parents[1]
HIL = Path(sys.executable).with_name("hil")
SECONDS = 600


def _missing() -> str:
    try:
        VagrantDevice.check_host("")
    except InfrastructureError as error:
        return str(error)
    return ""


needs_vagrant = pytest.mark.skipif(bool(_missing()), reason=_missing() or "there is Vagrant")


@pytest.mark.parametrize(
    "words", [["-m", "harness", "up", "vagrant"], ["-m", "pytest", "hil", "--device", "vagrant"]]
)
def test_without_vagrant_one_line_says_what_to_do(words: list[str], tmp_path: Path) -> None:
    command = [HIL, *words[2:]] if "harness" in words else [sys.executable, *words]
    done = subprocess.run(
        command,
        cwd=CHECKOUT,
        env={**os.environ, "PATH": str(tmp_path), "COLUMNS": "40", "XDG_CACHE_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode != 0
    (line,) = [line for line in done.stderr.splitlines() if line]
    assert "vagrant: vagrant, " in line
    assert line.endswith("are not installed (make vagrant)")
    assert list(tmp_path.iterdir()) == []


def test_a_vagrant_without_its_provider_is_none(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for program in session.PROGRAMS:
        (tmp_path / program).touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(session, "PLUGIN", tmp_path / "none.json")
    with pytest.raises(InfrastructureError) as raised:
        VagrantDevice.check_host("")
    assert str(raised.value) == "vagrant: vagrant-libvirt is not installed (make vagrant)"


@pytest.mark.parametrize("kept", ["run/libvirt/qemu/run", "config/libvirt/qemu/lib/qmp-1"])
def test_what_libvirt_started_ends_with_the_run(tmp_path: Path, kept: str) -> None:
    """A machine, and the QEMU that is asked what it can do."""
    pids = tmp_path / kept
    pids.mkdir(parents=True)
    sleep = "import time; time.sleep(60)"
    emulator = subprocess.Popen([sys.executable, "-c", sleep, str(tmp_path)])
    stranger = subprocess.Popen([sys.executable, "-c", sleep])
    (pids / "qmp.pid").write_text(f"{emulator.pid}\n")
    (pids / "other.pid").write_text(f"{stranger.pid}\n")
    try:
        sweep = ["sh", "-c", session._SWEEP, "sh", str(tmp_path)]
        watching = subprocess.Popen(sweep, stdin=subprocess.DEVNULL)
        assert emulator.wait(10) == -signal.SIGKILL
        assert watching.wait(10) == 0
        assert not tmp_path.exists()
        assert stranger.poll() is None
    finally:
        for process in (emulator, stranger):
            process.kill()
            process.wait()


def test_an_unknown_architecture_is_said() -> None:
    with pytest.raises(UsageError, match=r"no architecture 'z80' .*x86_64, aarch64"):
        VagrantDevice.check_host("z80")


# -- what a person does


class Person:
    """Somebody in the checkout, with a home, and a cache that has our boxes."""

    def __init__(self, own: Session, made: Box) -> None:
        self._own = own
        self._box = made
        self.machine = own.project / f".vagrant/machines/{made.arch}/libvirt"
        shutil.copy(CHECKOUT / "Vagrantfile", own.project)
        for folder in ("cache/paradrop-hil", "cache/paradrop-hil/images"):
            own.folder(folder)
        home = own.folder(f"cache/paradrop-hil/images/{made.file.parent.name}")
        own.link(made.file, home / made.file.name)
        own.write(home.with_name(f".{home.name}.lock"), "")

    def does(self, *words: str) -> str:
        return self._own.vagrant(*words, timeout=SECONDS)

    def volumes(self) -> list[str]:
        self._own.virsh("pool-refresh", "default")
        return self._own.virsh("vol-list", "default").split()

    def state(self) -> str:
        listed = self.does("status", "--machine-readable", self._box.arch).splitlines()
        (state,) = [line.split(",")[3] for line in listed if line.split(",")[2] == "state"]
        return state


@contextlib.contextmanager
def person(arch: str) -> Iterator[Person]:
    own = Session("vagrant-test")
    try:
        own.start()
        yield Person(own, box(arch))
    finally:
        own.close()


@needs_vagrant
@pytest.mark.timeout(1500)
def test_the_whole_life_of_a_router() -> None:
    """Box add, up, ssh, halt, up, destroy; nothing of it is left but the box."""
    with person("x86_64") as someone:
        added = someone.does("box", "add", "--name", "paradrop/router-x86_64", _file(someone))
        assert "Successfully added box" in added
        someone.does("up")
        assert someone.state() == "running"
        keys = someone.machine / "private_key"
        assert keys.stat().st_mode & 0o777 == 0o600
        first = keys.read_bytes()
        someone.does("ssh", "-c", "hostname > /etc/kept; sync")
        assert "router ready" in (someone.machine / "console.log").read_text()

        someone.does("halt")
        assert someone.state() == "shutoff"
        assert "Power down" in (someone.machine / "console.log").read_text()
        someone.does("up")
        assert "router-x86-64" in someone.does("ssh", "-c", "cat /etc/kept")
        assert keys.read_bytes() == first

        (someone.machine / "known_hosts").write_text(_another(someone))
        with pytest.raises(InfrastructureError, match="ended with status 255"):
            someone.does("ssh", "-c", "true")

        someone.does("destroy", "-f")
        assert someone.state() == "not_created"
        assert list(someone.machine.iterdir()) == []
        assert someone.volumes() == []


def _file(someone: Person) -> str:
    (found,) = someone.machine.parents[4].glob("cache/paradrop-hil/images/box-*/router.box")
    return str(found)


def _another(someone: Person) -> str:
    name, kind, key = (someone.machine / "known_hosts").read_text().split()
    return f"{name} {kind} {key[:-8]}AAAAAAAA\n"


@needs_vagrant
@pytest.mark.timeout(900)
def test_the_box_of_the_cache_is_taken_where_there_is_none() -> None:
    """On aarch64: `vagrant up` alone will do, and downloads nothing."""
    with person("aarch64") as someone:
        said = someone.does("up", "aarch64")
        assert "Successfully added box 'paradrop/router-aarch64'" in said
        assert "aarch64" in someone.does("ssh", "aarch64", "-c", "uname -m")


# -- the device


@needs_vagrant
@pytest.mark.timeout(900)
def test_a_device_has_its_configuration_and_survives_a_power_cut() -> None:
    with tempfile.TemporaryDirectory(prefix="vagrant-") as folder:
        home = Path(folder) / "router"
        home.mkdir()
        timeline = Timeline(home / "timeline.jsonl")
        device = VagrantDevice(home, timeline)
        device.config = {"settings.ini": b"[base]\n", "ca.pem": b"a certificate"}
        try:
            device.start()
            device.wait_blank(240)
            assert device.read("/etc/paradrop/ca.pem") == b"a certificate"
            assert device.succeed("stat -c %U /etc/paradrop/settings.ini").strip() == "paradrop"
            shell = device.access()["shell"]
            done = subprocess.run([*shell.split(), "id -u"], capture_output=True, text=True)
            assert done.stdout.strip() == "0", done.stderr

            device.write("/etc/kept", b"kept")
            device.succeed("sync")
            device.link("wan").down()
            assert device.succeed("cat /sys/class/net/eth1/carrier").strip() == "0"
            device.power.cut()
            device.check()
            with pytest.raises(InfrastructureError, match="is powered off"):
                device.run("true")
            device.power.on()
            assert device.read("/etc/kept") == b"kept"
            assert device.succeed("cat /sys/class/net/eth1/carrier").strip() == "0"
            device.link("wan").up()
            assert device.succeed("cat /sys/class/net/eth1/carrier").strip() == "1"

            device.reboot.by("reboot")
            assert device.read("/etc/kept") == b"kept"
            with pytest.raises(HarnessError):
                device.run("echo c > /proc/sysrq-trigger", 1)
            device.console.wait_for("Kernel panic - not syncing(?s:.*)router ready", 120)
            device.wait_until_succeeds("true")
            with pytest.raises(DeviceError, match="the kernel panicked: sysrq triggered crash"):
                device.check_kernel()

            device.succeed("(sleep 1; poweroff -f) </dev/null >/dev/null 2>&1 &")
            _wait(lambda: _raises(device.check), "the machine to be missed")
            device.power.on()
            device.check()
            device.check_kernel()
        finally:
            device.close()
            timeline.close()
        assert {"console", "QEMU"} <= device.evidence().keys()


def _raises(step: object) -> bool:
    assert callable(step)
    try:
        step()
    except DeviceError as error:
        return "powered itself off" in str(error)
    return False


# -- what is left

MACHINE = """
<domain type='qemu'><name>small</name><memory unit='MiB'>32</memory>
<os><type machine='q35'>hvm</type></os></domain>
"""

RUN = f"""
import time
from harness.device.vagrant.session import Session
own = Session("vagrant-test")
own.start()
own.write(own.project / "small.xml", {MACHINE!r})
own.virsh("create", str(own.project / "small.xml"))
print(own.home, flush=True)
time.sleep(600)
"""


@needs_vagrant
def test_a_run_that_is_killed_leaves_nothing() -> None:
    """Neither a libvirt, nor a QEMU, which is no child of the run, nor the folder."""
    with subprocess.Popen([sys.executable, "-c", RUN], stdout=subprocess.PIPE, text=True) as run:
        try:
            assert run.stdout is not None
            home = Path(run.stdout.readline().strip())
            assert any("qemu-system" in words for words in _processes(home))
            run.send_signal(signal.SIGKILL)
            run.wait()
            _wait(lambda: not _processes(home) and not home.exists(), f"{home} to be swept")
        finally:
            run.kill()


def _wait(condition: object, what: str) -> None:
    assert callable(condition)
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, f"waited for {what}"
        time.sleep(0.2)


def _processes(home: Path) -> list[str]:
    """The command lines of what runs there."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            if words and str(home) in words + str((process / "cwd").readlink()):
                found.append(words)
    return found
