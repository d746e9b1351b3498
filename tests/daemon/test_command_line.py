"""`paradropd` as a person runs it by hand."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import paradrop
from paradrop.base.lockfile import LockFile
from paradrop.daemon import main

WORDS = ["provision", "--pdid", "r1", "--router", "wss://r/ws", "--token-file"]


@pytest.fixture
def daemon(tmp_path: Path, new_daemon: Any) -> Any:
    return new_daemon(tmp_path)


def test_version(daemon: Any) -> None:
    assert daemon.run("--version").stdout == f"paradropd {paradrop.__version__}\n"


def test_provision_writes_the_identity(daemon: Any, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("secret\n")
    done = daemon.run(*WORDS, str(tmp_path / "token"))
    assert done.returncode == 0, done.stderr
    assert done.stdout == "provisioned as r1; no daemon runs\n"
    assert daemon.state["pdid"] == "r1"
    assert daemon.state["wampRouter"] == "wss://r/ws"
    key = daemon.home / "keys" / "apitoken"
    assert key.read_text() == "secret"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600


def test_provision_takes_the_server_as_well(daemon: Any) -> None:
    assert daemon.run(*WORDS, "-", input="secret").returncode == 0
    assert daemon.state["pdserver"] == "https://paradrop.org"
    assert daemon.run(*WORDS, "-", "--pdserver", "http://s:81", input="secret").returncode == 0
    assert daemon.state["pdserver"] == "http://s:81"


def test_a_token_that_is_no_text_is_refused(daemon: Any, tmp_path: Path) -> None:
    (tmp_path / "token").write_bytes(b"\xff\xfe")
    done = daemon.run(*WORDS, str(tmp_path / "token"))
    assert done.returncode == 1
    assert "has no token" in done.stderr
    assert not (daemon.home / "config").exists()


def test_a_daemon_that_may_not_be_told_is_named(
    daemon: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    def refuse(*_: int) -> None:
        raise PermissionError(1, "Operation not permitted")

    for name, value in daemon.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(os, "kill", refuse)
    daemon.runtime.mkdir()
    (tmp_path / "token").write_text("secret")
    with LockFile(daemon.runtime / "paradropd.pid"):
        assert main([*WORDS, str(tmp_path / "token")]) == 1
    assert (
        f"provisioned, but the daemon (pid {os.getpid()}) was not told" in capsys.readouterr().err
    )
    assert daemon.state["pdid"] == "r1"


def test_provision_imports_nothing_heavy(daemon: Any) -> None:
    program = (
        "import sys; before = {*sys.modules};"
        "from paradrop.daemon import main; status = main(sys.argv[1:]);"
        "heavy = {'twisted', 'autobahn', 'cryptography', 'dataclasses', 'tempfile'};"
        "heavy &= {*sys.modules} - before;"
        "sys.exit(status or ' '.join(heavy) or None)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *WORDS, "-"],
        env=daemon.environment,
        input="secret",
        text=True,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--mode", "other"], "invalid choice"),
        (["--json"], "--show-settings"),
        (["provision"], "required"),
        (["provision", "--pdid", "a.b", "--router", "wss://r/ws", "--token-file", "-"], "pdid"),
        (["provision", "--pdid", "a", "--router", "http://r/ws", "--token-file", "-"], "URL"),
        (["provision", "--pdid", "a", "--router", "wss://", "--token-file", "-"], "URL"),
        (["provision", "--pdid", "a", "--router", "wss://[r/ws", "--token-file", "-"], "URL"),
        ([*WORDS, "-", "--pdserver", "wss://s"], "URL"),
    ],
)
def test_wrong_usage_is_exit_code_2(daemon: Any, words: list[str], told: str) -> None:
    done = daemon.run(*words)
    assert done.returncode == 2
    assert told in done.stderr


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([*WORDS, "/nonexistent"], "/nonexistent"),
        ([*WORDS, "-"], "no token"),
        (["nonsense"], "KEY:VALUE"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_exit_code_1(
    daemon: Any, words: list[str], told: str
) -> None:
    done = daemon.run(*words, input="")
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("paradropd: ")
    assert told in line


def test_show_settings_says_what_comes_from_where_and_makes_nothing(daemon: Any) -> None:
    (daemon.home / "settings.ini").write_text("[base]\nlocal_domain = here\n")
    done = daemon.run("--show-settings", "PORTAL_SERVER_PORT:81")
    assert done.returncode == 0, done.stderr
    found = {line.split()[0]: line.split(maxsplit=2)[1:] for line in done.stdout.splitlines()}
    assert found["LOCAL_DOMAIN"] == ["here", f"file: {daemon.home}/settings.ini, line 2"]
    assert found["PORTAL_SERVER_PORT"] == ["81", "argument"]
    assert found["LOG_DIR"] == [f"{daemon.home}/logs/", "environment: from CONFIG_HOME_DIR"]
    assert found["DEBUG_MODE"] == ["False", "default"]
    assert [path.name for path in daemon.home.iterdir()] == ["settings.ini"]
    assert not daemon.runtime.exists()


def test_show_settings_as_json(daemon: Any) -> None:
    done = daemon.run("--show-settings", "--json", "PORTAL_SERVER_PORT:81")
    found = {setting.pop("name"): setting for setting in json.loads(done.stdout)}
    assert found["PORTAL_SERVER_PORT"] == {"value": 81, "source": "argument", "where": ""}
    assert found["WAMP_CA_FILE"]["value"] is None


def test_show_settings_shows_what_is_no_text_as_well(daemon: Any) -> None:
    daemon.environment |= {"LOCAL_DOMAIN": "caf\udce9", "PYTHONIOENCODING": "utf-8"}
    done = daemon.run("--show-settings")
    assert done.returncode == 0
    assert "caf\\udce9" in done.stdout
    assert daemon.run("--show-settings", "--json").returncode == 0


def test_a_wrong_setting_is_one_line_with_its_place(daemon: Any) -> None:
    (daemon.home / "settings.ini").write_text("[base]\nheartbeat_interval = often\n")
    for words in ([], ["--show-settings"], [*WORDS, "-"]):
        done = daemon.run(*words, input="secret")
        assert done.returncode == 1
        assert done.stderr == (
            f"paradropd: {daemon.home}/settings.ini, line 2: HEARTBEAT_INTERVAL has to be a "
            "number, and 'often' is not\n"
        )


def test_provision_keeps_a_damaged_state_aside_and_leaves_a_later_one(daemon: Any) -> None:
    (daemon.home / "config").write_text("damaged: [")
    done = daemon.run(*WORDS, "-", input="secret")
    (kept,) = daemon.home.glob("config.invalid-*")
    assert kept.read_text() == "damaged: ["
    assert str(kept) in done.stderr
    assert daemon.state["pdid"] == "r1"
    (daemon.home / "config").write_text("version: 2\n")
    done = daemon.run(*WORDS, "-", input="secret")
    assert done.returncode == 1
    assert "version 2" in done.stderr
    assert daemon.state == {"version": 2}


def test_provision_says_whose_state_it_has_changed(daemon: Any) -> None:
    with LockFile(daemon.home / "paradrop.lock"):
        done = daemon.run(*WORDS, "-", input="secret")
    assert done.stdout == f"provisioned as r1; process {os.getpid()} has to be told: restart it\n"


def test_a_pid_file_that_nobody_holds_is_no_daemon(daemon: Any) -> None:
    daemon.runtime.mkdir()
    (daemon.runtime / "paradropd.pid").write_text(f"{os.getpid()}\n")  # would be killed by SIGHUP
    done = daemon.run(*WORDS, "-", input="secret")
    assert done.stdout.endswith("no daemon runs\n")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
class TestRoot:
    @pytest.fixture
    def folder(self) -> Iterator[Path]:
        made = Path(tempfile.mkdtemp())
        made.chmod(0o755)
        yield made
        shutil.rmtree(made)

    @pytest.mark.parametrize("owner", [65534, 54321], ids=["nobody", "no account"])
    def test_writes_as_the_owner_of_the_home(
        self, folder: Path, new_daemon: Any, owner: int
    ) -> None:
        daemon = new_daemon(folder)
        os.chown(daemon.home, owner, owner)
        (folder / "token").write_text("secret")
        (folder / "token").chmod(0o600)
        done = daemon.run(*WORDS, str(folder / "token"))
        assert done.returncode == 0, done.stderr
        for name in ("config", "keys", "keys/apitoken", "logs"):
            assert (daemon.home / name).stat().st_uid == owner, name


def test_settings_may_stand_anywhere(daemon: Any) -> None:
    done = daemon.run("LOG_MAX_DAYS:3", "--show-settings", "LOG_MAX_BYTES:8192", "--json")
    found = {one["name"]: one["value"] for one in json.loads(done.stdout)}
    assert (found["LOG_MAX_DAYS"], found["LOG_MAX_BYTES"]) == (3, 8192)


def test_an_option_is_not_abbreviated(daemon: Any) -> None:
    done = daemon.run("--show", "x")
    assert done.returncode == 2
    assert "unknown: --show" in done.stderr


def test_show_settings_in_a_terminal_of_few_letters(daemon: Any) -> None:
    environment = {**daemon.environment, "PYTHONIOENCODING": "ascii"}
    done = daemon.run("--show-settings", "LOCAL_DOMAIN:é", environment=environment)
    assert done.returncode == 0, done.stderr
    assert r"\xe9" in done.stdout


def test_a_number_that_a_daemon_ignores_does_not_keep_it_from_being_provisioned(
    daemon: Any,
) -> None:
    (daemon.home / "settings.ini").write_text("[base]\nlog_max_days = -1\n")
    daemon.provision("pd-1", "wss://h/ws", "a-token")
    assert daemon.state["pdid"] == "pd-1"


def test_a_server_that_is_none_is_refused_wherever_it_comes_from(daemon: Any) -> None:
    words = ["provision", "--pdid", "pd-1", "--router", "wss://h/ws", "--token-file", "-"]
    done = daemon.run(*words, "PDSERVER:ftp://x", input="a-token")
    assert done.returncode == 1
    assert "ftp://x is no usable address" in done.stderr
