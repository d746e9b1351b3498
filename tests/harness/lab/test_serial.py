"""A serial port over TCP: what is printed from now on, and what is typed."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.device.console import Console
from harness.lab.serial import SerialPort

LIMIT = 10.0
SILENCE = 0.5
"""Seconds in which something would have come."""


class Machine:
    """What is at the other end of a console, at one time or another."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "console.sock"
        self.console: Console | None = None

    def power_on(self) -> None:
        self._path.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(self._path))
            listener.listen()
            self.console = Console("router", self._path, self._path.with_suffix(".log"))
            self.end, _ = listener.accept()
        self.end.settimeout(LIMIT)

    def print(self, text: str) -> None:
        assert self.console is not None
        self.end.sendall(text.encode())
        self.console.wait_for(text.strip(), LIMIT)

    def power_off(self) -> None:
        assert self.console is not None
        self.end.close()
        self.console.close()
        self.console = None


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    made = Machine(tmp_path)
    made.power_on()
    yield made
    if made.console is not None:
        made.power_off()


@pytest.fixture
def port(machine: Machine) -> Iterator[SerialPort]:
    made = SerialPort(lambda: machine.console)
    yield made
    made.close()


@contextlib.contextmanager
def connected(port: SerialPort) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", port.port), LIMIT) as link:
        link.settimeout(SILENCE)
        with pytest.raises(TimeoutError):
            link.recv(1)  # it is served by now, and what was printed before does not come
        link.settimeout(LIMIT)
        yield link


def until(link: socket.socket, end: bytes) -> bytes:
    data = b""
    while not data.endswith(end):
        more = link.recv(1000)
        assert more, data
        data += more
    return data


def test_all_who_read_get_what_is_printed_from_then_on(machine: Machine, port: SerialPort) -> None:
    machine.print("before")
    with connected(port) as one, connected(port) as two:
        for text in ("first\n", "sécond\n"):
            machine.print(text)
        for link in (one, two):
            assert until(link, b"cond\n") == "first\nsécond\n".encode()


def test_what_is_sent_is_typed(machine: Machine, port: SerialPort) -> None:
    with connected(port) as link:
        link.sendall(b"reboot\n")
        assert until(machine.end, b"\n") == b"reboot\n"


def test_it_stays_over_a_power_cut(machine: Machine, port: SerialPort) -> None:
    with connected(port) as link:
        machine.print("first life\n")
        assert until(link, b"\n") == b"first life\n"
        machine.power_off()
        link.sendall(b"into the void")
        machine.power_on()
        machine.print("second life\n")
        assert until(link, b"\n") == b"second life\n"
        link.sendall(b"x\n")
        assert until(machine.end, b"x\n").endswith(b"x\n")


def test_when_it_closes_those_who_read_know(port: SerialPort) -> None:
    with connected(port) as link:
        port.close()
        with contextlib.suppress(ConnectionResetError):
            assert link.recv(1) == b""
