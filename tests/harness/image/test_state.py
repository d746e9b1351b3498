"""The disk of one router, read back with e2fsprogs."""

from __future__ import annotations

import re
import stat
import subprocess
from pathlib import Path

import pytest

from harness.errors import ImageError, MissingToolError
from harness.image import CONFIGURATION_HOME, HOST_KEY, StateFile, state_disk, tools

SETTINGS = f"{CONFIGURATION_HOME}/settings.ini"


def debugfs(disk: Path, command: str) -> str:
    program = tools.find("debugfs", "e2fsprogs")
    return subprocess.run(
        [program, "-R", command, disk], check=True, capture_output=True, text=True
    ).stdout


def owner_and_mode(disk: Path, name: str) -> tuple[int, int, int]:
    """Uid, gid and permission bits of a path on the disk."""
    text = debugfs(disk, f'stat "/upper{name}"')
    found = re.search(r"Mode:\s+(\d+).*?User:\s+(\d+)\s+Group:\s+(\d+)", text, re.S)
    assert found, text
    return int(found[2]), int(found[3]), int(found[1], 8)


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    files = {
        HOST_KEY: StateFile(b"\0key\xff", 0o600),
        "/root/.ssh/authorized_keys": StateFile(b"ssh-ed25519 AAAA me\n", 0o600),
        "/etc/machine-id": StateFile(b"0" * 32 + b"\n", 0o444),
        SETTINGS: StateFile(b"[base]\n", 0o640, "paradrop"),
        f"{CONFIGURATION_HOME}/keys/apitoken": StateFile(b"secret", 0o600, "paradrop"),
        "/var/lib/a b/c": StateFile(b""),
    }
    return state_disk(tmp_path_factory.mktemp("state") / "disk.img", files)


@pytest.mark.parametrize(
    ("name", "uid", "mode"),
    [
        ("/etc", 0, 0o755),
        ("/root", 0, 0o700),
        ("/var", 0, 0o755),
        ("/root/.ssh", 0, 0o700),
        ("/root/.ssh/authorized_keys", 0, 0o600),
        ("/etc/dropbear", 0, 0o700),
        (HOST_KEY, 0, 0o600),
        ("/etc/machine-id", 0, 0o444),
        (CONFIGURATION_HOME, 900, 0o750),
        (SETTINGS, 900, 0o640),
        (f"{CONFIGURATION_HOME}/keys", 900, 0o700),
        (f"{CONFIGURATION_HOME}/keys/apitoken", 900, 0o600),
        ("/var/lib/a b", 0, 0o755),
        ("/var/lib/a b/c", 0, 0o644),
    ],
)
def test_owners_and_modes(disk: Path, name: str, uid: int, mode: int) -> None:
    assert owner_and_mode(disk, name) == (uid, uid, mode)


def test_contents(disk: Path, tmp_path: Path) -> None:
    for name, data in ((HOST_KEY, b"\0key\xff"), (SETTINGS, b"[base]\n")):
        copy = tmp_path / "copy"
        debugfs(disk, f"dump /upper{name} {copy}")
        assert copy.read_bytes() == data


def test_it_is_a_sound_file_system_for_its_owner_alone(disk: Path) -> None:
    program = tools.find("e2fsck", "e2fsprogs")
    check = subprocess.run([program, "-f", "-n", disk], capture_output=True, text=True)
    assert check.returncode == 0, check.stdout
    status = disk.stat()
    assert stat.S_IMODE(status.st_mode) == 0o600
    assert status.st_size == 256 << 20
    assert status.st_blocks * 512 < 16 << 20, "it should be sparse"
    assert [path.name for path in disk.parent.iterdir()] == [disk.name]


def test_the_configuration_home_is_there_without_any_file(tmp_path: Path) -> None:
    disk = state_disk(tmp_path / "disk", {}, size=32 << 20)
    assert owner_and_mode(disk, CONFIGURATION_HOME) == (900, 900, 0o750)


def test_an_older_disk_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "disk"
    path.write_bytes(b"old")
    state_disk(path, {"/etc/hostname": StateFile(b"new\n")}, size=32 << 20)
    assert debugfs(path, "cat /upper/etc/hostname") == "new\n"


@pytest.mark.parametrize(
    "name",
    ["/usr/bin/x", "etc/x", "/etc", "/etc/../usr/x", "/etc//x", '/etc/"', "/etc/a\nrm /etc", "/"],
)
def test_paths_that_a_router_does_not_keep_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ImageError, match="can't keep"):
        state_disk(tmp_path / "disk", {name: StateFile(b"")})
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_owner_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="no user bob"):
        state_disk(tmp_path / "disk", {"/etc/x": StateFile(b"", owner="bob")})


def test_owners_are_those_of_the_guests_own_list() -> None:
    from harness.image.root import GUEST
    from harness.image.state import OWNERS

    for database in ("passwd", "group"):
        entries = (GUEST / "root/etc" / database).read_text().splitlines()
        numbers = {line.split(":")[0]: int(line.split(":")[2]) for line in entries}
        assert {name: numbers[name] for name in OWNERS} == dict(OWNERS)


def test_a_missing_tool_is_named_with_its_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("harness.environment._SYSTEM_FOLDERS", ())
    with pytest.raises(MissingToolError, match=r"mke2fs .* e2fsprogs"):
        state_disk(tmp_path / "disk", {})
