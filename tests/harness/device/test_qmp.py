"""The monitor of a real QEMU that has a machine of nothing, and never runs it."""

from __future__ import annotations

import os
import queue
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.child import Child
from harness.device.qmp import Monitor
from harness.errors import InfrastructureError

LIMIT = 30.0
QEMU = ["qemu-system-x86_64", "-machine", "none", "-nodefaults", "-display", "none", "-S"]


@pytest.fixture
def folder() -> Iterator[Path]:
    """A short one, for sockets."""
    with tempfile.TemporaryDirectory(prefix="qmp-") as folder:
        yield Path(folder)


class Machine:
    def __init__(self, folder: Path) -> None:
        self.events: queue.Queue[dict[str, Any]] = queue.Queue()
        self.monitor = Monitor("router", folder / "qmp.sock", self.events.put)
        self.qemu = Child([*QEMU, *self.monitor.option], folder / "qemu.log")
        self.monitor.accept(LIMIT)


@pytest.fixture
def machine(folder: Path) -> Iterator[Machine]:
    machine = Machine(folder)
    yield machine
    machine.monitor.close()
    machine.qemu.kill()


def test_a_command_is_answered(machine: Machine) -> None:
    assert machine.monitor.execute("query-status", {})["status"] == "prelaunch"
    assert "paused" in machine.monitor.human("info status")


def test_events_reach_the_listener(machine: Machine) -> None:
    machine.monitor.execute("cont", {})
    assert machine.events.get(timeout=LIMIT)["event"] == "RESUME"
    machine.qemu.send(signal.SIGTERM)
    shutdown = machine.events.get(timeout=LIMIT)
    assert (shutdown["event"], shutdown["data"]["reason"]) == ("SHUTDOWN", "host-signal")


def test_a_refusal_is_an_infrastructure_error(machine: Machine) -> None:
    with pytest.raises(InfrastructureError, match=r"router: QEMU refuses set_link: .*no-such-card"):
        machine.monitor.execute("set_link", {"name": "no-such-card", "up": False})


def test_a_qemu_that_was_killed_answers_with_an_error(machine: Machine) -> None:
    os.kill(machine.qemu.pid, signal.SIGKILL)
    with pytest.raises(InfrastructureError, match="did not carry out query-status"):
        while True:  # until the kernel has ended it
            machine.monitor.execute("query-status", {})


def test_closed_it_leaves_qemu_alone_and_no_socket(machine: Machine) -> None:
    machine.monitor.close()
    assert machine.qemu.running
    assert not machine.monitor.path.exists()


def test_nobody_connects(folder: Path) -> None:
    monitor = Monitor("router", folder / "qmp.sock", print)
    with pytest.raises(InfrastructureError, match="control socket: time-out"):
        monitor.accept(0.2)
    monitor.close()


def test_the_wait_ends_when_qemu_does(folder: Path) -> None:
    monitor = Monitor("router", folder / "qmp.sock", print)
    qemu = Child(["false"], folder / "qemu.log")

    def check() -> None:
        if not qemu.running:
            raise InfrastructureError("it died")

    with pytest.raises(InfrastructureError, match="it died"):
        monitor.accept(10 * LIMIT, check)
    monitor.close()


def test_a_path_too_long_for_a_socket_is_said_to_be(folder: Path) -> None:
    with pytest.raises(InfrastructureError, match="107 bytes"):
        Monitor("router", folder / ("long" * 30), print)
