"""A real router, and a reactor in a thread, for the tests of sessions."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import crochet
import pytest
from sessions import Devices

from harness.device.relay import Relay
from harness.node import Node
from paradrop.base import nexus, settings
from paradrop.base.concealment import Concealment
from paradrop.base.output import out


@pytest.fixture(autouse=True)
def secrets() -> Iterator[None]:
    """What a test has told the log to conceal is no secret in the next one."""
    yield
    out._delivery.concealment = Concealment()


class Reactor:
    """Runs functions where Twisted wants them, and waits for what they give."""

    def __init__(self) -> None:
        crochet.setup()

    def __call__(self, function: Callable[..., Any], *args: Any, timeout: float = 20) -> Any:
        return self.begin(function, *args).wait(timeout)

    def begin(self, function: Callable[..., Any], *args: Any) -> crochet.EventualResult:
        return crochet.run_in_reactor(function)(*args)


@pytest.fixture
def reactor() -> Reactor:
    return Reactor()


class Records(list[dict[str, Any]]):
    """The log records of a test, as they come."""

    def __init__(self) -> None:
        super().__init__()
        self.arrived = threading.Condition()

    def take(self, record: dict[str, Any]) -> None:
        with self.arrived:
            self.append(record)
            self.arrived.notify_all()

    def events(self, name: str) -> list[dict[str, Any]]:
        """The `extra` of the records of an event."""
        return [record["extra"] for record in list(self) if record["extra"].get("event") == name]

    def wait(self, name: str, count: int = 1, timeout: float = 20) -> list[dict[str, Any]]:
        deadline = time.monotonic() + timeout
        with self.arrived:
            while len(found := self.events(name)) < count:
                left = deadline - time.monotonic()
                assert left > 0, f"{len(found)} of {count} {name}: {list(self)}"
                self.arrived.wait(left)
        return found


@pytest.fixture
def records() -> Iterator[Records]:
    taken = Records()
    out.subscribe(taken.take)
    yield taken
    out.unsubscribe(taken.take)


@pytest.fixture
def core() -> Iterator[SimpleNamespace]:
    nexus.core = SimpleNamespace(session=None, wamp_connected=False)
    yield nexus.core
    nexus.core = None


@pytest.fixture
def quick(node: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The router's authority is trusted, and retries are soon."""
    (tmp_path / "ca.pem").write_bytes(node.ca_pem)
    for name, value in {
        "WAMP_CA_FILE": str(tmp_path / "ca.pem"),
        "WAMP_INITIAL_DELAY": 0.1,
        "WAMP_MAX_DELAY": 0.8,
        "WAMP_PING_INTERVAL": 8,
        "WAMP_PING_TIMEOUT": 4,
    }.items():
        monkeypatch.setattr(settings, name, value)


@pytest.fixture
def devices(node: Node, reactor: Any) -> Iterator[Devices]:
    made = Devices(node, reactor)
    yield made
    reactor(made.leave_all)


@pytest.fixture
def relay(node: Node) -> Iterator[Relay]:
    made = Relay(node.tls_port)
    yield made
    made.switch(True)
    made.close()
