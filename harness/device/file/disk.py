"""Disks of images that somebody brings: looked at, and never written.

Formats are those of `qemu-img`.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from harness import environment
from harness.errors import InfrastructureError, UsageError
from harness.image import tools

_PACKED = {
    b"\x1f\x8b": ("gzip", "gunzip"),
    b"\xfd7zXZ": ("xz", "unxz"),
    b"\x28\xb5\x2f\xfd": ("zstd", "unzstd"),
    b"BZh": ("bzip2", "bunzip2"),
    b"PK\x03\x04": ("zip", "unzip"),
}
_QCOW2 = b"QFI\xfb"
_BOOT_SIGNATURE = b"\x55\xaa"
"""At the end of the first sector of whatever a PC's firmware boots."""


def inspect(disk: Path, *, boots: bool) -> str:
    """Look whether a disk can be used; fast, and nothing is changed.

    @param boots: the firmware of a PC has to find something there that it can start.
    @return: its format.
    @raise UsageError: it is damaged, packed, or no disk at all; says what to do.
    """
    with disk.open("rb") as file:
        head = file.read(512)
    for magic, (name, program) in _PACKED.items():
        if head.startswith(magic):
            raise UsageError(f"{disk} is packed with {name}", hint=f"{program} it first")
    if disk.suffix == ".qcow2" and not head.startswith(_QCOW2):
        raise _damaged(disk, "it does not begin as a qcow2 image does")
    found = _img(["info", "--output=json", "--", str(disk)])
    if found.returncode:
        raise _damaged(disk, found.stderr)
    kind = str(json.loads(found.stdout)["format"])
    if kind == "raw":
        if len(head) < 512:
            raise _damaged(disk, "it is empty")
        if boots and head[510:] != _BOOT_SIGNATURE:
            hint = "name the kernel too, or bring an image of a whole disk"
            raise UsageError(f"{disk} is no disk that a PC boots from", hint=hint)
        return kind
    checked = _img(["check", "-q", "-f", kind, "--", str(disk)])
    if checked.returncode in (1, 2):  # 3: only space is lost, 63: this format can't be checked
        raise _damaged(disk, checked.stderr or checked.stdout)
    return kind


def overlay(disk: Path, kind: str, target: Path) -> None:
    """Make a disk that begins as another, and keeps what is written to itself.

    @param kind: format of `disk`.
    @raise InfrastructureError: it can't be made.
    """
    words = ["create", "-q", "-f", "qcow2", "-F", kind, "-b", str(disk), "--", str(target)]
    done = _img(words)
    if done.returncode:
        why = _line(done.stderr)
        raise InfrastructureError(f"no disk over {disk} at {target}: {why}")
    target.chmod(0o600)


def _img(words: list[str]) -> subprocess.CompletedProcess[str]:
    program = tools.find("qemu-img", "qemu-utils")
    return subprocess.run(
        [program, *words],
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        env=environment.of(),
        umask=environment.UMASK,
        stdin=subprocess.DEVNULL,
    )


def _damaged(disk: Path, said: str) -> UsageError:
    hint = "copy it again, and compare its checksum"
    return UsageError(f"{disk} is damaged: {_line(said)}", hint=hint)


def _line(said: str) -> str:
    lines = said.strip().splitlines() or ["qemu-img does not say why"]
    return lines[0].removeprefix("qemu-img: ")
