"""An emulated router that reboots, panics, or powers itself off, from inside."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from emulated import OWN, started

from harness.device import machine
from harness.device.qemu import QemuArmDevice, QemuDevice, QemuX86Device
from harness.device.wan import Wan
from harness.errors import BootError, DeviceError, HarnessError, InfrastructureError
from harness.evidence.timeline import Timeline

LIMIT = 60.0
BOOT_ID = OWN["boot id"]
SAME = OWN.keys() - {"boot id", "random numbers", "Python's random numbers"}
PANIC = "echo c > /proc/sysrq-trigger"


@pytest.fixture(scope="module", params=[QemuX86Device, QemuArmDevice], ids=lambda kind: kind.arch)
def device(request: pytest.FixtureRequest) -> Iterator[QemuDevice]:
    with started(request.param) as device:
        yield device


def known(device: QemuDevice) -> dict[str, str]:
    return {what: device.succeed(f"{OWN[what]} || true") for what in SAME}


def rebooted(device: QemuDevice, before: str) -> bool:
    """Whether it answers from another boot; a request that it does not live to answer fails."""
    with contextlib.suppress(HarnessError):
        return device.succeed(BOOT_ID) != before
    return False


class TestItComesBack:
    """The first tests are of a clone: of one that has not booted in this QEMU."""

    @pytest.mark.parametrize("command", ["reboot -f", "reboot"])
    def test_by_a_command_that_nobody_announced(self, device: QemuDevice, command: str) -> None:
        before = device.succeed(BOOT_ID)
        with contextlib.suppress(DeviceError):
            device.run(command)
        deadline = time.monotonic() + 2 * LIMIT  # an order is carried out when daemons have ended
        while not rebooted(device, before):
            assert time.monotonic() < deadline
            time.sleep(0.2)
        device.check()
        device.check_kernel()

    def test_as_itself(self, device: QemuDevice) -> None:
        before, shell = known(device), device.access()["shell"]
        pid, files = device.on.pid, sorted(device.folder.glob("wan-*.pcap"))
        device.reboot.by("reboot -f")
        assert known(device) == before
        assert device.on.pid == pid
        done = subprocess.run([*shell.split(), "hostname"], capture_output=True, timeout=LIMIT)
        assert done.stdout.strip() == before["host name"].split()[0].encode()
        assert sorted(device.folder.glob("wan-*.pcap")) == files
        told = [(entry["event"], entry.get("fault")) for entry in device.timeline.events()]
        begin, end = told.index(("begins", "reboot")), told.index(("ends", "reboot"))
        assert ("rebooted", None) in told[begin:end]

    def test_with_its_cable_where_it_was(self, device: QemuDevice) -> None:
        with device.link("wan").unplugged():
            device.reboot.by("reboot -f")
            assert device.succeed("cat /sys/class/net/eth1/carrier") == "0\n"
        device.wait_until_succeeds("grep -q 1 /sys/class/net/eth1/carrier", LIMIT)

    @pytest.mark.parametrize(
        "command",
        [PANIC, "modprobe softdog soft_margin=1; echo > /dev/watchdog"],
        ids=["panic", "watchdog"],
    )
    def test_after_the_worst_if_that_was_wanted(self, device: QemuDevice, command: str) -> None:
        device.reboot.by(command)
        device.check_kernel()

    def test_from_a_snapshot_and_as_a_fork(self, device: QemuDevice) -> None:
        snapshot = device.snapshot()
        (fork,) = device.fork(1)
        device.restore(snapshot)
        for each in (device, fork):
            before = known(each)
            each.reboot.by("reboot -f")
            assert known(each) == before

    def test_one_that_does_not_reboot_is_said_not_to(
        self, device: QemuDevice, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("harness.device.emulated.REBOOT_SECONDS", 3)
        with pytest.raises(DeviceError, match="did not reboot within 3 s"):
            device.reboot.by("true")


class TestPanic:
    def test_it_is_told_whatever_came_after_it(self, device: QemuDevice) -> None:
        with pytest.raises(DeviceError, match="the kernel panicked: sysrq triggered crash"):
            device.run(PANIC)
        assert device.succeed("echo on") == "on\n"
        device.check()
        with pytest.raises(DeviceError, match="the kernel panicked") as told:
            device.check_kernel()
        assert "Trigger a crash" in told.value.evidence
        assert "sysrq triggered crash" in str(device.evidence()["kernel"])
        device._past.expect_no_more()

    def test_a_power_cut_does_not_hide_it(self) -> None:
        with started(name="hidden") as device:
            with pytest.raises(DeviceError, match="the kernel panicked"):
                device.run(PANIC)
            device.power.cut()
            with pytest.raises(DeviceError, match="the kernel panicked"):
                device.check_kernel()

    def test_one_that_hangs_is_told_soon(self, device: QemuDevice) -> None:
        device.succeed("sysctl kernel.panic=0")
        for command in (PANIC, "true"):
            with pytest.raises(DeviceError, match="the kernel panicked"):
                device.run(command)
        with pytest.raises(DeviceError, match="the kernel panicked"):
            device.check()
        with pytest.raises(DeviceError, match="the kernel panicked"):
            device.read("/etc/hostname")
        assert "panicked" in str(device.evidence()["daemon log"])
        device.power.cycle()
        device.check()

    def test_a_text_is_none(self, device: QemuDevice) -> None:
        text = "Kernel panic - not syncing: only said"
        device.succeed(f"echo; echo '{text}' > /dev/console")
        device.console.wait_for(text)
        device.check()
        device.check_kernel()
        os.kill(device.on.pid, signal.SIGKILL)
        with pytest.raises(InfrastructureError, match="QEMU ended by itself, status -9"):
            device.run("true")
        device.power.cycle()


class TestPowerOff:
    @pytest.mark.parametrize("command", ["poweroff", "poweroff -f"])
    def test_it_is_the_routers_own_doing(self, device: QemuDevice, command: str) -> None:
        with contextlib.suppress(DeviceError):
            device.run(command)
        with pytest.raises(DeviceError, match="powered itself off"):
            device.wait_until_succeeds("false", LIMIT)
        with pytest.raises(DeviceError, match="powered itself off"):
            device.check()
        device.power.on()
        assert device.succeed("echo on") == "on\n"
        device.power.on()  # it has power
        device.check()

    def test_a_halt_leaves_the_power_on(self, device: QemuDevice) -> None:
        with pytest.raises(DeviceError, match="halted"):
            device.run("halt -f")
        with pytest.raises(DeviceError, match="halted"):
            device.check()
        device.power.cycle()
        device.check()


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ("panic=-1 rdinit=/nowhere root=/dev/none", "the kernel panicked: VFS: Unable to mount"),
        ("panic=0 rdinit=/bin/sh -- -c exit", "the kernel panicked: Attempted to kill init"),
        ("rdinit=/bin/poweroff -- -f", "the device powered itself off"),
    ],
    ids=["again and again", "hangs", "powers off"],
)
def test_a_boot_that_ends_is_a_boot_error(
    arguments: str, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    command: Callable[..., list[str]] = machine.command

    def other(*given: Any) -> list[str]:
        return [*command(*given), "-append", f"console=ttyS0 quiet {arguments}"]

    monkeypatch.setattr(machine, "command", other)
    with pytest.raises(BootError, match=why), started(config={"motd": b"it has to boot"}):
        pass


def test_on_a_wan_with_others_it_finds_its_place_again(tmp_path: Path) -> None:
    timeline = Timeline(tmp_path / "timeline.jsonl")
    network = Wan(tmp_path / "wan", timeline)
    try:
        with started(name="one", network=network) as one, started(name="two", network=network):
            before = one.wan_address
            one.reboot.by("reboot -f")
            assert before in one.succeed("ip address show dev eth1")
            one.wait_until_succeeds("ping -c 1 10.0.3.2", LIMIT)
    finally:
        network.close()
        timeline.close()


def test_up_says_that_its_qemu_has_died() -> None:
    with subprocess.Popen(
        [Path(sys.executable).with_name("hil"), "up", "qemu-x86_64", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as up:
        try:
            assert up.stdout is not None
            up.stdout.readline()
            children = Path(f"/proc/{up.pid}/task/{up.pid}/children").read_text().split()
            (qemu,) = [
                pid for pid in children if "qemu-" in Path(f"/proc/{pid}/exe").readlink().name
            ]
            os.kill(int(qemu), signal.SIGKILL)
            _, said = up.communicate(timeout=LIMIT)
        finally:
            up.kill()
    assert up.returncode == 1
    assert "QEMU ended by itself, status -9" in said.splitlines()[-1]
