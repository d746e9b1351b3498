"""`hil` in shells of all kinds: each command works, or is one clear line."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

HIL_PATH = str(Path(sys.executable).with_name("hil"))
HIL = shlex.quote(HIL_PATH)

SHELLS = {
    "latin-1": "PYTHONIOENCODING=latin-1 {}",
    "ascii": "PYTHONIOENCODING=ascii LC_ALL=C {}",
    "nothing": "env -i {}",
    "nobody": "unshare -U --map-user 12345 env -i {}",
    "no home": "env -u HOME {}",
    "no stdout": "{} >&-",
    "no stdin": "{} <&-",
    "nothing open": "{} <&- >&- 2>&-",
    "full stdout": "{} >/dev/full",
    "narrow and dumb": "COLUMNS=20 TERM=dumb NO_COLOR=1 {}",
    "no width": "COLUMNS=0 LINES=0 {}",
    "umask 0777": "umask 0777; {}",
    "no scratch": "TMPDIR=/nonexistent {}",
    "relative cache": "XDG_CACHE_HOME=relative {}",
    "cache is a file": "XDG_CACHE_HOME=/etc/passwd {}",
    "empty cache": "XDG_CACHE_HOME= {}",
}
COMMANDS = [
    "--help",
    "doctor --device process",
    "image list",
    "kinds /nowhere",
    "up toaster",
]


@pytest.mark.parametrize("shell", SHELLS.values(), ids=SHELLS)
def test_each_command_works_or_is_one_clear_line(shell: str, tmp_path: Path) -> None:
    if "unshare" in shell and subprocess.run(["unshare", "-U", "true"]).returncode:
        pytest.skip("this computer has no user namespaces for us")
    for command in COMMANDS:
        script = shell.format(f"{HIL} {command}")
        done = subprocess.run(
            ["sh", "-c", script],
            cwd=tmp_path,
            env={**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache")},
            capture_output=True,
            timeout=120,
        )
        said = done.stderr.decode(errors="replace")
        assert "Traceback" not in said + done.stdout.decode(errors="replace"), (script, said)
        assert done.returncode in (0, 1, 2), (script, said)
        if done.returncode and "2>&-" not in shell and "doctor" not in command:
            assert said.startswith("hil: "), (script, said)


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_good_and_bad_can_be_told_apart_in_any_encoding(encoding: str, tmp_path: Path) -> None:
    done = subprocess.run(
        ["sh", "-c", f"{HIL} doctor --device process"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONIOENCODING": encoding},
        capture_output=True,
        text=True,
    )
    assert {line.split()[0] for line in done.stdout.splitlines() if line[0] != " "} <= {"ok", "no"}


@pytest.mark.parametrize("columns", ["0", "00", "-1", "wide", ""])
def test_a_width_that_is_none_leaves_everything_to_be_read(columns: str, tmp_path: Path) -> None:
    doctor = [HIL_PATH, "doctor", "--device", "process"]
    environment = {**os.environ, "COLUMNS": columns}
    done = subprocess.run(doctor, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert "cross" in done.stdout


def test_the_table_of_a_run_has_the_width_of_its_terminal(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text("def test_it(node): assert node.url\n")
    run = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--report", "r", "test_it.py"]
    environment = {**os.environ, "COLUMNS": "0"}
    done = subprocess.run(run, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert "no device" in done.stdout
