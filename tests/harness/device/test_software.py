"""Why the daemon can't run on a system of somebody else is known before it is tried."""

from __future__ import annotations

import fcntl
import inspect
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from harness.device.base import Completed
from harness.device.software import BASE, CONFIG_HOME, RUNTIME_HOME, Software
from harness.device.software.installed import Installed
from harness.errors import InfrastructureError
from harness.image import ARCHITECTURES, bundle

GOOD = {
    "uid": "0",
    "machine": "x86_64",
    "timeout": "yes",
    "python": "/usr/bin/python3|3.11|glibc 2.36|",
    BASE: f"{BASE}|/opt|yes|900000",
    CONFIG_HOME: f"{CONFIG_HOME}|/etc|yes|900000",
    RUNTIME_HOME: f"{RUNTIME_HOME}|/run|yes|100000",
}


def software(**changes: str) -> Software:
    """@param changes: what the script of `board/probe` prints otherwise than on a good system."""
    facts = GOOD | changes
    return _software({key: value for key, value in facts.items() if value})


def _software(facts: dict[str, str]) -> Software:
    lines = [f"{'folder' if key.startswith('/') else key}={value}" for key, value in facts.items()]

    def run(command: str, timeout: float) -> Completed:
        return Completed(command, 0, "\n".join(lines).encode(), b"")

    return Software("router", run, _unwritten)


def _here(command: str, timeout: float) -> Completed:
    """Runs it on this computer."""
    done = subprocess.run(["sh", "-c", command], capture_output=True, timeout=timeout)
    return Completed(command, done.returncode, done.stdout, done.stderr)


def _unwritten(path: str, data: bytes, mode: int) -> None:
    raise AssertionError("nothing may be changed")


def test_nothing_is_in_the_way() -> None:
    assert software().obstacles() == []


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"uid": "1000"}, "commands run as user 1000, and not as root"),
        ({"machine": "mips"}, "its processor is mips; wheels are for x86_64, aarch64"),
        ({"machine": "armv7l"}, "its processor is armv7l; wheels are for x86_64, aarch64"),
        ({"machine": "armhf"}, "its processor is armhf; wheels are for x86_64, aarch64"),
        ({"timeout": ""}, "it has no command timeout"),
        ({"python": ""}, "it has no Python; the daemon needs 3.11 or newer"),
        ({"python": "/bin/python3|3.9|glibc 2.31|"}, "its Python 3.9 is too old"),
        ({"python": "/bin/python3|3.11||"}, "a C library other than glibc"),
        ({"python": "/bin/python3|3.11|glibc 2.12|"}, "its glibc 2.12 is older than"),
        ({"python": "/bin/python3|3.11|glibc 2.36|ssl uuid"}, "Python 3.11 has no ssl, uuid"),
        ({BASE: f"{BASE}|/|no|0"}, f"/ is read-only, and {BASE} has to be there"),
        ({BASE: f"{BASE}|/|yes|20480"}, f"20 MiB are free in /, {BASE} takes 120"),
        ({CONFIG_HOME: f"{CONFIG_HOME}|/etc|no|9"}, f"/etc is read-only, and {CONFIG_HOME}"),
    ],
)
def test_what_is_in_the_way_is_one_line(changes: dict[str, str], why: str) -> None:
    (said,) = software(**changes).obstacles()
    assert why in said
    assert "armhf" not in said.partition("wheels")[2]
    assert "\n" not in said


def test_each_obstacle_is_said() -> None:
    assert len(software(uid="1000", python="").obstacles()) == 2


def test_nothing_is_installed_where_something_is_in_the_way() -> None:
    with pytest.raises(InfrastructureError, match=r"can't run there: .*Python"):
        software(python="").install()


def test_a_shell_that_says_nothing_of_use_is_the_infrastructures() -> None:
    with pytest.raises(InfrastructureError, match="its shell does not run our script"):
        _software({}).obstacles()


def test_the_system_is_asked_by_a_shell() -> None:
    """The script itself, run by a real shell: this computer has a Python that the library runs."""
    here = Software("here", _here, _unwritten)
    words = ("Python", "processor", "timeout")
    assert not any(word in why for why in here.obstacles() for word in words)
    assert here.facts()["Python"].startswith("3.")


def test_the_last_of_what_the_daemon_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.device.software.BASE", str(tmp_path))
    here = Software("here", _here, _unwritten)
    assert here.log() == ""
    (tmp_path / "daemon.log").write_text("".join(f"line {number}\n" for number in range(1000)))
    assert here.log().startswith("line 800\n")
    assert here.log().endswith("line 999\n")


def test_a_system_without_a_journal_has_no_output_of_the_daemon() -> None:
    def run(command: str, timeout: float) -> Completed:
        return _here(f"PATH=/nowhere; {command}", timeout)

    assert Installed("here", run, _unwritten).log() == ""


def test_what_is_still_being_installed_is_removed_afterwards(tmp_path: Path) -> None:
    """A run that is interrupted removes at once; what it had started goes on there."""
    base = tmp_path / "paradrop"
    base.mkdir()
    script = shutil.copy(Path(inspect.getfile(Software)).parent / "board/setup", base)
    undo = {"user": False, "config": True, "runtime": True, "parent": False}
    (base / "undo.json").write_text(json.dumps(undo))
    installing = os.open(tmp_path, os.O_RDONLY)
    try:
        fcntl.flock(installing, fcntl.LOCK_EX)
        remove = subprocess.Popen([sys.executable, "-IS", str(script), "remove"])
        with pytest.raises(subprocess.TimeoutExpired):
            remove.wait(1)
        assert base.exists()
    finally:
        os.close(installing)
    assert remove.wait(60) == 0
    assert not base.exists()


def test_an_installed_daemon_is_no_use_without_timeout() -> None:
    def run(command: str, timeout: float) -> Completed:
        return Completed(command, int("timeout" in command), b"", b"")

    assert Installed("here", run, _unwritten).obstacles() == ["it has no command timeout"]


def test_only_wheels_that_the_c_library_runs_are_asked_for() -> None:
    machine = ARCHITECTURES["x86_64"]
    assert bundle.fitting(machine, (2, 36)) == machine
    older = bundle.fitting(machine, (2, 28)).platforms
    assert older == ("manylinux_2_28_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64")
