"""A bench owns a node and devices; two of them never meet, and none leaves anything."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.bench import Bench
from harness.errors import DeviceError, InfrastructureError, UsageError


def descendants() -> set[int]:
    """Processes that this one has started and that still run, and what those have."""
    found = {os.getpid()}
    while True:
        more = {
            int(child)
            for pid in found
            for task in Path(f"/proc/{pid}/task").glob("*/children")
            for child in task.read_text().split()
        }
        if more <= found:
            return found - {os.getpid()}
        found |= more


@pytest.fixture(scope="module")
def before() -> set[int]:
    return descendants()


@pytest.fixture(scope="module")
def benches(before: set[int]) -> Iterator[list[Bench]]:
    folders = [Path(tempfile.mkdtemp(prefix="bench-")) for _ in range(2)]
    benches = [Bench(folder) for folder in folders]
    yield benches
    for bench in benches:
        bench.close()
    for folder in folders:
        shutil.rmtree(folder)


def test_two_at_once_do_not_meet(benches: list[Bench]) -> None:
    devices = [bench.device("process") for bench in benches]
    identities = [bench.provision(device) for bench, device in zip(benches, devices, strict=True)]
    for bench, identity in zip(benches, identities, strict=True):
        bench.assert_healthy(identity.pdid)
        others = [other for other in identities if other is not identity]
        assert [bench.operator.sessions(other.pdid) for other in others] == [[]]
    ports = {port for bench in benches for port in (bench.node.port, bench.node.tls_port)}
    assert len(ports) == 4


def test_health_is_one_session_that_answers(benches: list[Bench]) -> None:
    bench, _ = benches
    identity = bench.provision(bench.device("process"))
    bench.assert_healthy(identity.pdid)
    assert identity.token not in repr(identity)
    bench._devices[-1].daemon("stop")
    with pytest.raises(DeviceError, match=identity.pdid):
        bench.assert_healthy(identity.pdid)


def test_health_is_all_procedures(benches: list[Bench], monkeypatch: pytest.MonkeyPatch) -> None:
    bench, _ = benches
    identity = bench.provision(bench.device("process"))
    monkeypatch.setattr("harness.bench.PROCEDURES", ("config", "logs", "reboot", "status"))
    with pytest.raises(DeviceError, match=r"has registered .*, not .*reboot"):
        bench.assert_healthy(identity.pdid)


def test_a_stopped_node_is_no_death_but_a_killed_one_is(benches: list[Bench]) -> None:
    _, bench = benches
    bench.check()
    bench.node.stop()
    bench.check()
    bench.node.start()
    assert bench.node._child
    os.kill(bench.node._child.pid, 9)
    bench.node._child.wait(10)
    with pytest.raises(InfrastructureError, match="crossbar ended with status -9"):
        bench.check()


def test_evidence_is_of_every_device_and_since_a_time(benches: list[Bench]) -> None:
    bench, other = benches
    assert {"console", "daemon log"} <= set(other.evidence())
    other.drop(other._devices[0])
    several = other.devices("process", 2)
    assert {f"console of {device.name}" for device in several} <= set(other.evidence())
    for device in several:
        other.drop(device)
    for device in bench._devices[1:]:
        bench.drop(device)
    now = bench.timeline.record("test", "new")
    bench.timeline.record("test", "newer")
    found = bench.evidence(now)
    assert {"console", "daemon log", "crossbar", "time line"} >= set(found)
    assert '"newer"' in str(found["time line"])
    assert "new session attached" in str(bench.evidence()["time line"])
    assert '"new"' not in str(found["time line"])
    assert '"new"' in str(bench.evidence()["time line"])


def test_evidence_that_a_device_cannot_give_costs_no_other(
    benches: list[Bench], monkeypatch: pytest.MonkeyPatch
) -> None:
    bench, _ = benches

    def broken() -> dict[str, str | Path]:
        raise OSError("it has gone")

    device = bench.device("process")
    monkeypatch.setattr(device, "evidence", broken)
    found = bench.evidence()
    bench.drop(device)
    assert found[device.name] == "could not be collected: it has gone"
    assert "time line" in found


def test_an_unknown_device(benches: list[Bench]) -> None:
    with pytest.raises(UsageError, match="no device of kind 'nonsense'"):
        benches[0].device("nonsense")


def test_closed_they_leave_no_process_and_no_lock(benches: list[Bench], before: set[int]) -> None:
    assert descendants() > before
    for bench in benches:
        bench.close()
        bench.close()
    assert descendants() == before
    locks = Path("/proc/locks").read_text()
    for bench in benches:
        inodes = [path.stat().st_ino for path in bench.folder.rglob("*") if path.is_file()]
        assert inodes
        assert not [inode for inode in inodes if f":{inode} " in locks]


def test_a_fork_of_a_device_that_has_joined_joins_as_another() -> None:
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        bench = Bench(Path(folder))
        try:
            device = bench.device("qemu-x86_64")
            origin = bench.provision(device)
            (fork,) = device.fork(1)
            for identity in (origin, bench.provision(fork)):
                bench.assert_healthy(identity.pdid)
            (again,) = fork.fork(1)
            assert {f"console of {each.name}" for each in (fork, again)} <= bench.evidence().keys()
            bench.drop(device)
            with pytest.raises(InfrastructureError, match="is powered off"):
                fork.run("true")
        finally:
            bench.close()
