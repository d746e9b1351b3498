"""An emulated router, booted once, with all that can be done to it."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from emulated import OWN, started

from harness.device import agent, golden
from harness.device.qemu import QemuDevice
from harness.device.ssh import ClientKey
from harness.device.testinfra import host
from harness.errors import CommandError, InfrastructureError

LIMIT = 30.0
CARRIER = "/sys/class/net/eth1/carrier"


@pytest.fixture(scope="module")
def device() -> Iterator[QemuDevice]:
    with started() as device:
        yield device


def events(device: QemuDevice, source: str) -> list[str]:
    return [
        entry["event"] for entry in device.timeline.events(match=lambda e: e["source"] == source)
    ]


def test_commands_have_status_output_and_errors(device: QemuDevice) -> None:
    done = device.run("echo out; echo err >&2; exit 3")
    assert (done.status, done.stdout, done.stderr) == (3, b"out\n", b"err\n")
    assert device.python("print(6 * 7)") == "42\n"
    assert device.run("kill -9 $$").status != 0
    assert host(device).file("/etc/paradrop/settings.ini").user == "paradrop"


def test_testinfra_asks_once_an_image_what_system_it_is(
    device: QemuDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    host(device)
    asked: list[str] = []
    run = device.run
    monkeypatch.setattr(device, "run", lambda command: asked.append(command) or run(command))
    assert host(device).file("/etc/passwd").user == "root"
    assert asked == ["stat -Lc %U /etc/passwd"]


def test_a_command_without_end_is_given_up(device: QemuDevice) -> None:
    with pytest.raises(InfrastructureError, match="no end within 1 s"):
        device.run("sleep 600", 1)
    assert device.succeed("echo on") == "on\n"


@pytest.mark.parametrize(
    ("mode", "owner", "expected"),
    [(0o600, "paradrop", "600 paradrop\n"), (0o755, None, "755 root\n")],
)
def test_files_have_their_mode_and_owner(
    device: QemuDevice, mode: int, owner: str | None, expected: str
) -> None:
    path, content = "/etc/paradrop/it's a file", bytes(range(256)) * 1000
    device.succeed("rm -f '/etc/paradrop/it'\\''s a file'")
    device.write(path, content, mode, owner)
    assert device.read(path) == content
    assert device.succeed("stat -c '%a %U' /etc/paradrop/it*") == expected


def test_what_cannot_be_read_or_written_is_an_error_of_the_command(device: QemuDevice) -> None:
    with pytest.raises(CommandError, match=r"can't read /nowhere/file\n.*No such file"):
        device.read("/nowhere/file")
    with pytest.raises(CommandError, match="can't write /nowhere/file"):
        device.write("/nowhere/file", b"data")


def test_the_host_key_is_pinned(device: QemuDevice) -> None:
    command = device.access()["shell"].split()
    known = device.folder / "known_hosts"
    known.write_text(f"{known.read_text().split()[0]} {ClientKey.generate().public}\n")
    done = subprocess.run([*command, "true"], capture_output=True, text=True, timeout=LIMIT)
    assert "Host key verification failed" in done.stderr


def test_a_person_gets_a_shell_with_the_command_that_is_told(device: QemuDevice) -> None:
    command = device.access()["shell"].split()
    done = subprocess.run([*command, "hostname"], capture_output=True, text=True, timeout=LIMIT)
    assert done.stdout.strip() == device.name.replace("_", "-")


def test_an_answer_that_comes_too_late_is_not_taken_for_the_next(
    device: QemuDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patient:
        patient.setattr(agent, "ANSWER_SECONDS", 0.5)
        os.kill(device.on.pid, signal.SIGSTOP)
        try:
            with pytest.raises(InfrastructureError, match=r"no answer within 0\.6 s"):
                device.run("head -c 300000 /dev/zero; echo late", 0.1)
        finally:
            os.kill(device.on.pid, signal.SIGCONT)
    for number in range(3):
        assert device.succeed(f"echo {number}") == f"{number}\n"


def test_a_full_disk_does_not_cost_the_machine_that_is_to_be_saved(device: QemuDevice) -> None:
    with pytest.raises(InfrastructureError, match="No space left on device"):
        device.on.save(Path("/dev/full"), with_ram=True)
    assert device.succeed("echo on") == "on\n"


@pytest.mark.parametrize("moment", ["stop", "migrate", "query-migrate"])
def test_a_qemu_that_is_killed_while_its_state_is_saved_is_said_to_be(
    moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with started(name="killed") as victim:
        machine = victim.on
        execute = machine.monitor.execute

        def killed(command: str, arguments: dict[str, Any]) -> Any:
            if command == moment:
                os.kill(machine.pid, signal.SIGKILL)
            return execute(command, arguments)

        monkeypatch.setattr(machine.monitor, "execute", killed)
        began = time.monotonic()
        with pytest.raises(InfrastructureError, match="QEMU ended by itself, status -9"):
            victim.snapshot()
        assert time.monotonic() - began < LIMIT


def test_the_console_works_without_network(device: QemuDevice) -> None:
    device.console.send("\necho typed-$((6 * 7))\n")
    device.console.wait_for("typed-42", LIMIT)


def test_the_clock_is_set_and_reset(device: QemuDevice) -> None:
    device.clock.set(2_000_000_000)
    assert 0 <= device.clock.now() - 2_000_000_000 < LIMIT
    device.clock.reset()
    assert abs(device.clock.now() - time.time()) < LIMIT


def test_the_cable_is_pulled_and_mgmt_stays(device: QemuDevice) -> None:
    with device.link("wan").unplugged():
        device.wait_until_succeeds(f"grep -q 0 {CARRIER}", LIMIT)
    device.wait_until_succeeds(f"grep -q 1 {CARRIER}", LIMIT)
    assert events(device, "fault")[-2:] == ["begins", "ends"]


def test_a_power_cycle_keeps_what_was_synced_and_where_the_cable_is(device: QemuDevice) -> None:
    device.write("/etc/paradrop/kept", b"synced")
    device.succeed("sync; echo gone > /run/memory")
    device.link("wan").down()
    before = device.succeed("cat /proc/sys/kernel/random/boot_id")
    device.power.cycle()
    assert device.succeed("cat /proc/sys/kernel/random/boot_id") != before
    assert device.read("/etc/paradrop/kept") == b"synced"
    device.fail("test -e /run/memory")
    assert device.succeed(f"cat {CARRIER}") == "0\n"
    device.link("wan").up()
    device.wait_until_succeeds(f"grep -q 1 {CARRIER}", LIMIT)


class TestSnapshot:
    def test_it_goes_back_to_it_any_number_of_times(self, device: QemuDevice) -> None:
        device.succeed("echo memory > /run/kept; echo disk > /etc/kept; sync")
        device.succeed("echo 3 > /proc/sys/vm/drop_caches")  # the disk has to be the right one
        device.clock.set(2_000_000_000)
        snapshot = device.snapshot()
        own = device.succeed("cat /etc/machine-id; hostname")
        for number in range(2):
            device.succeed(f"echo {number} > /run/kept; rm /etc/kept; echo {number} > /etc/new")
            device.restore(snapshot)
            assert device.succeed("cat /run/kept /etc/kept") == "memory\ndisk\n"
            device.fail("test -e /etc/new")
            assert device.succeed("cat /etc/machine-id; hostname") == own
            assert abs(device.clock.now() - time.time()) < 5

    def test_the_cable_is_where_it_was(self, device: QemuDevice) -> None:
        with device.link("wan").unplugged():
            snapshot = device.snapshot()
        device.restore(snapshot)
        assert device.succeed(f"cat {CARRIER}") == "0\n"
        device.link("wan").up()
        device.wait_until_succeeds(f"grep -q 1 {CARRIER}", LIMIT)

    def test_it_is_restored_after_the_power_was_cut(self, device: QemuDevice) -> None:
        device.succeed("echo before > /run/kept")
        snapshot = device.snapshot()
        device.power.cut()
        device.restore(snapshot)
        assert device.succeed("cat /run/kept") == "before\n"

    @pytest.mark.parametrize("damage", ["cut", "flipped bit", "gone"])
    def test_one_that_is_damaged_is_refused_and_the_machine_goes_on(
        self, device: QemuDevice, damage: str
    ) -> None:
        snapshot = device.snapshot()
        data = bytearray(snapshot.state.read_bytes())
        data[len(data) // 2] ^= damage == "flipped bit"
        snapshot.state.write_bytes(data[: len(data) // 2] if damage == "cut" else data)
        if damage == "gone":
            snapshot.state.unlink()
        device.succeed("echo on > /run/kept")
        with pytest.raises(InfrastructureError, match=r"snapshot-\d+ is damaged"):
            device.restore(snapshot)
        assert device.succeed("cat /run/kept") == "on\n"

    def test_after_the_clock_of_this_computer_was_set_back_it_has_that_one(
        self, device: QemuDevice, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        snapshot = device.snapshot()
        now = time.time
        with monkeypatch.context() as patched:
            patched.setattr(time, "time", lambda: now() - 86400)
            device.restore(snapshot)
            assert abs(device.clock.now() - time.time()) < 5
        device.restore(snapshot)
        assert abs(device.clock.now() - time.time()) < 5

    def test_a_disk_that_is_full_does_not_cost_the_machine(
        self, device: QemuDevice, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def full(source: Path, target: Path) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        with monkeypatch.context() as patched:
            patched.setattr(golden, "copy_disk", full)
            with pytest.raises(InfrastructureError, match="No space left on device"):
                device.snapshot()
        assert device.succeed("echo on") == "on\n"


class TestFork:
    def test_forks_go_on_from_where_it_was_and_are_themselves(self, device: QemuDevice) -> None:
        device.succeed("echo memory > /run/kept; echo disk > /etc/kept")
        pid = device.succeed("cat /run/paradrop-daemon.pid")
        device.adopt("pd-origin", "ws://10.0.3.2:9/ws", "secret")
        kept = set(device.folder.glob("snapshot-*"))
        forks = device.fork(2)
        everyone = [device, *forks]
        for what in OWN.keys() - {"boot id", "certificate authority"}:
            assert len({each.succeed(OWN[what]) for each in everyone}) == 3, what
        for each in everyone:
            assert each.succeed("cat /run/kept /etc/kept") == "memory\ndisk\n"
            assert each.succeed("cat /run/paradrop-daemon.pid") == pid
            assert each.succeed(f"cat {CARRIER}") == "1\n"
            each.write("/run/kept", each.name.encode())
        for fork in forks:
            fork.wait_until_succeeds("tail -n 1 /etc/paradrop/logs/log | grep unprovisioned")
            fork.fail("grep -r -e secret -e pd-origin /etc/paradrop/config /etc/paradrop/keys")
            shell = [*fork.access()["shell"].split(), "hostname"]
            done = subprocess.run(shell, capture_output=True, text=True, timeout=LIMIT)
            assert done.stdout.strip() == fork.name.replace("_", "-")
        assert len({each.read("/run/kept") for each in everyone}) == 3
        assert b"pd-origin" in device.read("/etc/paradrop/config")
        assert set(device.folder.glob("snapshot-*")) == kept

    def test_their_power_comes_back_to_themselves(self, device: QemuDevice) -> None:
        (fork,) = device.fork(1)
        before = fork.succeed("sync; cat /etc/machine-id; hostname")
        fork.power.cycle()
        assert fork.succeed("cat /etc/machine-id; hostname") == before
        device.forget()

    def test_their_cable_is_where_it_was(self, device: QemuDevice) -> None:
        with device.link("wan").unplugged():
            (fork,) = device.fork(1)
        assert fork.succeed(f"cat {CARRIER}") == "0\n"
        assert device.succeed(f"cat {CARRIER}") == "1\n"


def test_one_that_has_just_booted_is_given_an_identity() -> None:
    """Its daemon, which makes the folder of keys, is not up yet."""
    with started(config={"motd": b"no golden state has this"}) as booted:
        booted.adopt("pd-early", "ws://10.0.3.2:9/ws", "secret")
        assert booted.read("/etc/paradrop/keys/apitoken") == b"secret"


def test_its_evidence_is_of_all_its_boots(device: QemuDevice) -> None:
    found = device.evidence()
    assert {"console", "QEMU", "daemon log", "wan-1", "wan-2"} <= set(found)
    assert str(found["console"]).count("paradrop: router ready") == 2
    packets = found["wan-1"]
    assert isinstance(packets, Path)
    assert packets.read_bytes()[:4] == b"\xd4\xc3\xb2\xa1"  # pcap-savefile(5), little-endian
    assert device.facts()["QEMU"].startswith("QEMU emulator")


def test_a_qemu_that_was_killed_is_no_fault_of_the_router(device: QemuDevice) -> None:
    """The last one: the router is gone."""
    device.check()
    os.kill(device.on.pid, signal.SIGKILL)
    for _ in range(2):
        with pytest.raises(InfrastructureError, match=r"QEMU ended by itself, status -9") as raised:
            device.run("true")
        assert "paradrop: router ready" in raised.value.evidence
    device.power.cut()
    with pytest.raises(InfrastructureError, match="is powered off"):
        device.run("true")
