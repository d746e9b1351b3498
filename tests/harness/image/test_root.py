"""What the root of a router is made of."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from harness.errors import ImageError
from harness.image.root import GUEST, applets

SCRIPTS = [path for path in GUEST.rglob("*") if path.is_file() and path.read_bytes()[:2] == b"#!"]
SHELL = [path for path in SCRIPTS if path.name != "agent"]  # which is Python: ruff reads it


def test_applets_are_read_from_busybox_itself(tmp_path: Path) -> None:
    names = ["[", "[[", "ash", "init", "modprobe", "mount", "run-parts", "sha3sum", "syslogd"]
    table = b"\0".join(name.encode() for name in names)
    (tmp_path / "busybox").write_bytes(b"\x7fELF \0[\0 junk\0" + table + b"\0\0more\0")
    assert applets(tmp_path / "busybox") == names


def test_a_busybox_without_the_needed_applets_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "busybox").write_bytes(b"\0[\0[[\0ash\0\0")
    with pytest.raises(ImageError, match="lacks commands"):
        applets(tmp_path / "busybox")


@pytest.mark.parametrize("script", SHELL, ids=lambda path: path.name)
def test_scripts_of_the_router_parse(script: Path) -> None:
    check = subprocess.run(["dash", "-n", script], capture_output=True, text=True)
    assert check.returncode == 0, check.stderr


def test_there_are_scripts() -> None:
    names = {path.name for path in SCRIPTS}
    assert names == {"init", "rcS", "rcK", "dropbear", "paradrop", "supervise", "agent"}


def test_nobody_has_a_password() -> None:
    for line in (GUEST / "root/etc/shadow").read_text().splitlines():
        assert line.split(":")[1] == "*"
