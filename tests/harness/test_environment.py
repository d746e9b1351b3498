"""What the shell that a run was started from may and may not do to the children of the run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import harness
from harness import environment
from paradrop.base import settings

ROOT = Path(harness.__file__).parents[1]

BENCH = """
import json, os, sys, tempfile
from pathlib import Path
from harness.bench import Bench

os.umask(int(sys.argv[1], 8))
with tempfile.TemporaryDirectory(dir="/tmp") as folder:
    bench = Bench(Path(folder))
    try:
        device = bench.device("process")
        bench.assert_healthy(bench.provision(device).pdid)
        print(json.dumps({
            "device": dict(
                line.split("=", 1) for line in device.succeed("env -0").split("\\0")[:-1]
            ),
            "home": str(device.config_home),
            "library": device.python("import paradrop; print(paradrop.__file__)").strip(),
            "modes": device.succeed("umask; stat -c '%a %n' keys logs logs/log keys/apitoken"),
            "settings": json.loads(device.succeed("paradropd --show-settings --json")),
        }))
    finally:
        bench.close()
"""


def stand(there: Path, umask: str, shell: dict[str, str]) -> dict[str, object]:
    """Stand up a bench in a shell. @return: what its device was told, and did."""
    done = subprocess.run(
        [sys.executable, "-c", BENCH, umask], cwd=there, env=shell, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
    return found


def hostile(folder: Path) -> dict[str, str]:
    """A shell in which every name that somebody may listen to is set."""
    startup = folder / "startup.py"
    startup.write_text("raise SystemExit('run by an innocent interpreter')")
    return {
        **{name: str(folder / "x") for name in dir(settings) if name.isupper()},
        **{"DEBUG_MODE": "1", "SNAP_COMMON": str(folder), "SNAP_DATA": str(folder)},
        **{"PARADROP_X": "1", "AUTOBAHN_USE_NVX": "1", "CROSSBAR_DIR": str(folder)},
        **{
            "PYTHONWARNINGS": "always",
            "PYTHONSTARTUP": str(startup),
            "PYTHONIOENCODING": "latin-1",
        },
        **{"PYTHONVERBOSE": "", "PYTHONOPTIMIZE": "2", "PYTHONINSPECT": ""},
        **{"LANG": "de_DE", "LC_ALL": "C", "TZ": "Asia/Kolkata", "USER": "mallory"},
        **{"LOGNAME": "mallory", "XDG_CACHE_HOME": str(folder), "COLUMNS": "1"},
        **{"SSL_CERT_FILE": str(startup), "http_proxy": "http://127.0.0.1:1", "ENV": str(startup)},
        **{"https_proxy": "http://127.0.0.1:1", "BASH_ENV": str(startup), "HOME": str(folder)},
    }


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    folder = tmp_path_factory.mktemp("user")
    (folder / "settings.ini").write_text("[base]\nlog_dir = /nowhere\n")
    shell = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **hostile(folder)}
    found = stand(folder, "000", shell)
    return found | {"left": {path.name for path in folder.iterdir()}}


def test_a_process_device_is_told_its_own_and_no_more(told: dict[str, dict[str, str]]) -> None:
    home = told["home"]
    assert told["device"].keys() <= {
        *("PATH", "LANG", "TZ", "HOME", "TMPDIR", "CONFIG_HOME_DIR", "RUNTIME_HOME_DIR"),
        *("PYTHONPATH", "PYTHONUSERBASE", "PYTHONUNBUFFERED", "LD_LIBRARY_PATH"),
        *("PWD", "OLDPWD", "SHLVL", "_"),  # the shell's own
    }
    assert (told["device"]["HOME"], told["device"]["LANG"]) == (home, "C.UTF-8")
    assert told["modes"].split()[0] == "0022"
    assert "600 keys/apitoken" in told["modes"]


def test_no_setting_of_a_process_device_comes_from_the_shell(told: dict[str, list]) -> None:
    home = told["home"]
    origins = {each["name"]: (each["source"], str(each["value"])) for each in told["settings"]}
    assert {name for name, (source, _) in origins.items() if source == "environment"} >= {
        "CONFIG_HOME_DIR",
        "RUNTIME_HOME_DIR",
    }
    assert origins["LOG_DIR"][1] == f"{home}/logs/"
    assert not any(value == "/x" or "/nowhere" in value for _, value in origins.values())


def test_nothing_is_left_in_the_users_folders(told: dict[str, set[str]]) -> None:
    assert told["left"] == {"settings.ini", "startup.py"}


def test_the_library_is_the_one_under_test(told: dict[str, str]) -> None:
    assert told["library"] == str(ROOT / "paradrop/__init__.py")


def test_a_library_that_only_the_module_path_finds_is_the_one_that_runs(tmp_path: Path) -> None:
    copy = tmp_path / "elsewhere"
    copy.mkdir()
    (copy / "paradrop").symlink_to(ROOT / "paradrop")
    shell = {"PATH": os.environ["PATH"], "PYTHONPATH": "elsewhere"}  # relative, as people write it
    found = stand(tmp_path, "022", shell)
    assert found["library"] == str(copy / "paradrop/__init__.py")


def test_a_shell_without_anything(tmp_path: Path) -> None:
    found = stand(tmp_path, "022", {})
    assert found["library"] == str(ROOT / "paradrop/__init__.py")


def test_a_search_path_holds_in_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", "bin::/usr/bin")
    assert environment.search_path().split(":")[:2] == [f"{tmp_path}/bin", "/usr/bin"]
    monkeypatch.delenv("PATH")
    assert "/usr/bin" in environment.search_path().split(":")
