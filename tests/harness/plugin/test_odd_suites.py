"""Whatever a suite does to pytest and to us: the run goes on, and its report is no greener."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

PASSES = "def test_ok(): pass\n"

BY_PYTEST = """
import threading, unittest, pytest

class TestA:
    def test_no_self(): pass

class TestB:
    def setup_method(self, a, b): pass
    def test_setup(self): pass

class TestC(unittest.TestCase):
    def test_argument(self, x): pass

@pytest.fixture
def never():
    if False: yield

def test_never(never): pass

@pytest.mark.filterwarnings("error")
def test_returns(): return 5

@pytest.mark.filterwarnings("error")
def test_thread():
    thread = threading.Thread(target=lambda: 1 / 0)
    thread.start()
    thread.join()

@pytest.fixture
def first(second): pass
@pytest.fixture
def second(first): pass
def test_of_each_other(first): pass
"""

PROPERTIES = """
def test_facts(device_kind, record_property): record_property("facts", "abc")
def test_ours(record_property):
    record_property("hil-facts", None)
    record_property("hil-finding", 5)
def test_triple(request): request.node.user_properties.append(("a", "b", "c"))
def test_list(record_property): record_property(["a"], "b")
def test_after(): pass
"""

HOSTILE = """
import json
class Odd(Exception):
    def __str__(self): raise SystemExit(3)
def test_odd(): raise Odd
def test_json(monkeypatch): monkeypatch.setattr("json.dumps", lambda *a, **k: 1 / 0)
def test_doc(): pass
test_doc.__doc__ = 5
def test_after(): pass
"""

WORDS = """
import pytest

def test_action(device): device.daemon("strat")
def test_number(device): device.succeed(5)
def test_nul(device): device.fail("a\\0b")
def test_seconds(device): device.wait_until_succeeds("false", "x")
def test_event(log): log.records(5)
def test_wait(log): log.wait_for("x", timeout="1")
"""

ENDS = {
    "exit": ("pytest.exit('bye', returncode=0)", "bye"),
    "error": ("raise RuntimeError('boom')", "boom"),
}


def verdicts(made: Any) -> dict[str, str]:
    return {test["id"].rpartition("::")[2]: test["verdict"] for test in made.result["tests"]}


@pytest.mark.parametrize("workers", [[], ["-n", "2"]])
def test_more_warnings_than_are_allowed(suites: Callable[..., Any], workers: list[str]) -> None:
    made = suites(test_w="import warnings\ndef test_w(): warnings.warn('x')\n")
    status, output = made.run("--max-warnings", "0", *workers)
    assert status == 6, output
    assert made.result["verdict"] == "error"
    assert made.result["problem"] == "pytest ended with status 6"


@pytest.mark.parametrize(("what", "why"), ENDS.values(), ids=ENDS)
def test_a_conftest_that_fails_at_the_end(suites: Callable[..., Any], what: str, why: str) -> None:
    conftest = f"import pytest\ndef pytest_sessionfinish(): {what}\n"
    made = suites(test_it=PASSES, conftest=conftest)
    status, output = made.run()
    assert status != 0, output
    assert made.result["verdict"] == "error"
    assert why in made.result["problem"]
    assert verdicts(made) == {"test_ok": "passed"}
    assert "no device" in output


@pytest.mark.parametrize("workers", [[], ["-n", "2"]])
def test_properties_of_any_kind(suites: Callable[..., Any], workers: list[str]) -> None:
    made = suites(test_it=PROPERTIES)
    status, output = made.run(*workers)
    assert status == 0, output
    assert set(verdicts(made).values()) == {"passed"}
    assert len(verdicts(made)) == 5


def test_what_cannot_be_judged_costs_no_other_test(suites: Callable[..., Any]) -> None:
    made = suites(test_it=HOSTILE)
    status, output = made.run()
    assert status == 1, output
    assert verdicts(made) == {
        "test_odd": "error: suite",
        "test_json": "passed",
        "test_doc": "passed",
        "test_after": "passed",
    }


def test_a_test_that_never_began_has_its_verdict(suites: Callable[..., Any]) -> None:
    hook = """
    import pytest
    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(item):
        if item.name == "test_b": raise RuntimeError("x")
    """
    made = suites(test_it="def test_a(bench): pass\ndef test_b(): pass\n", conftest=hook)
    status, output = made.run()
    assert status == 1, output
    assert verdicts(made)["test_a"] == "passed"
    assert verdicts(made)["test_b"].startswith("error")


def test_what_pytest_itself_refuses_is_the_suites(suites: Callable[..., Any]) -> None:
    made = suites(test_it=BY_PYTEST)
    status, output = made.run()
    assert status == 1, output
    found = verdicts(made)
    assert len(found) == 7
    assert set(found.values()) == {"error: suite"}, found
    (each_other,) = (t for t in made.result["tests"] if t["id"].endswith("of_each_other"))
    assert "recursive" in each_other["message"]


def test_the_words_of_the_harness_say_what_they_take(suites: Callable[..., Any]) -> None:
    made = suites(test_it=WORDS)
    status, output = made.run("--device", "process")
    assert status == 1, output
    assert set(verdicts(made).values()) == {"error: suite"}, made.result["tests"]
    assert "there are: start, stop, restart" in output


def test_examples_of_docstrings(suites: Callable[..., Any]) -> None:
    text = """
    def wrong():
        \"\"\"
        >>> 1 + 1
        3
        \"\"\"
    def raises():
        \"\"\"
        >>> {}["a"]
        \"\"\"
    """
    made = suites(test_it=text)
    status, output = made.run("--doctest-modules")
    assert status == 1, output
    assert verdicts(made) == {"test_it.wrong": "failed", "test_it.raises": "error: suite"}


def test_without_workers_at_all(suites: Callable[..., Any]) -> None:
    made = suites(test_it=PASSES)
    status, output = made.run("-p", "no:xdist")
    assert status == 0, output


def test_each_attempt_has_evidence_of_its_own(suites: Callable[..., Any]) -> None:
    made = suites(test_it="import time\ndef test_a(bench): assert 0, time.monotonic()\n")
    status, output = made.run("-n", "2", "--dist", "each")
    assert status == 1, output
    folders = {test["evidence"][0]["path"].split("/")[1] for test in made.result["tests"]}
    assert len(folders) == 2


@pytest.mark.parametrize("option", ["--fixtures", "--fixtures-per-test", "--markers"])
def test_what_only_shows_something_keeps_the_report(
    suites: Callable[..., Any], option: str
) -> None:
    made = suites(test_it=PASSES)
    made.run()
    before = (made.report / "result.json").read_text()
    assert made.run(option)[0] == 0
    assert (made.report / "result.json").read_text() == before
