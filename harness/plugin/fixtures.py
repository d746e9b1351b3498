"""The fixtures of the suites: each is one noun of a test bench."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from harness.errors import SuiteError

if TYPE_CHECKING:
    from testinfra.host import Host

    from harness.bench import Bench, Identity
    from harness.device import Device
    from harness.device.daemon_log import DaemonLog
    from harness.node import Node, Operator

BENCH: pytest.StashKey[Bench] = pytest.StashKey()
CURRENT: pytest.StashKey[Current] = pytest.StashKey()
STARTED: pytest.StashKey[float] = pytest.StashKey()
"""When a test began, in seconds of `time.monotonic`."""


class Current:
    """The device that tests share, until one of them fails or a fresh one is asked for."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self._owner = ""
        self.device: Device | None = None
        self.identity: Identity | None = None
        self.used = False
        """Whether it may have an identity that nobody here knows of."""

    def get(self, kind: str, owner: str, *, fresh: bool) -> Device:
        if self.device is None or fresh or self._owner != owner:
            self.drop()
            self.device = self._bench.device(kind)
            self._owner = owner
        return self.device

    def warm(self, kind: str) -> None:
        """Have the next one ready when it is asked for."""
        self._bench.warm(kind)

    def drop(self) -> None:
        if self.device is not None:
            self._bench.drop(self.device)
        self.device = self.identity = None
        self.used = False


@pytest.fixture(scope="session")
def bench(request: pytest.FixtureRequest) -> Iterator[Bench]:
    """The test bench of this worker: its node, its devices, its time line."""
    from harness.bench import Bench

    folder = Path(tempfile.mkdtemp(prefix="hil-"))
    bench = Bench(folder)
    request.config.stash[BENCH] = bench
    try:
        yield bench
    finally:
        bench.close()
        del request.config.stash[BENCH]
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def current(bench: Bench, request: pytest.FixtureRequest) -> Iterator[Current]:
    current = request.config.stash[CURRENT] = Current(bench)
    yield current
    del request.config.stash[CURRENT]
    current.drop()


@pytest.fixture
def node(bench: Bench) -> Node:
    """The crossbar node, running at the start of every test."""
    if not bench.node.running:
        bench.node.start()
    return bench.node


@pytest.fixture
def operator(bench: Bench, node: Node) -> Operator:
    """A WAMP client that calls the devices' procedures and waits for their events."""
    return bench.operator


@pytest.fixture
def device(
    node: Node,
    current: Current,
    device_kind: str,
    request: pytest.FixtureRequest,
) -> Iterator[Device]:
    """A booted device with a running daemon, which can do what the test `needs`.

    Of a kind that starts from a snapshot, every test has a fresh one. Of another kind, tests
    share one, unless a test is `fresh`.
    """
    from harness.device import kind_class
    from harness.plugin import marks, sharing

    marked = request.node.get_closest_marker("fresh") is not None
    fresh = marked or "snapshot" in kind_class(device_kind).capabilities
    device = current.get(device_kind, sharing(request.node, device_kind), fresh=fresh)
    if fresh and _wanted_again(request, device_kind):
        current.warm(device_kind)
    _tell_facts(request, device)
    device.asked = marks.needs(request.node)
    yield device
    device.asked = None
    if fresh:
        current.drop()
    else:
        device.injector.undo()  # what a test has forgotten is not for the next one


@pytest.fixture
def devices(
    bench: Bench, node: Node, device_kind: str, request: pytest.FixtureRequest
) -> Iterator[Callable[[int], list[Device]]]:
    """`devices(3)`: so many fresh devices on one wan, without an identity; they end with the
    test."""
    from harness.plugin import marks

    asked = marks.needs(request.node)
    made: list[Device] = []

    def make(count: int) -> list[Device]:
        if "several" not in asked:
            missing = '@pytest.mark.needs("several") is missing'
            raise SuiteError("the test uses `devices` and did not ask for it", hint=missing)
        new = bench.devices(device_kind, count)
        for device in new:
            device.asked = asked
        made.extend(new)
        _tell_facts(request, new[0])
        return new

    yield make
    for device in made:
        bench.drop(device)


def _tell_facts(request: pytest.FixtureRequest, device: Device) -> None:
    from harness.plugin.tally import FACTS

    request.node.user_properties.append((FACTS, json.dumps(device.facts())))


def _wanted_again(request: pytest.FixtureRequest, kind: str) -> bool:
    """Whether a later test may want a device of the kind; of the items, a worker knows all."""
    items = request.session.items
    later = items[items.index(request.node) + 1 :]
    calls = (getattr(item, "callspec", None) for item in later)
    return any(call is not None and call.params.get("device_kind") == kind for call in calls)


@pytest.fixture
def pdid(bench: Bench, current: Current, device: Device) -> str:
    """The identity of the device, which is provisioned and joined when the test starts."""
    if current.identity is None:
        current.used, current.identity = True, bench.provision(device)
    pdid = current.identity.pdid
    bench.operator.wait_joined(pdid)
    return pdid


@pytest.fixture
def blank(current: Current, device: Device) -> Device:
    """The device without an identity, its daemon running."""
    from harness.device.daemon_log import DaemonLog

    if current.used:
        log = DaemonLog(device)
        device.forget()
        log.wait_for("daemon.unprovisioned")
    else:
        device.wait_blank()
    current.used, current.identity = True, None
    return device


@pytest.fixture
def rejoins(bench: Bench, pdid: str) -> Callable[..., AbstractContextManager[None]]:
    """`with rejoins(after="router killed"): …`: see L{Bench.rejoins}."""

    def rejoins(after: str, within: float = 90) -> AbstractContextManager[None]:
        return bench.rejoins(pdid, after, within)

    return rejoins


@pytest.fixture
def log(device: Device) -> DaemonLog:
    """What the daemon logs during the test."""
    from harness.device.daemon_log import DaemonLog

    return DaemonLog(device)


@pytest.fixture
def host(device: Device) -> Host:
    """The device as testinfra sees it."""
    from harness.device.testinfra import host

    return host(device)
