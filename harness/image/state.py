"""The disk of one router: an ext4 that holds what only this router has.

Its `upper` folder is the upper layer of /etc, /root and /var; everything else of a router is
read-only. Made without a mount and without being root: `mke2fs -d` fills it, `debugfs` sets the
owners.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from harness.errors import ImageError
from harness.image import tools

OWNERS: Mapping[str, int] = {"root": 0, "paradrop": 900}
"""Users of a router, with the number that is also that of their group; see guest/root/etc."""

AUTHORIZED_KEYS = "/root/.ssh/authorized_keys"
HOST_KEY = "/etc/dropbear/dropbear_ed25519_host_key"
CONFIGURATION_HOME = "/etc/paradrop"

_WRITABLE = ("etc", "root", "var")


@dataclass(frozen=True)
class StateFile:
    """A file of a router: its contents, its mode and who owns it (a key of `OWNERS`)."""

    data: bytes
    mode: int = 0o644
    owner: str = "root"


_FOLDERS: Mapping[str, tuple[int, str]] = {
    "/root": (0o700, "root"),
    "/root/.ssh": (0o700, "root"),
    "/etc/dropbear": (0o700, "root"),
    CONFIGURATION_HOME: (0o750, "paradrop"),
    f"{CONFIGURATION_HOME}/keys": (0o700, "paradrop"),
}
"""Folders that are not 0755 of root, wherever they are made."""


def state_disk(path: Path, files: Mapping[str, StateFile], *, size: int = 256 << 20) -> Path:
    """Make the disk of a router, a sparse raw image with mode 0600.

    @param path: where; an older disk there is replaced.
    @param files: by their absolute path on the router, below /etc, /root or /var; folders are
        made, `/etc/paradrop` always.
    @param size: bytes of the file system, whole MiB.
    @raise ImageError: a path or an owner can't be had, or the disk is full.
    """
    for name, file in files.items():
        if not _possible(name):
            raise ImageError(f"a router can't keep {name}", hint="/etc, /root and /var are kept")
        if file.owner not in OWNERS:
            raise ImageError(f"{name}: no user {file.owner}", hint=f"users: {', '.join(OWNERS)}")
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".state-") as scratch:
        tree = Path(scratch) / "tree"
        owners: dict[str, int] = {}
        for folder in _folders(files):
            mode, owner = _FOLDERS.get(folder, (0o755, "root"))
            target = tree / "upper" / folder.lstrip("/")
            target.mkdir(parents=True)
            target.chmod(mode | 0o700)
            owners[folder] = OWNERS[owner]
        for name, file in files.items():
            target = tree / "upper" / name.lstrip("/")
            target.touch(mode=0o600)
            target.write_bytes(file.data)
            target.chmod(file.mode | 0o400)
            owners[name] = OWNERS[file.owner]
        disk = Path(scratch) / "disk"
        disk.touch(mode=0o600)
        _make(disk, tree, size)
        _set_owners(disk, owners)
        disk.replace(path)
    return path


def _possible(name: str) -> bool:
    path = PurePosixPath(name)
    plain = str(path) == name and ".." not in path.parts and name.isprintable()
    return plain and '"' not in name and len(path.parts) > 2 and path.parts[1] in _WRITABLE


def _folders(files: Mapping[str, StateFile]) -> list[str]:
    folders = {f"/{name}" for name in _WRITABLE} | {CONFIGURATION_HOME}
    for name in files:
        folders |= {str(parent) for parent in PurePosixPath(name).parents}
    return sorted(folders - {"/"})


def _make(disk: Path, tree: Path, size: int) -> None:
    tools.run(
        [
            *("mke2fs", "-q", "-F", "-t", "ext4", "-L", "state", "-m", "0", "-d", tree),
            *("-N", "4096", "-E", "root_owner=0:0,lazy_itable_init=0", "-J", "size=4"),
            *(disk, f"{size >> 20}M"),
        ],
        "e2fsprogs",
        purpose=f"making the state disk {disk}",
    )


def _set_owners(disk: Path, owners: Mapping[str, int]) -> None:
    commands = ["set_inode_field /upper uid 0", "set_inode_field /upper gid 0"]
    for name, number in owners.items():
        for identity in ("uid", "gid"):
            commands.append(f'set_inode_field "/upper{name}" {identity} {number}')
    tools.run(
        ["debugfs", "-w", "-f", "-", disk],
        "e2fsprogs",
        purpose=f"setting owners on {disk}",
        stdin="\n".join(commands) + "\n",
    )
