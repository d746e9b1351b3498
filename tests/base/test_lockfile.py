"""One process at a time uses a configuration home, and is known by its pid."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from paradrop.base import nexus, settings
from paradrop.base.exceptions import ParadropException
from paradrop.base.lockfile import LockFile, holder
from paradrop.base.nexus import NexusBase
from paradrop.base.output import out

pytestmark = pytest.mark.usefixtures("home")

PROGRAM = """
import sys
from paradrop.base import nexus, settings
settings.loadSettings("unittest")
core = nexus.NexusBase(False, False)
print("mine", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def other(home: Path) -> Any:
    """Another process that uses the home."""
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(nexus.__file__).parents[2],
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "mine\n"
    yield process
    process.kill()
    process.communicate()


class TestHome:
    def test_the_second_process_is_told_who_the_first_is(
        self, other: Any, home: Path, reactor: Any
    ) -> None:
        with pytest.raises(ParadropException, match=rf"already runs \(pid {other.pid}, {home}/"):
            reactor(NexusBase, False, False)
        assert out.logpath != home / "logs"  # nor does it write into the first one's log

    def test_the_home_of_one_that_was_killed_is_free(
        self, other: Any, home: Path, reactor: Any
    ) -> None:
        other.send_signal(signal.SIGKILL)
        other.wait(20)
        assert (home / "paradrop.lock").exists()
        reactor(NexusBase, False, False)
        assert holder(home / "paradrop.lock") == os.getpid()
        out.endLogging()

    def test_another_name_of_the_home_is_the_same_home(
        self, other: Any, home: Path, reactor: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        home.with_name("link").symlink_to(home)
        monkeypatch.setenv("CONFIG_HOME_DIR", f"{home.with_name('link')}/")
        settings.loadSettings("unittest")
        with pytest.raises(ParadropException, match=str(other.pid)):
            reactor(NexusBase, False, False)

    def test_one_process_may_have_several(
        self, home: Path, reactor: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        reactor(NexusBase, False, False)
        reactor(NexusBase, False, False)
        home.with_name("link").symlink_to(home)
        monkeypatch.setenv("CONFIG_HOME_DIR", str(home.with_name("link")))
        settings.loadSettings("unittest")
        reactor(NexusBase, False, False)
        out.endLogging()


class TestLockFile:
    def test_is_there_with_the_pid_while_it_is_held(self, tmp_path: Path) -> None:
        path = tmp_path / "lock"
        assert holder(path) is None
        with LockFile(path) as lock:
            assert lock.held
            assert path.read_text() == f"{os.getpid()}\n"
            assert holder(path) == os.getpid()
        assert not lock.held
        assert not path.exists()
        lock.release()

    def test_is_held_once(self, tmp_path: Path) -> None:
        with (
            LockFile(tmp_path / "lock"),
            pytest.raises(ParadropException, match=f"pid {os.getpid()}"),
            LockFile(tmp_path / "lock"),
        ):
            pass

    def test_that_nobody_holds_means_nothing(self, tmp_path: Path) -> None:
        (tmp_path / "lock").write_text("123456789012\n")
        assert holder(tmp_path / "lock") is None
        with LockFile(tmp_path / "lock"):
            assert (tmp_path / "lock").read_text() == f"{os.getpid()}\n"

    def test_whose_pid_is_not_to_be_read_is_held_all_the_same(self, tmp_path: Path) -> None:
        with LockFile(tmp_path / "lock"):
            (tmp_path / "lock").write_text("")
            assert holder(tmp_path / "lock") == os.getpid()
            with pytest.raises(ParadropException, match=f"pid {os.getpid()}"):
                LockFile(tmp_path / "lock").acquire()

    def test_that_is_removed_between_opening_and_locking_is_made_anew(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = tmp_path / "lock"
        real = os.open

        def opened(*arguments: Any) -> int:
            descriptor = real(*arguments)
            monkeypatch.undo()
            path.unlink()
            return descriptor

        monkeypatch.setattr(os, "open", opened)
        with LockFile(path):
            assert holder(path) == os.getpid()
