"""The embedded device: the real daemon in a folder of its own, and a real router."""

from __future__ import annotations

import os
import signal
import socket
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.bench import Bench
from harness.device.daemon_log import DaemonLog
from harness.device.process import ProcessDevice
from harness.device.testinfra import host
from harness.errors import CommandError, DeviceError, InfrastructureError, SuiteError
from harness.fault.catalogue import read

LIMIT = 30.0


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        bench = Bench(Path(folder))
        yield bench
        bench.close()


@pytest.fixture(scope="module")
def shared(bench: Bench) -> ProcessDevice:
    device = bench.device("process")
    assert isinstance(device, ProcessDevice)
    return device


@pytest.fixture
def device(shared: ProcessDevice) -> Iterator[ProcessDevice]:
    """The module's, its daemon running."""
    yield shared
    shared.link("wan").up()
    shared.daemon("start")


def daemon(device: ProcessDevice) -> int:
    return int(device.read(device.runtime_home / "paradropd.pid"))


def alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def test_commands(device: ProcessDevice) -> None:
    done = device.run("echo out; echo err >&2; exit 3")
    assert (done.status, done.stdout, done.stderr) == (3, b"out\n", b"err\n")
    assert device.succeed("echo fine") == "fine\n"
    assert device.fail("echo out; echo bad >&2; false") == "out\nbad\n"
    assert device.python("print(6 * 7)") == "42\n"
    with pytest.raises(CommandError, match=r"`echo no; exit 4` exited 4\nno"):
        device.succeed("echo no; exit 4")
    with pytest.raises(CommandError, match="`true` succeeded unexpectedly"):
        device.fail("true")


def test_waiting_for_a_command_to_succeed(device: ProcessDevice) -> None:
    script = "test -e third && echo there || { test -e second && touch third; touch second; false;}"
    assert device.wait_until_succeeds(script, LIMIT) == "there\n"
    with pytest.raises(CommandError, match=r"`false` still fails after 0\.1 s"):
        device.wait_until_succeeds("false", 0.1)


def test_a_command_that_outlives_its_time_out_leaves_no_process(device: ProcessDevice) -> None:
    with pytest.raises(InfrastructureError, match=r"no end within 0\.5 s"):
        device.run("echo $$ > pids; sleep 60 & echo $! >> pids; wait", 0.5)
    for pid in device.read(device.config_home / "pids").split():
        device.wait_until_succeeds(f"! kill -0 {int(pid)}", LIMIT)


@pytest.mark.parametrize("mode", [0o600, 0o644, 0o755])
def test_files_are_written_with_their_mode(device: ProcessDevice, mode: int) -> None:
    path = device.config_home / "file"
    for content in (b"longer than the next", b"\0\xff\n"):
        device.write(path, content, mode)
        assert device.read(path) == content
        assert device.succeed(f"stat -c %a {path}") == f"{mode:o}\n"


def test_what_cannot_be_read_or_written_is_an_error_of_the_command(device: ProcessDevice) -> None:
    with pytest.raises(CommandError, match="can't read /nowhere/file"):
        device.read("/nowhere/file")
    with pytest.raises(CommandError, match="can't write /nowhere/file"):
        device.write("/nowhere/file", b"")


def test_testinfra_sees_it(device: ProcessDevice) -> None:
    config = host(device).file(str(device.config_home / "settings.ini"))
    assert config.is_file
    assert config.mode == 0o600
    assert config.contains("wamp_ca_file")
    assert host(device).run("exit 5").rc == 5


def test_an_identity_is_given_and_taken_away(bench: Bench, device: ProcessDevice) -> None:
    log = DaemonLog(device)
    identity = bench.provision(device)
    bench.assert_healthy(identity.pdid)
    assert log.wait_for("wamp.joined", LIMIT)["pdid"] == identity.pdid
    (session,) = bench.operator.sessions(identity.pdid)
    device.forget()
    bench.operator.wait_left(identity.pdid, session, LIMIT)
    assert device.fail(f"ls {device.config_home}/keys/apitoken")
    device.fail("test -e .token")


def test_a_refused_provisioning_leaves_no_token(device: ProcessDevice) -> None:
    with pytest.raises(CommandError, match="provision"):
        device.provision("no pdid", "wss://localhost/ws", "secret")
    device.fail("test -e .token")


def test_a_power_cut_gives_the_daemon_no_chance_and_on_starts_another(
    device: ProcessDevice,
) -> None:
    before = daemon(device)
    device.crash()
    assert not alive(before)
    device.check()  # it was asked for
    device.power.on()
    assert daemon(device) != before
    assert alive(daemon(device))
    events = [
        (entry["fault"], entry["event"])
        for entry in device.timeline.events(match=lambda entry: entry["source"] == "fault")
    ]
    assert events[-2:] == [("power cut", "begins"), ("power cut", "ends")]


def test_power_that_is_cut_ends_the_session_and_cycled_brings_it_back(
    bench: Bench, device: ProcessDevice
) -> None:
    identity = bench.provision(device)
    with bench.rejoins(identity.pdid, after="power cycled"):
        device.power.cycle()
    assert bench.measurements[-1].fault == "power cycled"


def test_an_unplugged_cable_stays_unplugged_for_new_ways(
    bench: Bench, device: ProcessDevice
) -> None:
    link = device.link("wan")
    identity = bench.provision(device)
    (session,) = bench.operator.sessions(identity.pdid)
    with link.unplugged():
        assert device.wan(bench.node.port)[1] != bench.node.port
        device.daemon("restart")
        with pytest.raises(DeviceError, match="did not join"):
            bench.operator.wait_joined(identity.pdid, 1, not_in=[session])
    bench.operator.wait_joined(identity.pdid, LIMIT, not_in=[session])


def test_files_are_made_with_a_usual_umask_whatever_ours_is(bench: Bench) -> None:
    ours = os.umask(0o077)
    try:
        device = bench.device("process")
        assert device.succeed("umask").strip() == "0022"
        pid = device.read(device.runtime_home / "paradropd.pid").decode().strip()
        assert "Umask:\t0022" in device.read(f"/proc/{pid}/status").decode()
        bench.drop(device)
    finally:
        os.umask(ours)


def test_a_link_that_it_has_not(device: ProcessDevice) -> None:
    with pytest.raises(SuiteError, match=r"process-.*: has no cable 'lan'"):
        device.link("lan")


def test_a_daemon_that_died_is_the_devices_fault(device: ProcessDevice) -> None:
    os.kill(daemon(device), signal.SIGKILL)
    with pytest.raises(DeviceError, match="the daemon ended by itself, status -9"):
        while True:
            device.check()
    device.power.cut()
    device.check()


def test_a_daemon_that_does_not_start_is_the_devices_fault(device: ProcessDevice) -> None:
    device.daemon("stop")
    in_the_way = f"{device.runtime_home}/paradropd.pid"
    device.succeed(f"rm -f {in_the_way} && mkdir {in_the_way}")
    try:
        with pytest.raises(DeviceError, match="ended by itself") as raised:
            device.daemon("start")
        assert "paradropd.pid" in raised.value.evidence
    finally:
        device.power.cut()
        device.succeed(f"rmdir {in_the_way}")


def test_its_evidence_and_facts(device: ProcessDevice) -> None:
    deadline = time.monotonic() + LIMIT
    while set(device.evidence()) != {"console", "daemon log"}:
        assert time.monotonic() < deadline
    assert set(device.facts()) == {"architecture", "paradrop", "python"}
    assert set(device.access()) == {"shell", "console"}


def test_closed_it_leaves_no_process(bench: Bench) -> None:
    device = bench.device("process")
    assert isinstance(device, ProcessDevice)
    pid = daemon(device)
    _, port = device.wan(bench.node.port)
    bench.drop(device)
    device.close()
    assert not alive(pid)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), LIMIT)


def test_its_console_has_no_alarm_of_what_it_does_not_use(device: ProcessDevice) -> None:
    assert "NumPy" not in device.evidence()["console"]
    assert "Traceback" not in device.evidence()["console"]


class TestSuffers:
    """Any fault of the catalogue, by its value."""

    def test_what_it_is_told(self, device: ProcessDevice) -> None:
        with device.suffers(read({"fault": "link down"})):
            assert not device.cables["wan"].is_plugged()
        assert device.cables["wan"].is_plugged()
        with device.suffers(read({"fault": "power cut"})):
            assert not device.parts["power"].is_on()
        with device.suffers(read({"fault": "freeze"})):
            status = Path(f"/proc/{daemon(device)}/status").read_text()
            assert "T (stopped)" in status
        assert "T (stopped)" not in Path(f"/proc/{daemon(device)}/status").read_text()

    @pytest.mark.parametrize(
        ("given", "why"),
        [
            ({"fault": "link down", "link": "lan"}, "has no cable 'lan' .*there are: wan"),
            ({"fault": "clock set", "to": 0}, "has no clock"),
            ({"fault": "node stop"}, "node stop is a fault of the node"),
        ],
    )
    def test_nothing_that_it_cannot(
        self, device: ProcessDevice, given: dict[str, object], why: str
    ) -> None:
        with pytest.raises(SuiteError, match=why), device.suffers(read(given)):
            raise AssertionError

    def test_nothing_that_a_test_did_not_ask_for(self, device: ProcessDevice) -> None:
        device.asked = {"link"}
        try:
            with pytest.raises(SuiteError, match="did not ask for it"):
                device.suffers(read({"fault": "power cut"})).__enter__()
        finally:
            device.asked = None
