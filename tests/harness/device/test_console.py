"""The console is waited on with a deadline, and what it printed last is in the error."""

from __future__ import annotations

import shlex
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.device.console import Console, watch
from harness.errors import BootError, InfrastructureError

LIMIT = 10.0


class SerialPort:
    """The machine's end: prints to the socket and to the log, as QEMU's does."""

    def __init__(self, folder: Path) -> None:
        self.log = folder / "console.log"
        self.path = folder / "console.sock"
        self.server = socket.socket(socket.AF_UNIX)
        self.server.bind(str(self.path))
        self.server.listen()
        self.console = Console("router", self.path, self.log)
        self.end, _ = self.server.accept()
        self.end.settimeout(LIMIT)

    def prints(self, data: bytes) -> None:
        with self.log.open("ab") as log:
            log.write(data)
        self.end.sendall(data)

    def close(self) -> None:
        self.console.close()
        self.end.close()
        self.server.close()


@pytest.fixture
def port(tmp_path: Path) -> Iterator[SerialPort]:
    port = SerialPort(tmp_path)
    yield port
    port.close()


def test_a_pattern_matches_across_what_arrives_piece_by_piece(port: SerialPort) -> None:
    for piece in ("boot\nrou", "ter réady"):
        encoded = piece.encode()
        for byte in encoded:  # also the two bytes of é apart
            port.prints(bytes([byte]))
            port.console.wait_for("b", LIMIT)
    assert port.console.wait_for(r"rou(\w+) réady", LIMIT)[1] == "ter"


def test_what_was_printed_before_matches(port: SerialPort) -> None:
    port.prints(b"first\nsecond\n")
    port.console.wait_for("second", LIMIT)
    assert port.console.wait_for("first", 0)


def test_a_time_out_is_a_boot_error_with_the_last_lines(port: SerialPort) -> None:
    port.prints(b"".join(b"line %d\n" % number for number in range(100)))
    with pytest.raises(BootError, match=r"router: 0\.1 s passed .*'ready'") as raised:
        port.console.wait_for("ready", 0.1)
    assert raised.value.evidence.splitlines() == [f"line {number}" for number in range(80, 100)]


def test_the_end_of_the_machine_is_a_boot_error_at_once(port: SerialPort) -> None:
    port.prints(b"Kernel panic\n")
    port.end.close()
    with pytest.raises(BootError, match="the machine ended before") as raised:
        port.console.wait_for("ready", LIMIT * 10)
    assert raised.value.evidence == "Kernel panic"


def test_it_is_said_that_nothing_was_printed(port: SerialPort) -> None:
    port.end.close()
    with pytest.raises(BootError, match="printed nothing"):
        port.console.wait_for("ready", LIMIT)


def test_what_is_typed_arrives(port: SerialPort) -> None:
    port.console.send("help\n")
    assert port.end.recv(100) == b"help\n"


def test_nothing_is_typed_on_a_machine_that_has_ended(port: SerialPort) -> None:
    port.end.close()
    with pytest.raises(InfrastructureError, match="router: the console has ended"):
        port.console.send("help\n")


def test_no_console_is_an_infrastructure_error(tmp_path: Path) -> None:
    with pytest.raises(InfrastructureError, match="router: no console at"):
        Console("router", tmp_path / "none.sock", tmp_path / "log")


def test_a_prompt_in_colour_matches_as_a_terminal_shows_it(port: SerialPort) -> None:
    title = "\x1b]0;root@router: ~\x07\x1b]2;two\x1b\\"
    prompt = f"{title}\x1b[?2004h\x1b(B\x1b[m\x01\x1b[01;32m\x02root\x1b[0m:\x1b[38;5;12m~\x1b[m# "
    for byte in f"\nlogged in\n{prompt}".encode():
        port.prints(bytes([byte]))
    found = port.console.wait_for(r"logged in\nroot:~# ", LIMIT)
    assert "\x1b" not in found.string


def test_an_escape_that_never_ends_does_not_hide_what_follows(port: SerialPort) -> None:
    port.prints(b"\x1b]0;no end" + b"x" * 5000 + b" prompt# ")
    port.console.wait_for("prompt# ", LIMIT)


def test_the_command_that_shows_a_console_holds_in_any_folder() -> None:
    assert shlex.split(watch(Path("/tmp/a b/it's"))) == ["tail", "-f", "/tmp/a b/it's"]
