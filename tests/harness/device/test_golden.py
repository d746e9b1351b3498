"""Clones of a golden state: alike in all that was booted, and in nothing that is one's own."""

from __future__ import annotations

import logging
import os
import signal
import tempfile
import threading
import time
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
from emulated import OWN, own_cache, started

from harness.device import accel, golden, machine
from harness.device.accel import Accelerator
from harness.device.golden import Golden
from harness.device.machine import Machine
from harness.device.qemu import QemuArmDevice, QemuDevice, QemuX86Device
from harness.device.qmp import Monitor, RefusedError
from harness.errors import ImageError, InfrastructureError
from harness.evidence.timeline import Timeline
from harness.image import cache, tools


def cloned(kind: type[QemuDevice], name: str) -> AbstractContextManager[QemuDevice]:
    return started(kind, name, {"settings.ini": b"[base]\n", "ca.pem": name.encode()})


@pytest.mark.parametrize("kind", [QemuX86Device, QemuArmDevice], ids=lambda kind: kind.arch)
def test_two_clones_have_in_common_only_their_boot(kind: type[QemuDevice]) -> None:
    with cloned(kind, "one") as one, cloned(kind, "two") as two:
        assert one.facts()["golden state"] == two.facts()["golden state"]
        for what, command in OWN.items():
            first, second = one.succeed(command), two.succeed(command)
            assert first.strip(), what
            assert first != second, what
        for device in (one, two):
            assert abs(device.clock.now() - time.time()) < 5
            assert device.succeed("cat /etc/paradrop/settings.ini") == "[base]\n"
            assert device.succeed("stat -c '%a %U' /etc/paradrop/ca.pem") == "600 paradrop\n"
            pid = device.succeed("cat /run/paradrop-daemon.pid").strip()
            assert "paradropd" in device.succeed(f"cat /proc/{pid}/cmdline")
        one.write("/etc/paradrop/mine", b"1")
        two.fail("test -e /etc/paradrop/mine")
        before = one.succeed("sync; cat /etc/machine-id")
        one.power.cycle()
        assert one.succeed("cat /etc/machine-id") == before
        assert one.read("/etc/paradrop/mine") == b"1"


def test_a_qemu_without_the_way_to_share_ram_has_it_in_the_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """No such QEMU can be had here: one is made that refuses what is experimental in ours."""
    monkeypatch.setenv(*own_cache(tmp_path).popitem())
    monkeypatch.setattr(golden, "_verified", {})
    caplog.set_level(logging.INFO, "harness")
    execute = Monitor.execute

    def refuses(monitor: Monitor, command: str, *arguments: Any) -> Any:
        if command == "migrate-set-capabilities":
            raise RefusedError("QEMU refuses it")
        return execute(monitor, command, *arguments)

    monkeypatch.setattr(Monitor, "execute", refuses)
    with cloned(QemuX86Device, "one") as one:
        monkeypatch.setattr(golden, "_verified", {})  # as another run sees it
        with cloned(QemuX86Device, "two") as two:
            assert one.succeed(OWN["boot id"]) != two.succeed(OWN["boot id"])
            two.succeed("echo memory > /run/kept")
            snapshot = two.snapshot()
            two.succeed("rm /run/kept")
            two.restore(snapshot)
            assert two.succeed("cat /run/kept") == "memory\n"
    (state,) = cache.folder().glob("golden-*")
    assert {path.name for path in state.iterdir()} == {
        *("console.log", "disk", "manifest.json", "state")
    }
    said = [record.getMessage() for record in caplog.records if record.name == "harness"]
    assert [line.partition(": ")[2] for line in said] == [
        "booting once, for the golden state",
        "this QEMU can't leave RAM out of a state: it is saved with its RAM",
        "booting once, for the golden state",
    ]


class Making:
    """Makes golden states without a machine, and counts them."""

    def __init__(self) -> None:
        self.made = 0
        self.said: list[str] = []

    def make(self, state: Golden) -> None:
        self.made += 1
        for path in (state.ram, state.state, state.disk):
            path.write_bytes(b"state" * 1000)

    def find(self, *facts: str) -> Golden:
        return golden.find("x86_64", facts, self.make, self.said.append)


@pytest.fixture
def making(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Making:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(golden, "_verified", {})
    return Making()


def test_it_is_made_once(making: Making) -> None:
    assert making.find("a") == making.find("a")
    assert making.made == 1
    assert making.said == ["x86_64: booting once, for the golden state"]


def test_a_long_run_keeps_it_from_being_pruned(making: Making) -> None:
    folder = making.find("a").folder
    os.utime(cache.lock_of(folder), (0, 0))
    making.find("a")
    assert time.time_ns() - cache.used(folder) < 60e9
    cache.lock_of(folder).unlink()
    making.find("a")
    assert making.made == 1


def test_of_other_facts_it_is_another(making: Making) -> None:
    assert making.find("a").folder != making.find("b").folder
    assert making.made == 2


@pytest.mark.parametrize("name", ["ram", "state", "disk"])
@pytest.mark.parametrize("damage", ["cut", "flipped bit", "gone"])
def test_a_damaged_one_is_made_anew(
    making: Making, name: str, damage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = making.find("a").folder / name
    whole = path.read_bytes()
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(whole[:-1] if damage == "cut" else bytes([whole[0] ^ 1]) + whole[1:])
    monkeypatch.setattr(golden, "_verified", {})  # as another run sees it
    assert (making.find("a").folder / name).read_bytes() == whole
    assert making.made == 2
    assert "damaged" in making.said[1]


def test_one_that_vanished_is_made_anew(making: Making) -> None:
    folder = making.find("a").folder
    folder.rename(folder.with_name("elsewhere"))
    assert making.find("a").ram.exists()
    assert making.made == 2


def test_what_fails_half_way_leaves_nothing(making: Making) -> None:
    def fails(state: Golden) -> None:
        state.ram.write_bytes(b"half")
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        golden.find("x86_64", ["a"], fails, making.said.append)
    making.find("a")
    assert making.made == 1


def test_a_machine_that_dies_while_it_is_saved_leaves_no_golden_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(*own_cache(tmp_path).popitem())
    monkeypatch.setattr(golden, "_verified", {})
    save = Machine.save

    def dies(machine: Machine, target: Path, *, with_ram: bool) -> None:
        threading.Timer(0.01, os.kill, [machine.pid, signal.SIGKILL]).start()
        os.kill(machine.pid, signal.SIGSTOP)  # so that it is in the middle of it
        save(machine, target, with_ram=with_ram)

    with monkeypatch.context() as patched:
        patched.setattr(Machine, "save", dies)
        with (
            pytest.raises(InfrastructureError, match="QEMU ended by itself, status -9"),
            cloned(QemuX86Device, "one"),
        ):
            raise AssertionError
    assert not [
        path for path in cache.folder().iterdir() if "golden" in path.name and path.is_dir()
    ]
    with cloned(QemuX86Device, "two") as two:
        assert two.succeed("echo on") == "on\n"


def test_a_disk_without_room_is_said_before_anything_is_booted(
    making: Making, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(golden, "NEEDS", 1 << 60)
    with pytest.raises(ImageError, match=r"MiB are free .* \(make room"):
        making.find("a")
    assert making.made == 0


def test_another_qemu_has_another_golden_state(monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[list[str]] = []

    def find(arch: str, facts: list[str], *_: object, with_ram: bool) -> Golden:
        found.append(facts)
        return Golden(Path("/nowhere"), "")

    monkeypatch.setattr(golden, "find", find)
    with tempfile.TemporaryDirectory() as folder:
        timeline = Timeline(Path(folder) / "timeline.jsonl")
        device = QemuX86Device(Path(folder), timeline)
        device.golden()
        monkeypatch.setattr(tools, "version", lambda program: "QEMU emulator version 99")
        device.golden()
        monkeypatch.setattr(machine, "MEMORY_MIB", 257)
        device.golden()
        device.config = {"settings.ini": b"[base]\nheartbeat_interval = 5\n"}
        device.golden()
        device.accelerator = Accelerator("kvm", "as if")
        device.golden()
        monkeypatch.setattr(accel, "processor", lambda: "another one")
        device.golden()
        timeline.close()
    assert len({tuple(facts) for facts in found}) == 6


@pytest.mark.parametrize("elsewhere", [False, True], ids=["same disk", "memory"])
def test_a_disk_is_copied_with_its_holes(tmp_path: Path, elsewhere: bool) -> None:
    source = tmp_path / "source"
    with source.open("wb") as file:
        file.truncate(64 << 20)
        for place in (8 << 20, 9 << 20):
            file.seek(place)
            file.write(b"data" * 5000)
    with tempfile.TemporaryDirectory(dir="/dev/shm" if elsewhere else tmp_path) as folder:
        target = Path(folder) / "target"
        golden.copy_disk(source, target)
        assert target.read_bytes() == source.read_bytes()
        assert target.stat().st_blocks * 512 < 1 << 20
        assert target.stat().st_mode & 0o777 == 0o600
