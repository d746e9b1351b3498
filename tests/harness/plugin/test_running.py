"""Runs as people start them: several workers, wrong options, Ctrl-C, suites that don't load."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

LIMIT = 120.0

WORKERS = """
import os, pytest
@pytest.mark.parametrize("number", range(3))
def test_where(device_kind, number, {uses}):
    with open(__file__ + ".workers", "a") as file:
        print(os.environ["PYTEST_XDIST_WORKER"], file=file)
"""


def test_workers_keep_a_module_together(suites: Callable[..., Any]) -> None:
    made = suites(test_one=WORKERS.format(uses="device"), test_two=WORKERS.format(uses="request"))
    (made.folder / "test_three.py").write_text("def test_fails(device_kind): assert False\n")
    status, output = made.run("-n", "2", "--dist", "loadgroup")
    assert status == 1, output
    verdicts = [test["verdict"] for test in made.result["tests"]]
    assert (verdicts.count("passed"), verdicts.count("failed")) == (6, 1)
    assert made.result["devices"][0]["facts"]["paradrop"]
    for name in ("test_one", "test_two"):
        workers = (made.folder / f"{name}.py.workers").read_text().split()
        assert len(workers) == 3
        assert len(set(workers)) == 1


def test_an_unknown_device_is_a_usage_error(suites: Callable[..., Any]) -> None:
    made = suites(test_any="def test_any(device_kind): pass")
    for arguments in ([], ["-n", "2"]):
        status, output = made.run("--device", "nonsense", *arguments)
        assert status == 4, output
        assert "no device of kind 'nonsense' (there are: process, qemu-x86_64" in output


def test_an_argument_that_the_kind_does_not_take_is_a_usage_error(
    suites: Callable[..., Any],
) -> None:
    made = suites(test_any="def test_any(device_kind): pass")
    status, output = made.run("--device", "process:two")
    assert status == 4, output
    assert "process: takes no argument, not 'two'" in output
    status, output = made.run("--device", "process", "--device", "process:")
    assert status == 4, output
    assert "'process:': nothing follows the colon" in output


def test_a_device_that_is_named_twice_is_one(suites: Callable[..., Any]) -> None:
    made = suites(test_any="def test_any(device_kind): pass")
    assert made.run("--device", "process", "--device", "process")[0] == 0
    assert [test["device"] for test in made.result["tests"]] == ["process"]


@pytest.mark.parametrize("expression", ["smok", "smoke or lnog", "not (smok)", "needs(x=1) and no"])
def test_an_unknown_mark_to_select_by_is_a_usage_error(
    suites: Callable[..., Any], expression: str
) -> None:
    made = suites(test_any="def test_any(device_kind): pass")
    for arguments in ([], ["-n", "1"]):
        status, output = made.run("-m", expression, *arguments)
        assert status == 4, output
        assert "unknown mark" in output
        assert "smoke" in output


def test_a_run_that_only_collects_reports_nothing(suites: Callable[..., Any]) -> None:
    made = suites(test_any="def test_any(device_kind): pass")
    assert made.run("--collect-only")[0] == 0
    assert not made.report.exists()


def test_known_marks_select(suites: Callable[..., Any]) -> None:
    made = suites(
        test_any="""
            import pytest
            @pytest.mark.smoke
            def test_one(device_kind): pass
            def test_other(device_kind): pass
        """
    )
    assert made.run("-m", "smoke and not (long or needs)")[0] == 0
    assert [test["id"] for test in made.result["tests"]] == ["test_any.py::test_one"]


def test_an_interrupted_run_says_so_and_leaves_nothing(suites: Callable[..., Any]) -> None:
    made = suites(
        test_endless="""
            import threading
            from pathlib import Path
            def test_before(device_kind): pass
            def test_endless(device, bench):
                pids = [device._child.pid, bench.node._child.pid]
                new = Path("new")
                new.write_text(" ".join(map(str, pids)) + f" {bench.folder}")
                new.rename("started")
                threading.Event().wait()
        """
    )
    started = made.folder / "started"
    with made.start() as child:
        try:
            deadline = time.monotonic() + LIMIT
            while not started.exists():
                assert child.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.05)
            child.send_signal(signal.SIGINT)
            output, _ = child.communicate(timeout=LIMIT)
        except BaseException:
            child.kill()
            raise
    assert child.returncode == 2, output
    assert (made.result["problem"], made.result["verdict"]) == ("interrupted", "error")
    assert [test["verdict"] for test in made.result["tests"]] == ["passed"]
    *pids, folder = started.read_text().split()
    assert not [pid for pid in pids if Path(f"/proc/{pid}").exists()]
    assert not Path(folder).exists()


def test_a_suite_that_does_not_load_is_a_problem(suites: Callable[..., Any]) -> None:
    made = suites(test_damaged="import nothing_of_this_name")
    status, _ = made.run()
    assert status == 2
    assert "test_damaged.py can't be collected" in made.result["problem"]
    assert made.result["verdict"] == "error"


def test_evidence_of_an_earlier_run_is_removed(suites: Callable[..., Any]) -> None:
    made = suites(test_any="def test_any(device_kind): pass")
    (made.report / "evidence/old").mkdir(parents=True)
    assert made.run()[0] == 0
    assert not (made.report / "evidence").exists()
    assert made.result["verdict"] == "passed"


@pytest.mark.parametrize("arguments", [[], ["-n", "1"]], ids=["alone", "with workers"])
def test_what_takes_time_is_said_while_output_is_captured(
    suites: Callable[..., Any], arguments: list[str]
) -> None:
    made = suites(
        test_any="""
            import logging, threading
            def test_any():
                print("captured")
                say = logging.getLogger("harness").info
                thread = threading.Thread(target=say, args=["x86_64: booting once"])
                thread.start()
                thread.join()
        """
    )
    status, output = made.run(*arguments)
    assert status == 0, output
    assert "x86_64: booting once" in output.splitlines()
    assert "captured" not in output


def test_a_clock_that_is_set_back_makes_no_run_end_before_it_began(
    suites: Callable[..., Any],
) -> None:
    made = suites(
        test_any="""
            import time
            now = time.time
            def test_any(device_kind):
                time.time = lambda: now() - 86400
        """
    )
    status, output = made.run()
    assert status == 0, output
    assert 0 < made.result["finished"] - made.result["started"] < LIMIT


FORGETFUL = """
import pytest

@pytest.mark.needs("freeze", "link", "power")
def test_forgets(device):
    device.link("wan").down()
    device.power.cut()

@pytest.mark.needs("link")
def test_next(device):
    assert device.cables["wan"].is_plugged()
    device.succeed(f"kill -0 $(cat {device.runtime_home}/paradropd.pid)")
"""


def test_a_fault_that_a_test_forgets_is_undone_for_the_next(suites: Callable[..., Any]) -> None:
    status, output = suites(test_it=FORGETFUL).run("--device", "process")
    assert status == 0, output
