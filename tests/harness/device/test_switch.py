"""Who gets a frame: the one it is for, once the switch knows where that is."""

from __future__ import annotations

import contextlib
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.device.switch import Switch

ALL = b"\xff" * 6


class Port:
    """One end of a cable, with the address `address`."""

    def __init__(self, folder: Path, switch: Switch, number: int) -> None:
        self.address = bytes((0x52, 0x54, 0, 0, 0, number))
        self.path = folder / str(number)
        self._to = str(folder / "switch")
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.settimeout(5)
        self._socket.bind(str(self.path))
        switch.plug(self.path)

    def send(self, target: bytes, text: bytes = b"") -> None:
        self._socket.sendto(target + self.address + b"\x08\x00" + text, self._to)

    def receive(self) -> bytes:
        return self._socket.recv(1 << 16)[14:]

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def place() -> Iterator[tuple[Path, Switch]]:
    with tempfile.TemporaryDirectory(prefix="switch-") as name:
        switch = Switch(Path(name) / "switch")
        with contextlib.closing(switch):
            yield Path(name), switch


@pytest.fixture
def ports(place: tuple[Path, Switch]) -> Iterator[list[Port]]:
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(contextlib.closing(Port(*place, n))) for n in range(3)]


def test_what_is_for_all_reaches_all_others(ports: list[Port]) -> None:
    one, two, three = ports
    one.send(ALL, b"who is there?")
    assert two.receive() == three.receive() == b"who is there?"
    two.send(ALL, b"me")
    assert one.receive() == b"me"  # and not its own question


def test_what_is_for_one_reaches_nobody_else(ports: list[Port]) -> None:
    one, two, three = ports
    two.send(ALL, b"here")
    assert one.receive() == three.receive() == b"here"
    one.send(two.address, b"for you")
    one.send(ALL, b"for all")
    assert (two.receive(), two.receive()) == (b"for you", b"for all")
    assert three.receive() == b"for all"


def test_one_that_moved_is_found_where_it_was_heard_last(
    place: tuple[Path, Switch], ports: list[Port]
) -> None:
    one, two, three = ports
    two.send(ALL)
    three.address = two.address
    three.send(ALL, b"moved")
    assert (one.receive(), one.receive()) == (b"", b"moved")
    assert two.receive() == b"moved"
    assert three.receive() == b""
    one.send(two.address, b"for you")
    assert three.receive() == b"for you"


def test_one_that_is_gone_or_full_keeps_nobody_waiting(
    place: tuple[Path, Switch], ports: list[Port]
) -> None:
    one, two, three = ports
    two.close()
    for number in range(600):  # far more than the queue of a socket takes; unix(7)
        one.send(ALL, b"%d" % number)
    place[1].unplug(three.path)
    with contextlib.closing(Port(*place, 9)) as late:
        late.send(one.address, b"still here")
        assert one.receive() == b"still here"


def test_who_is_not_plugged_in_is_not_heard(place: tuple[Path, Switch], ports: list[Port]) -> None:
    one, two, three = ports
    place[1].unplug(one.path)
    one.send(ALL, b"psst")
    two.send(ALL, b"said")
    assert three.receive() == b"said"
