"""A router that panics or ends during a test: whose fault the run says that is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

KINDS = ("qemu-x86_64", "qemu-aarch64")

SUITE = """
import contextlib, os, signal, pytest
from harness.errors import HarnessError

PANIC = "echo c > /proc/sysrq-trigger"

def test_panics(device):
    device.run(PANIC)

def test_panics_and_nobody_looks(device):
    with contextlib.suppress(HarnessError):
        device.run(PANIC)
    device.wait_until_succeeds("true")

def test_panics_and_hangs(device):
    device.run(f"sysctl kernel.panic=0; (sleep 0.5; {PANIC}) >/dev/null 2>&1 &")
    device.console.wait_for("end Kernel panic")
    assert device.read("/etc/hostname") == b"never"

def test_panics_while_something_else_is_waited_for(device):
    device.run(f"(sleep 0.5; {PANIC}) >/dev/null 2>&1 &")
    device.console.wait_for("router ready")
    assert False, "it has left its session"

@pytest.mark.needs("reboot")
def test_is_wanted_to_panic(device):
    device.reboot.by(PANIC)

def test_reboots(device):
    with contextlib.suppress(HarnessError):
        device.run("reboot -f")
    device.wait_until_succeeds("true")

def test_says_that_it_panicked(device):
    device.run("echo; echo 'Kernel panic - not syncing: x' > /dev/console")
    device.console.wait_for("not syncing: x")
    os.kill(device.on.pid, signal.SIGKILL)
    device.run("true")

def test_powers_itself_off(device):
    device.run("poweroff -f")

@pytest.mark.needs("power")
def test_powers_itself_off_and_on(device):
    with contextlib.suppress(HarnessError):
        device.run("poweroff -f")
    device.power.cycle()
    device.succeed("true")
"""

PANICKED = ("failed", "the kernel panicked: sysrq triggered crash")
EXPECTED = {
    "test_panics": PANICKED,
    "test_panics_and_nobody_looks": PANICKED,
    "test_panics_and_hangs": PANICKED,
    "test_panics_while_something_else_is_waited_for": PANICKED,
    "test_is_wanted_to_panic": ("passed", ""),
    "test_reboots": ("passed", ""),
    "test_says_that_it_panicked": ("error: infrastructure", "QEMU ended by itself, status -9"),
    "test_powers_itself_off": ("failed", "the device powered itself off"),
    "test_powers_itself_off_and_on": ("passed", ""),
}


@pytest.fixture(scope="module")
def ran(suites: Callable[..., Any]) -> Any:
    made = suites(test_ends=SUITE)
    made.status, made.output = made.run(*(f"--device={kind}" for kind in KINDS), "-n", "2")
    return made


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", EXPECTED)
def test_verdict_and_message(ran: Any, name: str, kind: str) -> None:
    verdict, message = EXPECTED[name]
    (found,) = [
        test
        for test in ran.result["tests"]
        if test["device"] == kind and test["id"].endswith(f"::{name}")
    ]
    assert (found["verdict"], message in found["message"]) == (verdict, True), found
    if "panicked" in message:
        assert "Kernel panic - not syncing" in found["details"]
