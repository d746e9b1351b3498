"""A disk that takes nothing more does not keep the daemon from its work; it is reported."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.errors import DeviceError
from harness.node import Node, Operator
from paradrop.base.exceptions import ParadropException
from paradrop.base.lockfile import LockFile, holder

SIZE = "512k"


def fill(disk: Path) -> None:
    """Leave no room, also where an old file ends in the middle of a block."""
    with (disk / "filling").open("wb", buffering=0) as file, pytest.raises(OSError):
        while True:
            file.write(bytes(4096))


def make_read_only(disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)


DISKS = pytest.mark.parametrize(
    ("spoil", "said"), [(fill, "full"), (make_read_only, "read-only")], ids=["full", "read-only"]
)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small disk of its own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={SIZE},mode=755", "tmpfs", folder]
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("nothing can be mounted here")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


@pytest.fixture
def small(disk: Path, new_daemon: Any, node: Node, tmp_path: Path) -> Iterator[Any]:
    """A daemon whose configuration home and runtime home are on the small disk."""
    (tmp_path / "ca.pem").write_bytes(node.ca_pem)
    made = new_daemon(disk, WAMP_CA_FILE=tmp_path / "ca.pem", WAMP_INITIAL_DELAY=0.2)
    made.console = tmp_path / "console.log"
    for folder in (made.home / "logs", made.home / "keys", made.home / "misc", made.runtime):
        folder.mkdir()
    yield made
    if made.child is not None:
        made.child.kill()


@DISKS
def test_a_provisioned_daemon_joins_and_says_what_the_disk_is(
    small: Any,
    disk: Path,
    node: Node,
    operator: Operator,
    pdid: str,
    spoil: Callable[[Path], None],
    said: str,
) -> None:
    small.provision(pdid, node.url(), node.enroll(pdid))
    spoil(disk)
    small.start()
    operator.wait_joined(pdid)
    assert operator.status(pdid)["disk"] == said
    assert f"the disk of {small.home} is {said}" in small.console.read_text()


def test_a_disk_with_room_is_ok(small: Any, node: Node, operator: Operator, pdid: str) -> None:
    small.provision(pdid, node.url(), node.enroll(pdid))
    small.start()
    operator.wait_joined(pdid)
    assert operator.status(pdid)["disk"] == "ok"


@DISKS
def test_a_second_daemon_is_kept_out_and_told_the_pid(
    small: Any,
    disk: Path,
    node: Node,
    operator: Operator,
    pdid: str,
    spoil: Callable[[Path], None],
    said: str,
) -> None:
    small.provision(pdid, node.url(), node.enroll(pdid))
    (small.home / "paradrop.lock").touch()
    (small.runtime / "paradropd.pid").touch()
    spoil(disk)
    small.start()
    operator.wait_joined(pdid)
    second = small.run()
    assert second.returncode == 1
    assert f"a daemon already runs (pid {small.child.pid}" in second.stderr


@DISKS
def test_provisioning_is_refused_and_the_identity_stays(
    small: Any,
    disk: Path,
    pdid: str,
    spoil: Callable[[Path], None],
    said: str,
) -> None:
    small.provision(pdid, "wss://one.example/ws", "a-token-of-the-first")
    before = (small.home / "config").read_bytes()
    spoil(disk)
    words = ("provision", "--pdid", "another", "--router", "wss://two.example/ws")
    done = small.run(*words, "--token-file", "-", input="another-token")
    assert done.returncode == 1
    assert str(small.home) in done.stderr
    assert (small.home / "config").read_bytes() == before
    assert (small.home / "keys" / "apitoken").read_text() == "a-token-of-the-first"


@DISKS
@pytest.mark.parametrize("change", [{"HEARTBEAT_INTERVAL": 7}, {"WAMP_PING_INTERVAL": 7}])
def test_a_setting_that_can_not_be_kept_is_refused(
    small: Any,
    disk: Path,
    node: Node,
    operator: Operator,
    pdid: str,
    spoil: Callable[[Path], None],
    said: str,
    change: dict[str, Any],
) -> None:
    small.provision(pdid, node.url(), node.enroll(pdid))
    spoil(disk)
    small.start()
    operator.wait_joined(pdid)
    before = operator.config(pdid)
    with pytest.raises(DeviceError, match="cannot be written"):
        operator.config(pdid, change)
    assert operator.config(pdid) == before


def test_folders_that_can_not_be_made_keep_no_daemon_from_joining(
    small: Any, disk: Path, node: Node, operator: Operator, pdid: str
) -> None:
    small.provision(pdid, node.url(), node.enroll(pdid))
    for folder in (small.home / "logs", small.home / "misc", small.runtime):
        shutil.rmtree(folder)
    make_read_only(disk)
    small.start()
    operator.wait_joined(pdid)
    assert operator.status(pdid)["disk"] == "read-only"


@DISKS
def test_no_identity_is_asked_for_that_can_not_be_kept(
    small: Any,
    disk: Path,
    node: Node,
    operator: Operator,
    spoil: Callable[[Path], None],
    said: str,
) -> None:
    batch = node.add_batch(node.url())
    path = small.home / "provision.yaml"
    path.write_text(f"server: {node.url()}\nbatch: {batch.id}\nkey: {batch.key}\n")
    small.environment["WAMP_MAX_DELAY"] = "1"
    spoil(disk)
    small.start()
    wait_until(lambda: small.console.read_text().count("onJoin failed") >= 2, 30, "two attempts")
    assert not (small.home / "keys" / "apitoken").exists()
    if said == "full":
        (disk / "filling").unlink()
    else:
        subprocess.run(["mount", "-o", "remount,rw", disk], check=True)
    operator.wait_joined(small.wait("daemon.provisioned")[0]["extra"]["pdid"])


def wait_until(condition: Callable[[], bool], timeout: float, what: str) -> None:
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, f"not within {timeout:g} s: {what}"
        time.sleep(0.02)


class TestLock:
    def test_is_held_without_room_for_the_pid(self, disk: Path) -> None:
        path = disk / "lock"
        path.touch()
        fill(disk)
        with LockFile(path) as lock:
            assert lock.held
            with pytest.raises(ParadropException):
                LockFile(path).acquire()
            assert holder(path) is not None

    def test_replaces_an_old_pid_without_more_room(self, disk: Path) -> None:
        path = disk / "lock"
        path.write_text("4194304999\n")
        fill(disk)
        with LockFile(path):
            assert int(path.read_text()) == holder(path)

    def test_another_error_of_the_disk_is_an_error(self, tmp_path: Path) -> None:
        (tmp_path / "lock").mkdir()
        with pytest.raises(OSError):
            LockFile(tmp_path / "lock").acquire()


@DISKS
def test_a_daemon_without_an_identity_starts(
    small: Any, disk: Path, spoil: Callable[[Path], None], said: str
) -> None:
    spoil(disk)
    small.start()
    wait_until(lambda: "not provisioned" in small.console.read_text(), 20, "it has started")
    assert f"the disk of {small.home} is {said}" in small.console.read_text()
