"""The relay passes bytes, and can be as silent as a cable that nobody has plugged in."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator

import pytest

from harness.device.relay import Relay

LIMIT = 10.0
SILENCE = 0.2
"""Seconds in which nothing may arrive. What comes later than it is no proof, but no error."""


@pytest.fixture
def server() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(LIMIT)
        yield server


@pytest.fixture
def relay(server: socket.socket) -> Iterator[Relay]:
    relay = Relay(server.getsockname()[1])
    yield relay
    relay.close()


@pytest.fixture
def near(relay: Relay) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", relay.port), LIMIT) as near:
        yield near


@pytest.fixture
def far(near: socket.socket, server: socket.socket) -> Iterator[socket.socket]:
    far, _ = server.accept()
    with far:
        far.settimeout(LIMIT)
        yield far


def receive(end: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count and (more := end.recv(count - len(data))):
        data += more
    return data


def is_silent(end: socket.socket) -> bool:
    end.settimeout(SILENCE)
    try:
        end.recv(1)
    except TimeoutError:
        return True
    finally:
        end.settimeout(LIMIT)
    return False


def test_bytes_pass_both_ways(near: socket.socket, far: socket.socket) -> None:
    near.sendall(b"to the router")
    assert receive(far, 13) == b"to the router"
    far.sendall(b"to the device")
    assert receive(near, 13) == b"to the device"


def test_the_end_of_one_direction_leaves_the_other(near: socket.socket, far: socket.socket) -> None:
    near.sendall(b"question")
    near.shutdown(socket.SHUT_WR)
    assert receive(far, 100) == b"question"
    far.sendall(b"answer")
    far.close()
    assert receive(near, 100) == b"answer"


def test_unplugged_it_is_silent_and_replugged_it_delivers(
    relay: Relay, near: socket.socket, far: socket.socket
) -> None:
    relay.switch(False)
    near.sendall(b"up")
    far.sendall(b"down")
    assert is_silent(near)
    assert is_silent(far)
    relay.switch(True)
    assert receive(far, 2) == b"up"
    assert receive(near, 4) == b"down"


@pytest.mark.parametrize("abruptly", [False, True], ids=["closed", "reset"])
def test_unplugged_no_end_learns_that_the_other_has_gone(
    relay: Relay, near: socket.socket, far: socket.socket, abruptly: bool
) -> None:
    relay.switch(False)
    if abruptly:  # socket(7): without lingering, close sends a reset
        far.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    far.close()
    assert is_silent(near)
    relay.switch(True)
    assert receive(near, 1) == b""


def test_a_connection_made_while_unplugged_arrives_later(
    relay: Relay, server: socket.socket
) -> None:
    relay.switch(False)
    with socket.create_connection(("127.0.0.1", relay.port), LIMIT) as near:
        near.sendall(b"hello")
        server.settimeout(SILENCE)
        with pytest.raises(TimeoutError):
            server.accept()
        server.settimeout(LIMIT)
        relay.switch(True)
        with server.accept()[0] as far:
            far.settimeout(LIMIT)
            assert receive(far, 5) == b"hello"


def test_where_nobody_listens_the_connection_is_closed(relay: Relay, server: socket.socket) -> None:
    server.close()
    with (
        socket.create_connection(("127.0.0.1", relay.port), LIMIT) as near,
        contextlib.suppress(ConnectionResetError),  # as good as a clean end
    ):
        assert receive(near, 1) == b""


def test_it_listens_on_the_loopback_interface_alone(relay: Relay) -> None:
    with socket.create_connection(("127.0.0.1", relay.port), LIMIT):
        pass
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.2", relay.port), LIMIT)


@pytest.mark.parametrize("plugged", [True, False])
def test_closed_it_leaves_no_socket(
    relay: Relay, near: socket.socket, far: socket.socket, plugged: bool
) -> None:
    relay.switch(plugged)
    for end in (near, far):  # nobody reads: what is under way fills every buffer
        end.setblocking(False)
        with pytest.raises(BlockingIOError):
            while True:
                end.send(bytes(1 << 20))
        end.settimeout(LIMIT)
    relay.close()
    for end in (near, far):
        with pytest.raises(OSError, match=r"reset|pipe"):
            while True:
                end.send(bytes(1 << 20))
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", relay.port), LIMIT)
