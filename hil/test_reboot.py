"""A router that boots anew, its power never lost, comes back by itself and as itself."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.own_device

STARVED = "modprobe softdog soft_margin=1; echo > /dev/watchdog"
"""Starts a watchdog of a second that nobody feeds."""

PANIC = "echo c > /proc/sysrq-trigger"


@pytest.mark.needs("reboot")
@pytest.mark.parametrize("command", ["reboot", "reboot -f"], ids=["in-order", "at-once"])
def test_rebooted(device, log, rejoins, command):
    """A router that is rebooted, in order or at once, joins again and has kept its log."""
    before = log.lines()
    with rejoins(after=command):
        device.reboot.by(command)
    assert log.lines()[: len(before)] == before
    assert log.records("daemon.started")


@pytest.mark.needs("reboot", "rootfs")
def test_starved_watchdog(device, rejoins):
    """A router that its watchdog resets joins again."""
    with rejoins(after="watchdog"):
        device.reboot.by(STARVED)


@pytest.mark.needs("reboot", "rootfs")
def test_kernel_panic(device, rejoins):
    """A router whose kernel panics does not hang: it reboots and joins again."""
    with rejoins(after="kernel panic"):
        device.reboot.by(PANIC)


@pytest.mark.needs("reboot", "rootfs")
def test_it_is_the_same_router(device, pdid):
    """A reboot changes nothing of what a router is known by."""
    known = "hostname; cat /etc/machine-id /sys/class/net/eth*/address /etc/paradrop/config"
    before = device.succeed(known)
    device.reboot.by("reboot -f")
    assert device.succeed(known) == before


@pytest.mark.needs("reboot", "link")
def test_rebooted_without_its_cable(device, rejoins):
    """A router that boots with its cable out joins when the cable is back."""
    with rejoins(after="rebooted, cable out"), device.link("wan").unplugged():
        device.reboot.by("reboot")


@pytest.mark.needs("reboot", "several")
def test_one_of_several_is_rebooted(bench, devices, operator):
    """A router that reboots finds its place on a wan with others, which don't notice."""
    rebooted, other = devices(2)
    mine, its = bench.provision(rebooted).pdid, bench.provision(other).pdid
    before = operator.sessions(its)
    with bench.rejoins(mine, after="reboot"):
        rebooted.reboot.by("reboot")
    assert operator.sessions(its) == before
