"""Looking whether a port answers again, with real ports."""

from __future__ import annotations

import contextlib
import random
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from paradrop.base.probe import Probe


@pytest.fixture
def port() -> int:
    """Nobody listens there, for now."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        number: int = free.getsockname()[1]
    return number


@pytest.fixture
def answers() -> threading.Semaphore:
    return threading.Semaphore(0)


@pytest.fixture
def probe(
    port: int, answers: threading.Semaphore, reactor: Any, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Probe]:
    from twisted.internet import reactor as twisted

    monkeypatch.setattr(Probe, "LEAST", 0.02)
    monkeypatch.setattr(Probe, "MOST", 0.04)
    made = Probe(twisted, "127.0.0.1", port, random.Random(1), answers.release)
    reactor(made.start)
    yield made
    reactor(made.stop)


@contextlib.contextmanager
def listening(port: int) -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", port)) as server:
        server.settimeout(5)
        yield server


def test_calls_back_once_when_the_port_answers(
    probe: Probe, port: int, answers: threading.Semaphore
) -> None:
    assert not answers.acquire(timeout=0.2)
    assert probe.looks > 1
    with listening(port) as server:
        assert answers.acquire(timeout=5)
        looks = probe.looks
        connection, _ = server.accept()
        with connection, contextlib.suppress(ConnectionResetError):
            assert connection.recv(1) == b""
        assert not answers.acquire(timeout=0.2)
    assert probe.looks == looks


def test_stopped_it_looks_no_more(
    probe: Probe, port: int, answers: threading.Semaphore, reactor: Any
) -> None:
    reactor(probe.stop)
    with listening(port):
        assert not answers.acquire(timeout=0.3)
