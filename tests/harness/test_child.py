"""A child has its output in a file, ends when it is told to, and never outlives the harness."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.child import Child
from harness.errors import InfrastructureError, MissingToolError

LIMIT = 20.0


def wait_until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + LIMIT
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.01)


def alive(pid: int) -> bool:
    """Whether it still executes; a zombie does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in "ZX"


def shell(script: str, folder: Path, *, ready: str = "") -> Child:
    """@param ready: a line to wait for before the test goes on."""
    child = Child(["sh", "-c", script], folder / "child.log")
    if ready:
        wait_until(lambda: ready in child.tail().splitlines())
    return child


def test_its_output_is_in_the_file_and_its_status_is_returned(tmp_path: Path) -> None:
    (tmp_path / "child.log").write_text("from before\n")
    child = shell("echo out; echo err >&2; exit 7", tmp_path)
    assert child.wait(LIMIT) == 7
    assert (child.running, child.returncode) == (False, 7)
    assert child.tail() == "from before\nout\nerr"
    assert child.tail(1) == "err"


@pytest.mark.parametrize("how", ["kill", "terminate", "tail"])
def test_each_line_is_told_and_kept_when_it_has_ended(tmp_path: Path, how: str) -> None:
    told: list[str] = []
    script = "echo one; echo two >&2; printf '\\377last'"
    child = Child(["sh", "-c", script], tmp_path / "log", printed=told.append)
    child.wait(LIMIT)
    getattr(child, how)()
    assert told == ["one", "two", "\ufffdlast"]
    assert (tmp_path / "log").read_bytes() == b"one\ntwo\n\xfflast"
    child.kill()


def test_a_full_disk_does_not_stop_a_program_that_prints() -> None:
    told: list[str] = []

    def full(line: str) -> None:
        told.append(line)
        raise OSError(28, "no space")

    lines = 200_000  # more than a pipe holds
    child = Child(["seq", str(lines)], Path("/dev/full"), printed=full)
    assert child.wait(LIMIT) == 0
    child.kill()
    assert len(told) == lines


def test_a_missing_program_is_an_error_with_its_package(tmp_path: Path) -> None:
    with pytest.raises(
        MissingToolError, match=r"qemu-none is not installed .*install qemu-nothing"
    ):
        Child(["qemu-none"], tmp_path / "log", package="qemu-nothing")


def test_what_cannot_be_started_is_an_infrastructure_error(tmp_path: Path) -> None:
    with pytest.raises(InfrastructureError, match="sh can't be started"):
        Child(["sh"], tmp_path / "log", cwd=tmp_path / "missing")


def test_it_gets_the_folder_the_environment_and_no_input(tmp_path: Path) -> None:
    child = Child(
        ["sh", "-c", "pwd; echo $COLOUR; cat"],
        tmp_path / "log",
        cwd=tmp_path,
        env={"COLOUR": "green", "PATH": os.environ["PATH"]},
    )
    assert child.wait(LIMIT) == 0
    assert child.tail() == f"{tmp_path}\ngreen"


def test_it_leads_a_session_of_its_own(tmp_path: Path) -> None:
    child = shell("echo ready; sleep 60", tmp_path, ready="ready")
    try:
        assert os.getsid(child.pid) == os.getpgid(child.pid) == child.pid != os.getsid(0)
    finally:
        assert child.kill() == -signal.SIGKILL


def test_waiting_too_long_is_an_error_that_shows_its_output(tmp_path: Path) -> None:
    child = shell("echo stuck; sleep 60", tmp_path, ready="stuck")
    try:
        with pytest.raises(InfrastructureError, match=r"still runs after 0.05 s\nstuck"):
            child.wait(0.05)
    finally:
        child.kill()


def test_it_is_asked_to_end_first(tmp_path: Path) -> None:
    script = "trap 'echo bye; exit 3' TERM; echo ready; while :; do sleep 0.01; done"
    child = shell(script, tmp_path, ready="ready")
    assert child.terminate() == 3
    assert child.tail(1) == "bye"


def test_one_that_will_not_end_is_ended(tmp_path: Path) -> None:
    script = "trap '' TERM; echo ready; while :; do sleep 0.01; done"
    child = shell(script, tmp_path, ready="ready")
    assert child.terminate(grace=0.1) == -signal.SIGKILL
    assert not child.running


@pytest.mark.parametrize("end", [Child.kill, Child.terminate])
def test_nothing_of_its_group_is_left(tmp_path: Path, end: Callable[[Child], int]) -> None:
    child = shell("sleep 60 & echo $!; echo ready; wait", tmp_path, ready="ready")
    grandchild = int(child.tail().splitlines()[0])
    assert alive(grandchild)
    began = time.monotonic()
    end(child)
    assert not alive(grandchild)
    assert time.monotonic() - began < 2


def test_what_a_dead_one_left_behind_is_ended_too(tmp_path: Path) -> None:
    child = shell("sleep 60 & echo $!", tmp_path)
    assert child.wait(LIMIT) == 0
    grandchild = int(child.tail())
    assert alive(grandchild)
    assert child.kill() == 0
    assert not alive(grandchild)


def test_a_signal_reaches_everything_in_its_group(tmp_path: Path) -> None:
    inner = "sh -c 'trap \"echo inner; exit\" USR1; echo ready; while :; do sleep 0.01; done'"
    child = shell(f"trap 'echo outer' USR1; {inner} & wait; wait", tmp_path, ready="ready")
    try:
        child.send(signal.SIGUSR1)
        wait_until(lambda: {"inner", "outer"} <= set(child.tail().splitlines()))
    finally:
        child.kill()


def test_ending_and_signalling_it_again_does_no_harm(tmp_path: Path) -> None:
    child = shell("exit 5", tmp_path)
    assert child.wait(LIMIT) == 5
    assert [child.terminate(), child.kill(), child.terminate()].count(5) == 3
    child.send(signal.SIGTERM)


def test_a_number_that_is_used_again_is_never_signalled(tmp_path: Path) -> None:
    child = shell("exit 0", tmp_path)
    child.kill()
    other = shell("echo ready; sleep 60", tmp_path, ready="ready")
    try:
        child.pid = other.pid  # what the kernel may do once the first one is gone
        child.send(signal.SIGKILL)
        child.kill()
        assert other.running
    finally:
        other.kill()


def test_it_dies_with_a_harness_that_is_killed(tmp_path: Path) -> None:
    program = (
        "import sys, time; from pathlib import Path; from harness.child import Child; "
        "print(Child(['sleep', '60'], Path(sys.argv[1])).pid, flush=True); time.sleep(60)"
    )
    harness = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path / "log")], stdout=subprocess.PIPE, text=True
    )
    with harness:
        assert harness.stdout is not None
        pid = int(harness.stdout.readline())
        wait_until(lambda: Path(f"/proc/{pid}/comm").read_text().strip() == "sleep")
        harness.kill()
    wait_until(lambda: not alive(pid))


def test_it_dies_with_the_thread_that_started_it(tmp_path: Path) -> None:
    """What the class warns of: it must be started from a thread that lives on."""
    started: list[Child] = []
    thread = threading.Thread(
        target=lambda: started.append(shell("echo ready; sleep 60", tmp_path, ready="ready"))
    )
    thread.start()
    thread.join()
    assert started[0].wait(LIMIT) == -signal.SIGKILL


def test_the_tail_of_a_large_log_is_its_end(tmp_path: Path) -> None:
    child = shell("seq 200000; printf '\\377 odd bytes'", tmp_path)
    assert child.wait(LIMIT) == 0
    assert child.tail(3) == "199999\n200000\n\ufffd odd bytes"
    child.log.unlink()
    assert child.tail() == ""
