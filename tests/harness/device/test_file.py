"""Images that somebody brings, for real: a Debian as clouds have it, and the smallest system."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import debian
import pytest

import paradrop
from harness.bench import Bench, Identity
from harness.device import Device, file
from harness.device.base import Completed
from harness.device.file import FileDevice
from harness.device.machine import Machine
from harness.device.software.installed import Installed
from harness.errors import BootError, CommandError, DeviceError, InfrastructureError, UsageError
from harness.evidence.timeline import Timeline
from harness.fault.reboot import BOOT_ID
from harness.image.digest import sha256

BOOT = 900
"""Seconds; a boot of the Debian takes 20 on two idle cores."""

KERNEL = "console=ttyS0 quiet mitigations=off nokaslr norandmaps cryptomgr.notests no_timer_check"


@pytest.fixture(scope="module")
def parts() -> Path:
    return debian.make()


def describe(folder: Path, prompt: str, timeout: int = BOOT, network: str = "", **keys: str) -> str:
    """Write a description. @return: its path."""
    network = network or "{mgmt: eth0, wan: eth1}"
    lines = ["image: file", "architecture: x86_64", *(f"{key}: {keys[key]}" for key in keys)]
    lines += [f"console: {{prompt: '{prompt}', timeout: {timeout}}}", f"network: {network}"]
    path = folder / "router.yaml"
    path.write_text("\n".join(lines) + "\n")
    return str(path)


def tiny(folder: Path, parts: Path, prompt: str = "root@tiny:.*# ", timeout: int = BOOT) -> str:
    """A busybox and no Python, as small as a router's own system may be."""
    boot = {"kernel": str(parts / "kernel"), "initrd": str(parts / "initrd"), "append": KERNEL}
    return describe(folder, prompt, timeout, memory="128", **boot)


@pytest.mark.timeout(BOOT)
def test_no_python_is_said_before_any_test_runs(parts: Path, tmp_path: Path) -> None:
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    (tmp_path / "test_suite.py").write_text("def test_it(device): pass\n")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", f"--device=file:{tiny(tmp_path, parts)}"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    said = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
    assert len(said) == 1
    assert "router.yaml: the daemon can't run on it: it has no Python" in said[0]
    assert "test_it" not in done.stdout


@pytest.mark.timeout(BOOT)
def test_a_wrong_prompt_is_a_boot_error_with_what_the_console_showed(
    parts: Path, tmp_path: Path
) -> None:
    with pytest.raises(BootError, match=r"20 s passed .* its prompt, 'router> '") as raised:
        FileDevice.check_host(tiny(tmp_path, parts, "router> ", timeout=20))
    assert "Please press Enter to activate this console." in raised.value.evidence


@pytest.mark.timeout(BOOT)
def test_a_read_only_root_is_said(parts: Path, tmp_path: Path) -> None:
    """The Debian without its init: Python is there, and nothing can be written."""
    keys = {"root": "disk.qcow2", "kernel": "kernel", "initrd": "initrd"}
    boot = {key: str(parts / name) for key, name in keys.items()}
    append = f"{KERNEL} root=/dev/vda1 ro init=/bin/bash"
    argument = describe(tmp_path, "root@.*# ", append=append, **boot)
    with pytest.raises(InfrastructureError, match="/ is read-only, and /opt/paradrop") as raised:
        FileDevice.check_host(argument)
    assert "/etc is read-only, and /etc/paradrop" in raised.value.what
    assert "\n" not in str(raised.value)


def test_a_damaged_disk_is_said_at_once(parts: Path, tmp_path: Path) -> None:
    (tmp_path / "disk.qcow2").write_bytes(bytes(4096))
    argument = describe(tmp_path, "# ", disk="disk.qcow2")
    with pytest.raises(UsageError, match=r"/disk.qcow2 is damaged: .*\(copy it again"):
        FileDevice.check_host(argument)


def test_which_image_has_to_be_said() -> None:
    with pytest.raises(UsageError, match=r"of which image\? \(--device file:router.yaml\)"):
        FileDevice.check_host("")


def test_why_it_has_no_root_of_ours() -> None:
    assert FileDevice.lacks("x", {"rootfs", "link"}) == {
        "rootfs": "its system is not the routers' own"
    }


@pytest.fixture
def described(tmp_path: Path) -> str:
    """The description of an image that none of these boots."""
    (tmp_path / "kernel").touch()
    return describe(tmp_path, "# ", kernel="kernel")


@pytest.fixture
def timeline(tmp_path: Path) -> Iterator[Timeline]:
    timeline = Timeline(tmp_path / "timeline.jsonl")
    yield timeline
    timeline.close()


def test_an_answer_is_kept_until_what_it_was_made_with_is_another(
    described: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, hashed, release = [], set(), ["QEMU 7"]

    def ask(argument: str) -> list[str]:
        asked.append(argument)
        return ["it has no Python"]

    def digest(path: Path) -> str:
        hashed.add("/".join(path.parts[-2:]))
        return sha256(path)

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("harness.device.file._ask", ask)
    monkeypatch.setattr("harness.device.file.sha256", digest)
    monkeypatch.setattr("harness.image.tools.version", lambda program: release[0])
    for expected in (1, 1, 2):
        if expected == 2:
            release[0] = "QEMU 8"
        with pytest.raises(InfrastructureError, match="can't run on it: it has no Python"):
            FileDevice.check_host(described)
        assert len(asked) == expected


def test_memory_is_waited_for_before_an_image_is_asked(
    described: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    took: list[int] = []

    @contextlib.contextmanager
    def room(what: str, needs: int) -> Iterator[None]:
        took.append(needs)
        yield
        took.append(0)

    def obstacles(device: FileDevice) -> list[str]:
        assert took == [device.memory]
        return []

    monkeypatch.setattr("harness.device.memory.room", room)
    monkeypatch.setattr(FileDevice, "obstacles", obstacles)
    assert file._ask(described) == []
    assert took[1:] == [0]


def test_why_the_daemon_does_not_start_is_told(
    described: str, tmp_path: Path, timeline: Timeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(device: FileDevice, command: str, timeout: float) -> Completed:
        if "daemon.log" in command:
            return Completed(command, 0, b"ImportError: no ssl\n", b"")
        status = 124 if "until" in command else 0
        return Completed(command, status, b"0\n", b"nothing logged")

    monkeypatch.setattr(FileDevice, "_run", run)
    device = FileDevice(tmp_path, timeline, described)
    with pytest.raises(CommandError, match="still fails after 300 s") as raised:
        device._start_daemon()
    assert raised.value.evidence == "nothing logged\nImportError: no ssl"


def test_evidence_of_a_machine_that_nobody_could_log_in_to(
    described: str, tmp_path: Path, timeline: Timeline
) -> None:
    device = FileDevice(tmp_path, timeline, described)
    assert "daemon output" not in device.evidence()
    device._machine = Machine(device.name, tmp_path, timeline)
    found = device.evidence()
    for name in ("daemon log", "daemon output"):
        assert "could not be read: " in str(found[name])
        assert "nobody is logged in on its console" in str(found[name])


def test_no_agent_is_started_without_what_starts_it(
    described: str, tmp_path: Path, timeline: Timeline
) -> None:
    class Console:
        """A shell on a system that has a serial port and Python, and nothing else."""

        def run(self, command: str, timeout: float) -> Completed:
            words = ["/bin/sh", "-c", f"ls() {{ :; }}; {command}"]
            done = subprocess.run(words, env={"PATH": str(tmp_path)})
            return Completed(command, done.returncode, b"", b"")

    (tmp_path / "python3").symlink_to(sys.executable)
    device = FileDevice(tmp_path, timeline, described)
    device._start_agent(Console())  # type: ignore[arg-type]
    assert not device._agent


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    with tempfile.TemporaryDirectory(prefix="hil-") as folder:
        bench = Bench(Path(folder))
        yield bench
        bench.close()


@pytest.fixture(scope="module")
def cloud() -> Iterator[str]:
    """The description of the Debian."""
    with tempfile.TemporaryDirectory(prefix="hil-") as folder:
        yield debian.describe(Path(folder), BOOT)


@pytest.fixture(scope="module")
def device(bench: Bench, cloud: str) -> Device:
    return bench.device(f"file:{cloud}")


@pytest.fixture(scope="module")
def identity(bench: Bench, device: Device) -> Identity:
    return bench.provision(device)


@pytest.mark.timeout(2 * BOOT)
def test_the_daemon_is_installed_and_joins(
    bench: Bench, device: FileDevice, identity: Identity, parts: Path
) -> None:
    bench.assert_healthy(identity.pdid)
    assert device.succeed("paradropd --version").startswith("paradropd ")
    assert device.python("import paradrop; print(paradrop.__file__)").startswith("/opt/paradrop/")
    owner = device.succeed("stat -c %U /proc/$(cat /var/run/paradrop/paradropd.pid)")
    assert owner.strip() == "paradrop"
    assert "could not be read" not in str(device.evidence()["daemon output"])
    assert debian.PASSWORD not in (device.folder / "console.log").read_text()
    recorded = (parts / "manifest.json").read_text()
    assert sha256(parts / "disk.qcow2") in recorded, "the user's disk was written"


@pytest.mark.timeout(BOOT)
def test_its_cable_can_be_pulled(bench: Bench, device: Device, identity: Identity) -> None:
    (session,) = bench.operator.sessions(identity.pdid)
    with bench.rejoins(identity.pdid, after="cable pulled"), device.link("wan").unplugged():
        bench.operator.wait_left(identity.pdid, session, timeout=60)


@pytest.mark.timeout(2 * BOOT)
def test_its_power_can_be_cut(bench: Bench, device: Device, identity: Identity) -> None:
    with bench.rejoins(identity.pdid, after="power cycled"):
        device.power.cycle()


@pytest.mark.timeout(2 * BOOT)
def test_it_reboots(bench: Bench, device: FileDevice, identity: Identity) -> None:
    with bench.rejoins(identity.pdid, after="reboot"):
        device.reboot.by("reboot")


@pytest.mark.timeout(2 * BOOT)
def test_it_reboots_although_nobody_announced_it(
    bench: Bench, device: FileDevice, identity: Identity
) -> None:
    before = device.succeed(BOOT_ID)
    with bench.rejoins(identity.pdid, after="reboot"):
        with contextlib.suppress(DeviceError):
            device.run("reboot -f")
        assert device.succeed(BOOT_ID) != before
    bench.check()


@pytest.mark.timeout(2 * BOOT)
def test_a_kernel_that_panics_is_the_systems_fault(
    bench: Bench, device: FileDevice, identity: Identity
) -> None:
    with pytest.raises(DeviceError, match="the kernel panicked: sysrq triggered crash"):
        device.run("echo c > /proc/sysrq-trigger")  # this one hangs then
    with pytest.raises(DeviceError, match="the kernel panicked"):
        bench.check()
    with bench.rejoins(identity.pdid, after="power cycled"):
        device.power.cycle()
    bench.check()


@pytest.mark.timeout(BOOT)
def test_a_system_that_has_the_daemon_itself(
    bench: Bench, device: FileDevice, identity: Identity
) -> None:
    """The same system, its daemon a service of its own init for the moment."""
    own = Installed(device.name, device.run, device._write)
    unit, command = "/etc/systemd/system/paradropd.service", "/usr/bin/paradropd"
    device.daemon("stop")
    assert own.obstacles() == [
        "there is neither a service paradropd of systemd, nor /etc/init.d/paradropd nor "
        "/etc/init.d/paradrop"
    ]
    device.write(unit, (Path(paradrop.__file__).parent / "paradropd.service").read_bytes())
    device.succeed(f"ln -s /opt/paradrop/bin/paradropd {command}; systemctl daemon-reload")
    try:
        assert own.obstacles() == []
        assert own.facts() == {"daemon": f"paradropd {paradrop.__version__}"}
        with bench.rejoins(identity.pdid, after="daemon restarted", within=BOOT):
            own.daemon("start")
        assert device.run("systemctl is-active paradropd").text == "active\n"
        assert "Started " in own.log()
        own.daemon("stop")
        assert device.run("systemctl is-active paradropd").text == "inactive\n"
    finally:
        device.run(f"systemctl stop paradropd; rm {unit} {command}; systemctl daemon-reload")


@pytest.mark.timeout(BOOT)
def test_it_is_as_it_was_when_the_daemon_is_removed(device: FileDevice) -> None:
    device.daemon("start")
    device.wait_until_succeeds("kill -STOP $(cat /var/run/paradrop/paradropd.pid)", BOOT)
    device.software.remove()  # a daemon that does not end is no reason to leave it there
    left = "ls -d /opt /etc/paradrop* /var/run/paradrop*; grep paradrop /etc/passwd"
    assert device.run(left).stdout == b""
    ours = "grep -lazE '^(paradro[p]|/opt/[p]aradrop.*)$' /proc/[0-9]*/cmdline"
    assert device.run(ours).stdout == b""


@pytest.mark.parametrize(
    "content",
    [
        *("image: 2026-02-30", "image: 0b_", "image: !!timestamp x", f"image: {'9' * 6000}"),
        *("[" * 20000, "x" * (2 << 20), "\0"),
    ],
)
def test_a_description_that_is_no_yaml_is_a_usage_error(tmp_path: Path, content: str) -> None:
    (tmp_path / "router.yaml").write_text(content)
    with pytest.raises(UsageError) as refused:
        FileDevice.check_host(str(tmp_path / "router.yaml"))
    assert len(str(refused.value)) < 400


def test_a_description_that_is_no_file_is_a_usage_error(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for path in ("/dev/full", "/dev/zero", str(tmp_path / "fifo"), str(tmp_path)):
        with pytest.raises(UsageError, match="can't be read"):
            FileDevice.check_host(path)
