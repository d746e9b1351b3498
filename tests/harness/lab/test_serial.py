"""A serial port over TCP: what is printed from now on, and what is typed."""

from __future__ import annotations

import contextlib
import queue
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.errors import InfrastructureError
from harness.lab.serial import SerialPort

LIMIT = 10.0


@pytest.fixture
def typed() -> queue.Queue[str]:
    return queue.Queue()


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "console.log"


@pytest.fixture
def port(log: Path, typed: queue.Queue[str]) -> Iterator[SerialPort]:
    def send(text: str) -> None:
        if text == "dead":
            raise InfrastructureError("is powered off")
        typed.put(text)

    made = SerialPort(log, send)
    yield made
    made.close()


def connect(port: SerialPort) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port.port), LIMIT)


def until(link: socket.socket, end: bytes) -> bytes:
    data = b""
    while not data.endswith(end):
        more = link.recv(1000)
        assert more, data
        data += more
    return data


def test_it_gives_what_is_printed_from_now_on_to_all(port: SerialPort, log: Path) -> None:
    log.write_text("before\n")
    with connect(port) as one, connect(port) as two, log.open("a", buffering=1) as console:
        received = b""
        for link in (one, two):
            link.settimeout(0.2)
            for number in range(100):
                console.write(f"line {number}\n")
                try:
                    received = link.recv(1000)
                    break
                except TimeoutError:
                    continue
            assert received.startswith(b"line ")


def test_it_types(port: SerialPort, typed: queue.Queue[str]) -> None:
    with connect(port) as link:
        link.sendall(b"reboot\n")
        assert typed.get(timeout=LIMIT) == "reboot\n"


def test_a_machine_that_is_off_costs_no_connection(
    port: SerialPort, typed: queue.Queue[str]
) -> None:
    with connect(port) as link:
        link.sendall(b"dead")
        # one after the other, or they are one text
        is_silent(link)
        link.sendall(b"alive")
        assert typed.get(timeout=LIMIT) == "alive"


def is_silent(link: socket.socket) -> None:
    link.settimeout(0.3)
    with pytest.raises(TimeoutError):
        link.recv(1)


def test_it_waits_for_a_console_that_has_printed_nothing_yet(port: SerialPort, log: Path) -> None:
    with connect(port) as link:
        is_silent(link)
        link.settimeout(LIMIT)
        log.touch()
        with log.open("a", buffering=1) as console:
            console.write("first\n")
            link.settimeout(0.5)
            try:
                assert until(link, b"first\n")
            except TimeoutError:  # it was printed before it was found
                console.write("second\n")
                assert until(link, b"second\n")


def test_when_it_closes_those_who_read_know(port: SerialPort) -> None:
    with connect(port) as link:
        link.sendall(b"x")
        port.close()
        with contextlib.suppress(ConnectionResetError):
            assert link.recv(1) == b""
