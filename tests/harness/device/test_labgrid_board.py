"""A board that knows nothing of us, with SSH, by a file of labgrid's: the Debian of test_file."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import debian
import pytest
import yaml

from harness.bench import Bench
from harness.device import Device, kind_class
from harness.device.file import FileDevice
from harness.device.ssh import ClientKey

BOOT = 900
"""Seconds; a boot of the Debian takes 20 on two idle cores."""

STATE = (
    "cat /etc/passwd /etc/group /etc/shadow; stat -c '%n %a %u %g' /etc/* /opt /var/* /run/*; "
    "ps -e -o user,args | grep -c '[p]aradrop'"
)


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    with tempfile.TemporaryDirectory(prefix="hil-") as folder:
        bench = Bench(Path(folder))
        yield bench
        bench.close()


@pytest.fixture(scope="module")
def board(bench: Bench) -> Iterator[FileDevice]:
    """It has booted, and nothing was installed on it."""
    folder = bench.folder / "board"
    folder.mkdir()
    device = bench.new(f"file:{debian.describe(folder, BOOT)}")
    assert isinstance(device, FileDevice)
    try:
        assert device.obstacles() == []
        yield device
    finally:
        bench.drop(device)


@pytest.fixture(scope="module")
def environment(board: FileDevice) -> str:
    """The file that its owner has written."""
    key = ClientKey.generate()
    board.write("/root/.ssh/authorized_keys", f"{key.public}\n".encode(), 0o600)
    board.succeed("mkdir -p /etc/dropbear && dropbear -R -s -p 22")
    private = board.folder / "key"
    private.touch(0o600)
    private.write_bytes(key.private)
    service = {"address": "127.0.0.1", "username": "root", "port": board.on.ssh_port()}
    target = {
        "resources": {"NetworkService": service},
        "drivers": {"SSHDriver": {"keyfile": str(private)}},
    }
    file = board.folder / "board.yaml"
    file.write_text(yaml.safe_dump({"targets": {"main": target}}))
    return str(file)


@pytest.mark.timeout(2 * BOOT)
def test_the_daemon_is_installed_joins_and_is_removed(
    bench: Bench, board: FileDevice, environment: str
) -> None:
    before = board.succeed(STATE)
    device: Device = bench.device(f"labgrid:{environment}")
    try:
        identity = bench.provision(device)
        with bench.rejoins(identity.pdid, after="daemon restarted", within=BOOT):
            device.daemon("restart")
        assert device.succeed("command -v paradropd") == "/opt/paradrop/bin/paradropd\n"
        owner = device.succeed("stat -c %U /proc/$(cat /var/run/paradrop/paradropd.pid)")
        assert owner == "paradrop\n"
        facts = device.facts()
        assert (facts["architecture"], facts["Python"]) == ("x86_64", "3.11")
        assert device.evidence().keys() >= {"daemon log", "daemon output"}
        assert board.succeed(STATE) != before
    finally:
        bench.drop(device)
    assert board.succeed(STATE) == before
    kind = kind_class("labgrid")
    assert kind.lacks(environment, {"power", "link", "rootfs"}).keys() == {
        "power",
        "link",
        "rootfs",
    }
