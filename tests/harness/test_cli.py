"""The terminal face, run as people run it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from harness.image import cache

HIL = Path(sys.executable).with_name("hil")


def hil(*words: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [HIL, *words],
        cwd=cwd,
        env={**os.environ, "COLUMNS": "40", **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )


def refusal(done: subprocess.CompletedProcess[str], status: int = 2) -> str:
    """What it says: one line of an error, and nothing else.

    @param status: 2 for wrong usage.
    """
    assert done.returncode == status
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    return line


def test_a_table_of_no_report(tmp_path: Path) -> None:
    assert "no report in nowhere: " in refusal(hil("kinds", "nowhere", cwd=tmp_path, COLUMNS="400"))
    for content in (b"", b"\xff", b"[]", b'{"schema": 99}', b'{"schema": 1}'):
        (tmp_path / "result.json").write_bytes(content)
        assert "no report in .: " in refusal(hil("kinds", ".", cwd=tmp_path, COLUMNS="400"))


@pytest.mark.parametrize("words", [["up", "toaster"], ["qualify", "--device", "toaster"]])
def test_an_unknown_kind_is_said_at_once(words: list[str], tmp_path: Path) -> None:
    (tmp_path / "hil").mkdir()
    line = refusal(hil(*words, cwd=tmp_path))
    assert "'toaster'" in line
    assert "process, qemu-x86_64, qemu-aarch64, qemu-armhf" in line
    assert not (tmp_path / "qualification").exists()


@pytest.mark.parametrize(
    ("kind", "program", "package"),
    [
        ("x86_64", "qemu-system-x86_64", "qemu-system-x86"),
        ("aarch64", "qemu-system-aarch64", "qemu-system-arm"),
        ("armhf", "qemu-system-arm", "qemu-system-arm"),
    ],
)
def test_a_missing_qemu_is_named_with_its_package(
    kind: str, program: str, package: str, tmp_path: Path
) -> None:
    line = refusal(
        hil("up", f"qemu-{kind}", cwd=tmp_path, PATH=str(tmp_path), XDG_CACHE_HOME=str(tmp_path)),
        status=1,
    )
    assert line == f"hil: {program} is not installed (apt-get install {package})"
    assert list(tmp_path.iterdir()) == []


def test_outside_a_checkout_it_says_where_to_be(tmp_path: Path) -> None:
    line = refusal(hil("qualify", cwd=tmp_path))
    assert line == "hil: no suites in hil/ (run it in a checkout, or use --suites)"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["up", "process:two"], "takes no argument, not 'two'"),
        (["up", "process:"], "nothing follows the colon"),
        (["up", "vagrant:z80"], "no architecture 'z80'"),
        (["up", "file"], "of which image?"),
        (["up", "file:nowhere.yaml"], "can't be read"),
        (["up", "file:bad.yaml"], "no YAML: line 1"),
        (["up", "labgrid"], "which one?"),
        (["up", "labgrid:bad.yaml"], "labgrid can't use bad.yaml"),
        (["export", "process"], "can't be exported"),
        (["qualify", "--device", "file:bad.yaml"], "no YAML: line 1"),
        (["doctor", "--device", "toaster"], "no device of kind"),
        (["qualify", "--suites", "bad.yaml"], "no suites in bad.yaml/"),
        (["qualify", "--report", "bad.yaml", "--device", "process"], "no report can be written"),
        (["qualify", "--report", "x" * 300], "no report can be written"),
        (["qualify", "--report", ""], "the name of the report's folder is empty"),
        (["qualify", "--suites", "empty", "--device", "process"], "no tests in empty/"),
        (["image", "build", "z80"], "no architecture z80"),
        (["image", "build", "x86_64", "z80"], "no architecture z80"),
        (["image", "box", "z80"], "no architecture z80"),
        (["prune"], "No such command"),
        (["image", "prune", "--keep-days", "some"], "Usage: hil image prune"),
    ],
)
def test_wrong_usage_is_said_before_anything_runs(
    words: list[str], said: str, tmp_path: Path
) -> None:
    (tmp_path / "hil").mkdir()
    (tmp_path / "hil" / "test_any.py").write_text("def test_any(): pass\n")
    (tmp_path / "empty").mkdir()
    (tmp_path / "bad.yaml").write_text("image: [")
    before = sorted(tmp_path.iterdir())
    done = hil(*words, cwd=tmp_path, COLUMNS="400", XDG_CACHE_HOME=str(tmp_path / "cache"))
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert sorted(tmp_path.iterdir()) == before


def test_a_folder_without_a_test_is_wrong_usage(tmp_path: Path) -> None:
    (tmp_path / "helper.py").write_text("")
    words = ["--suites", ".", "--device", "process", "--report", "out"]
    done = hil("qualify", *words, cwd=tmp_path, COLUMNS="400")
    assert done.returncode == 2
    assert "no tests in ./" in done.stderr


def test_what_pytest_calls_wrong_usage_is_that_of_qualify(tmp_path: Path) -> None:
    (tmp_path / "pytest.ini").write_text("[pytest]\naddopts = --no-such-option\n")
    (tmp_path / "test_any.py").write_text("def test_any(): pass\n")
    words = ["--suites", ".", "--device", "process", "--report", "out"]
    done = hil("qualify", *words, cwd=tmp_path, COLUMNS="400")
    assert done.returncode == 2
    assert "--no-such-option" in done.stderr


def test_an_error_is_shown_as_it_is(tmp_path: Path) -> None:
    line = refusal(hil("qualify", "--suites", "[red]gone[/]", cwd=tmp_path))
    assert "no suites in [red]gone[/]/" in line


def test_an_unknown_architecture_is_said(tmp_path: Path) -> None:
    assert "no architecture z80" in refusal(hil("image", "build", "z80", cwd=tmp_path))


def test_a_box_is_named_with_the_command_that_is_next(tmp_path: Path) -> None:
    done = hil("image", "box", "aarch64", cwd=tmp_path)
    file = Path(done.stdout.strip())
    assert file.is_file()
    assert file.parent.name.startswith("box-aarch64-")
    assert "vagrant box add --force --name paradrop/router-aarch64" in done.stderr
    assert ("vagrant up aarch64" in done.stderr) is (os.getuid() != 0)
    assert "no architecture z80" in refusal(hil("image", "box", "z80", cwd=tmp_path))


def test_where_only_the_library_is_installed_it_says_what_is_missing() -> None:
    program = "import sys; sys.modules['typer'] = None; import harness.cli"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (
        refusal(done, status=1) == "hil: typer is not installed (pip install 'paradrop[harness]')"
    )


def test_no_images_to_list(tmp_path: Path) -> None:
    done = hil("image", "list", cwd=tmp_path, XDG_CACHE_HOME=str(tmp_path))
    assert (done.returncode, done.stdout) == (0, "")
    assert "hil image build" in done.stderr


def entry(name: str, arch: str, age: float) -> Path:
    """An entry of the cache, of 3 MB and a hole, last used some seconds ago."""

    def build(folder: Path) -> cache.Manifest:
        with (folder / "ram").open("wb") as file:
            file.write(b"x" * 3_000_000)
            file.truncate(1 << 29)
        return {"architecture": arch, "key": name[-16:] * 4}

    folder, _ = cache.entry(name, build, lambda step: None)
    then = time.time() - age
    os.utime(cache.lock_of(folder), (then, then))
    return folder


def test_images_and_golden_states_are_listed_newest_use_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    entry(f"x86_64-{'a' * 16}", "x86_64", 3 * 86400)
    newest = entry(f"golden-aarch64-{'b' * 16}", "aarch64", 2 * 3600)
    entry(f"root-x86_64-{'d' * 16}", "x86_64", 0)
    damaged = entry(f"x86_64-{'c' * 16}", "x86_64", 0)
    (damaged / cache.MANIFEST).write_text("{")
    heading, *rows = hil("image", "list", cwd=tmp_path).stdout.splitlines()
    assert heading.split() == ["what", "arch", "key", "size", "age", "folder"]
    assert [row.split()[:3] for row in rows] == [
        ["golden", "aarch64", "b" * 16],
        ["image", "x86_64", "a" * 16],
    ]
    assert re.search(r"3 MB +2 h +" + re.escape(str(newest)), rows[0])
    assert re.search(r"3 MB +3 d ", rows[1])
    golden, image = json.loads(hil("image", "list", "--json", cwd=tmp_path).stdout)
    assert (image["what"], golden["what"]) == ("image", "golden")
    assert (golden["arch"], golden["key"]) == ("aarch64", "b" * 64)
    assert golden["folder"] == str(newest)
    assert 3_000_000 <= golden["size"] < 4_000_000
    assert golden["used"] == pytest.approx(time.time() - 2 * 3600, abs=60)


def test_no_images_for_a_machine(tmp_path: Path) -> None:
    done = hil("image", "list", "--json", cwd=tmp_path, XDG_CACHE_HOME=str(tmp_path))
    assert (done.returncode, json.loads(done.stdout)) == (0, [])


def test_prune_says_what_it_removes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    image = entry(f"x86_64-{'a' * 16}", "x86_64", 9 * 86400)
    golden = entry(f"golden-aarch64-{'b' * 16}", "aarch64", 40 * 86400)

    dry = hil("image", "prune", "--dry-run", cwd=tmp_path).stdout.splitlines()
    assert [line.split() for line in dry] == [
        ["3", "MB", golden.name, "not", "used", "for", "40", "days"],
        ["3", "MB", "would", "be", "freed,", "3", "MB", "left"],
    ]
    assert golden.is_dir()
    done = hil("image", "prune", cwd=tmp_path).stdout.splitlines()
    assert done[:-1] == dry[:-1]
    assert done[-1].split() == ["3", "MB", "freed,", "3", "MB", "left"]
    assert (golden.exists(), image.is_dir()) == (False, True)

    done_again = hil("image", "prune", cwd=tmp_path)
    assert (done_again.returncode, done_again.stdout) == (0, "")
    assert "nothing to remove" in done_again.stderr
    known = json.loads(hil("image", "prune", "--json", "--keep-size", "0.001", cwd=tmp_path).stdout)
    (gone,) = known.pop("removed")
    assert (gone["name"], gone["reason"]) == (image.name, "least recently used, beyond 0.001 GB")
    assert known == {"busy": [], "freed": gone["size"], "left": 0, "dry_run": False}
    assert not image.exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])
def test_an_end_of_up_leaves_nothing(number: signal.Signals, tmp_path: Path) -> None:
    """Neither folders nor processes nor words are left behind by a device that was up."""
    with subprocess.Popen(
        [HIL, "up", "process", "--json"],
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as up:
        try:
            assert up.stdout is not None
            known = json.loads(up.stdout.readline())
            assert known["device"] == "process-process-1"
            assert str(tmp_path) in known["shell"]
            assert processes_of(tmp_path)
            up.send_signal(number)
            _, said = up.communicate(timeout=60)
        finally:
            up.kill()
    assert up.returncode == 130
    assert said == ""
    assert list(tmp_path.iterdir()) == []
    assert processes_of(tmp_path) == {}


@pytest.mark.parametrize(
    ("victim", "says"),
    [("crossbar", "crossbar ended with status"), ("-m paradrop", "the daemon ended by itself")],
    ids=["node", "daemon"],
)
def test_up_ends_when_what_is_up_has_died(victim: str, says: str, tmp_path: Path) -> None:
    with subprocess.Popen(
        [HIL, "up", "process", "--json"],
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as up:
        try:
            assert up.stdout is not None
            up.stdout.readline()
            (pid,) = [pid for pid, words in processes_of(tmp_path).items() if victim in words]
            os.kill(pid, signal.SIGKILL)
            _, said = up.communicate(timeout=60)
        finally:
            up.kill()
    assert up.returncode == 1
    (line,) = said.splitlines()
    assert says in line
    assert list(tmp_path.iterdir()) == []


WAITING = """
import os, pathlib, threading

def test_waiting(bench, device_kind):
    (bench.folder / "held").touch()
    pathlib.Path(os.environ["STARTED"]).touch()
    threading.Event().wait()
"""


def test_an_end_of_qualify_leaves_nothing(tmp_path: Path) -> None:
    """Folders of workers that had no time to clean up are removed, too."""
    suites, scratch, started = (tmp_path / name for name in ("suites", "scratch", "started"))
    suites.mkdir()
    scratch.mkdir()
    (suites / "test_waiting.py").write_text(WAITING)
    with subprocess.Popen(
        [HIL, "qualify", "--suites", suites, "--device", "process", "--report", tmp_path / "out"],
        env={**os.environ, "TMPDIR": str(scratch), "STARTED": str(started)},
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        text=True,
    ) as run:
        try:
            deadline = time.monotonic() + 60
            while not started.exists():
                assert time.monotonic() < deadline
                assert run.poll() is None
                time.sleep(0.05)
            assert list(scratch.rglob("held"))
            run.terminate()
            said, _ = run.communicate(timeout=60)
        finally:
            run.kill()
    assert run.returncode == 1
    assert "interrupted" in said
    assert list(scratch.iterdir()) == []
    assert processes_of(scratch) == {}


def processes_of(folder: Path) -> dict[int, str]:
    """Command lines that name the folder, or of processes that work in it, by process."""
    found = {}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            if str(folder) in words or str(folder) in str((process / "cwd").readlink()):
                found[int(process.name)] = words
        except OSError:  # it has ended, or is a zombie
            continue
    return found


@pytest.mark.parametrize("size", ["inf", "1e400", "nan", "-1"])
def test_a_size_that_is_none_is_wrong_usage(tmp_path: Path, size: str) -> None:
    done = hil("image", "prune", "--dry-run", "--keep-size", size, cwd=tmp_path)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
