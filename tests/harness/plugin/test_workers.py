"""Workers that die, and what is too odd to be sent to the process that controls them."""

from __future__ import annotations

import signal
import time
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

LIMIT = 120.0
CRASH = "the worker ended while it ran this test"
INFRASTRUCTURE = "error: infrastructure"

RAN = """
import os, signal, pytest
from pathlib import Path

@pytest.fixture(autouse=True)
def ran(request):
    with (Path(__file__).parent / "ran").open("a") as file:
        print(request.node.name, file=file)
"""

DEADLY = (
    RAN
    + '''
WAYS = {
    "exit": lambda: os._exit(0),
    "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "segfault": lambda: os.kill(os.getpid(), signal.SIGSEGV),
}

def test_before(device_kind): pass

@pytest.mark.parametrize("way", WAYS)
def test_dies(device_kind, way):
    """It takes its worker along."""
    WAYS[way]()

@pytest.mark.parametrize("number", range(4))
def test_after(device_kind, number): pass

def test_fails(device_kind): assert False, "on its own"
'''
)


def dealt(how: str) -> list[str]:
    return ["-n", "2", "--dist", how, "--no-loadscope-reorder"]


def names_that_ran(made: Any) -> list[str]:
    return sorted((made.folder / "ran").read_text().split())


@pytest.mark.parametrize("how", ["loadgroup", "loadfile", "loadscope", "load", "worksteal"])
def test_a_test_that_ends_its_worker_runs_once_and_all_others_run(
    suites: Callable[..., Any], how: str
) -> None:
    made = suites(
        test_deadly=DEADLY, test_other=RAN + "def test_fine(device_kind, number=0): pass\n"
    )
    status, output = made.run(*dealt(how))
    assert status == 1, output
    ran = names_that_ran(made)
    assert len(ran) == len(set(ran)) == 10, output
    verdicts = {test["id"].rpartition("::")[2]: test for test in made.result["tests"]}
    assert len(made.result["tests"]) == len(verdicts) == 10
    for way in ("exit", "kill", "segfault"):
        test = verdicts[f"test_dies[{way}]"]
        assert (test["verdict"], test["message"]) == (INFRASTRUCTURE, CRASH)
        assert (test["device"], test["suite"]) == ("process", "deadly")
        assert test["title"] == "It takes its worker along."
    assert verdicts["test_fails"]["verdict"] == "failed"
    rest = [test["verdict"] for name, test in verdicts.items() if "dies" not in name]
    assert sorted(rest) == ["failed"] + ["passed"] * 6
    assert made.result["not_run"] == []
    assert "error: infrastructure" in output
    assert CRASH in (made.report / "report.html").read_text()
    cases = ET.parse(made.report / "junit.xml").getroot().iter("testcase")
    assert sum(case.find("error") is not None for case in cases) == 3


def test_more_workers_may_die_than_pytest_xdist_restarts(suites: Callable[..., Any]) -> None:
    made = suites(
        test_deadly=RAN
        + """
@pytest.mark.parametrize("number", range(9))
def test_dies(device_kind, number):
    os._exit(1)

def test_after(device_kind): pass
"""
    )
    status, output = made.run(*dealt("loadgroup"))
    assert status == 1, output
    assert len(names_that_ran(made)) == 10
    verdicts = [test["verdict"] for test in made.result["tests"]]
    assert (verdicts.count(INFRASTRUCTURE), verdicts.count("passed")) == (9, 1)


@pytest.mark.parametrize("how", ["loadgroup", "load"])
@pytest.mark.parametrize("phase", ["setup", "teardown"])
def test_a_worker_that_ends_around_a_test(suites: Callable[..., Any], phase: str, how: str) -> None:
    made = suites(
        test_deadly=RAN
        + f"""
@pytest.fixture
def deadly():
    if "{phase}" == "setup":
        os._exit(1)
    yield
    os._exit(1)

def test_dies(device_kind, deadly):
    '''Its title.'''
def test_after(device_kind): pass
def test_last(device_kind): pass
"""
    )
    status, output = made.run(*dealt(how))
    assert status == 1, output
    assert names_that_ran(made) == [
        "test_after[process]",
        "test_dies[process]",
        "test_last[process]",
    ]
    dead = made.test("test_dies")
    assert (dead["verdict"], dead["message"]) == (INFRASTRUCTURE, CRASH)
    assert (dead["title"], dead["device"]) == ("Its title.", "process")
    assert {made.test(name)["verdict"] for name in ("test_after", "test_last")} == {"passed"}


@pytest.mark.parametrize("how", ["loadgroup", "load"])
def test_a_worker_that_ends_between_tests(suites: Callable[..., Any], how: str) -> None:
    made = suites(
        conftest="""
            import os
            from pathlib import Path
            def pytest_runtest_logfinish(nodeid):
                if "test_one" in nodeid and "PYTEST_XDIST_WORKER" in os.environ:
                    os._exit(1)
        """,
        test_deadly=RAN
        + "\n".join(f"def test_{n}(device_kind): pass" for n in ("one", "two", "six")),
    )
    status, output = made.run(*dealt(how))
    assert status == 1, output
    assert names_that_ran(made) == ["test_one[process]", "test_six[process]", "test_two[process]"]
    assert [test["verdict"] for test in made.result["tests"]] == ["passed"] * 3
    assert made.result["verdict"] == "error"
    assert "a worker ended by itself" in made.result["problem"]


def test_workers_that_can_not_start(suites: Callable[..., Any]) -> None:
    made = suites(
        conftest="""
            import os
            def pytest_collection_modifyitems():
                if "PYTEST_XDIST_WORKER" in os.environ:
                    os._exit(1)
        """,
        test_any="def test_any(device_kind): pass",
    )
    status, output = made.run(*dealt("loadgroup"))
    assert status != 0, output
    assert made.result["verdict"] == "error"
    assert "a worker ended by itself" in made.result["problem"]
    assert "Traceback" not in output


def test_a_worker_that_ends_while_another_still_collects(suites: Callable[..., Any]) -> None:
    made = suites(
        conftest="""
            import os, pytest, time
            from pathlib import Path
            DIED = Path(__file__).parent / "died"
            def pytest_collection_modifyitems():
                if os.environ.get("PYTEST_XDIST_WORKER") == "gw1":
                    while not DIED.exists():
                        time.sleep(0.05)
            @pytest.hookimpl(trylast=True)
            def pytest_collection_finish():
                if os.environ.get("PYTEST_XDIST_WORKER") == "gw0":
                    DIED.touch()
                    os._exit(1)
        """,
        test_any=RAN + "\n".join(f"def test_{n}(device_kind): pass" for n in ("one", "two", "six")),
    )
    status, output = made.run(*dealt("loadgroup"))
    assert status == 1, output
    assert [test["verdict"] for test in made.result["tests"]] == ["passed"] * 3


def test_a_restart_that_the_user_forbids_leaves_tests_that_did_not_run(
    suites: Callable[..., Any],
) -> None:
    made = suites(test_deadly=DEADLY)
    status, output = made.run("-n", "1", "--dist", "loadfile", "--max-worker-restart", "0")
    assert status == 1, output
    assert len(made.result["tests"]) == 2
    assert len(made.result["not_run"]) == 7


def test_an_interrupted_run_with_workers(suites: Callable[..., Any]) -> None:
    made = suites(
        test_endless="""
            import os, threading
            from pathlib import Path
            def test_before(device_kind): pass
            def test_endless(device_kind):
                new = Path("new")
                new.write_text(str(os.getpid()))
                new.rename("started")
                threading.Event().wait()
        """
    )
    started = made.folder / "started"
    with made.start("-n", "2", "--dist", "loadfile") as child:
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
    assert not Path(f"/proc/{started.read_text()}").exists()


ODD = r'''
import pytest
ODD = "caf\udce9 \x00 \x1b[31m \ufffe"

@pytest.fixture
def says(record_property):
    record_property("odd", ODD)
    record_property("object", object())
    record_property("number", 10 ** 9000)

def test_assertion(device_kind, says):
    """Of \udce9."""
    print(ODD)
    assert False, ODD

def test_comparison(device_kind):
    assert ODD == "something else"

def test_exception(device_kind):
    raise ValueError(ODD)

def test_skip(device_kind):
    pytest.skip(ODD)

def test_warns(device_kind):
    import warnings
    warnings.warn(ODD)
    warnings.warn(UserWarning(object(), ODD))

def test_logs(device_kind):
    import logging
    logging.getLogger().warning(ODD)
    logging.getLogger("harness").warning(ODD)
    assert False

def test_huge(device_kind):
    assert False, "x" * 10_000_000

@pytest.mark.parametrize("text", [ODD, "x" * 5000])
def test_parameter(device_kind, text):
    assert False

def test_after(device_kind): pass
'''


@pytest.mark.parametrize("arguments", [[], dealt("loadgroup")], ids=["alone", "with workers"])
def test_texts_that_nothing_can_send_or_write(
    suites: Callable[..., Any], arguments: list[str]
) -> None:
    made = suites(
        test_odd=ODD, **{"test_of_caf\udce9": "def test_fails(device_kind): assert False"}
    )
    status, output = made.run(*arguments)
    assert status == 1, output[-3000:]
    assert "INTERNALERROR" not in output
    assert "Logging error" not in output
    result = made.result
    assert len(result["tests"]) == 11, [test["id"] for test in result["tests"]]
    assert result["problem"] == ""
    assert "\\udce9" in made.test("test_assertion")["message"]
    assert made.test("test_skip")["verdict"] == "skipped"
    assert made.test("test_after")["verdict"] == "passed"
    assert len(made.test("test_huge")["details"]) < 1_000_000
    ids = [test["id"] for test in result["tests"]]
    assert len(set(ids)) == len(ids)
    assert max(map(len, ids)) < 2000
    for name in ("result.json", "junit.xml", "report.html"):
        (made.report / name).read_text(encoding="utf-8")
    assert "udc" in (made.report / "result.json").read_text()
    (made.report / "result.json").read_bytes().decode().encode()
    ET.parse(made.report / "junit.xml")


def test_an_argument_that_workers_can_not_be_given(suites: Callable[..., Any]) -> None:
    made = suites(test_any="def test_any(device_kind): pass")
    status, output = made.run("-n", "2", "--report", str(made.folder / "caf\udce9"))
    assert status == 4, output
    assert "UTF-8" in output
    status, output = made.run("--report", str(made.folder / "caf\udce9"))
    assert status == 0, output
    assert (made.folder / "caf\udce9" / "report.html").exists()
