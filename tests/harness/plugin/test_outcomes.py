"""The report is never greener than pytest: the same runs, as pytest and as the report tell them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

SUITE = '''
import unittest
import pytest

@pytest.fixture
def breaks_before():
    raise ValueError("before")

@pytest.fixture
def breaks_after():
    yield
    raise ValueError("after")

@pytest.fixture
def fails_after():
    yield
    assert False, "after"

@pytest.fixture
def skips():
    pytest.skip("not today")

def test_passes(device_kind): pass
def test_fails(device_kind): assert False, "the device is wrong"
def test_breaks_before(device_kind, breaks_before): pass
def test_breaks_after(device_kind, breaks_after): pass
def test_fails_after(device_kind, fails_after): pass
def test_fails_and_breaks_after(device_kind, breaks_after): assert False, "first"
def test_breaks_before_and_after(device_kind, breaks_after, breaks_before): pass
def test_breaks_twice_after(device_kind, breaks_after, fails_after): pass

@pytest.mark.needs("rootfs")
def test_does_not_apply(device_kind): pass

@pytest.mark.needs("rootfs")
@pytest.mark.xfail(strict=True, reason="it would pass")
def test_does_not_apply_nor_pass(device_kind): pass

@pytest.mark.skip(reason="later")
def test_marked(device_kind): pass

@pytest.mark.skipif(True, reason="not applicable: so it says")
def test_marked_if(device_kind): pass

def test_skips(device_kind): pytest.skip("in the middle")
def test_of_a_fixture_that_skips(device_kind, skips): pass
def test_skips_and_breaks_after(device_kind, breaks_after): pytest.skip("hides nothing")

@pytest.mark.xfail(reason="known")
def test_is_expected_to_fail(device_kind): assert False, "as known"

@pytest.mark.xfail
def test_is_expected_to_fail_for_no_reason(device_kind): assert False

@pytest.mark.xfail(raises=KeyError, reason="of that kind")
def test_fails_otherwise_than_expected(device_kind): assert False, "of another kind"

@pytest.mark.xfail(run=False, reason="hangs")
def test_is_not_even_tried(device_kind): pass

def test_gives_up(device_kind): pytest.xfail("on its way")

@pytest.mark.xfail(reason="unknown")
def test_passes_unexpectedly(device_kind): pass

@pytest.mark.xfail(strict=True, reason="mended?")
def test_passes_against_the_rule(device_kind): pass

@pytest.mark.xfail(reason="known")
def test_is_expected_to_break_before(device_kind, breaks_before): pass

@pytest.mark.xfail(reason="known")
def test_passes_unexpectedly_and_breaks_after(device_kind, breaks_after): pass

def test_of_the_node(bench): pass
def test_of_the_node_fails(bench): assert False, "the node is wrong"
def test_of_nothing(): pass
def test_of_nothing_fails(): assert False, "nothing is wrong"

@pytest.mark.parametrize("number", [1, 2])
def test_of_nothing_but_numbers(number): assert number == 1

def test_of_parts(device_kind, subtests):
    for number in range(3):
        with subtests.test(number=number):
            assert number != 1, "one part"

class TestOfAClass:
    """Tests in classes are told, too."""

    def test_passes(self, device_kind): pass
    def test_fails(self): assert False, "in a class"

class TestOfUnittest(unittest.TestCase):
    @unittest.expectedFailure
    def test_passes_against_the_rule(self): pass
'''

SKIPPED_MODULE = """
import pytest
pytest.importorskip("nothing_of_this_name")
def test_never_seen(device_kind): pass
"""

FAILED, SUITE_ERROR, SKIPPED = "failed", "error: suite", "skipped"
NOT_APPLICABLE, XFAILED, XPASSED = "not applicable", "expected failure", "unexpected pass"

EXPECTED = {
    "test_passes": ("passed", "", "process"),
    "test_fails": (FAILED, "the device is wrong", "process"),
    "test_breaks_before": (SUITE_ERROR, "ValueError: before", "process"),
    "test_breaks_after": (SUITE_ERROR, "ValueError: after", "process"),
    "test_fails_after": (FAILED, "after", "process"),
    "test_fails_and_breaks_after": (FAILED, "first", "process"),
    "test_breaks_before_and_after": (SUITE_ERROR, "ValueError: before", "process"),
    "test_breaks_twice_after": (SUITE_ERROR, "ValueError: after", "process"),
    "test_does_not_apply": (NOT_APPLICABLE, "process has no rootfs", "process"),
    "test_does_not_apply_nor_pass": (NOT_APPLICABLE, "process has no rootfs", "process"),
    "test_marked": (SKIPPED, "later", "process"),
    "test_marked_if": (SKIPPED, "not applicable: so it says", "process"),
    "test_skips": (SKIPPED, "in the middle", "process"),
    "test_of_a_fixture_that_skips": (SKIPPED, "not today", "process"),
    "test_skips_and_breaks_after": (SUITE_ERROR, "ValueError: after", "process"),
    "TestOfUnittest::test_passes_against_the_rule": (FAILED, "Unexpected success", "no device"),
    "test_is_expected_to_fail": (XFAILED, "known", "process"),
    "test_is_expected_to_fail_for_no_reason": (XFAILED, "", "process"),
    "test_fails_otherwise_than_expected": (FAILED, "of another kind", "process"),
    "test_is_not_even_tried": (XFAILED, "[NOTRUN] hangs", "process"),
    "test_gives_up": (XFAILED, "on its way", "process"),
    "test_passes_unexpectedly": (XPASSED, "unknown", "process"),
    "test_passes_against_the_rule": (FAILED, "mended?", "process"),
    "test_is_expected_to_break_before": (XFAILED, "known", "process"),
    "test_passes_unexpectedly_and_breaks_after": (XFAILED, "known", "process"),
    "test_of_the_node": ("passed", "", "no device"),
    "test_of_the_node_fails": (FAILED, "the node is wrong", "no device"),
    "test_of_nothing": ("passed", "", "no device"),
    "test_of_nothing_fails": (FAILED, "nothing is wrong", "no device"),
    "test_of_nothing_but_numbers[1]": ("passed", "", "no device"),
    "test_of_nothing_but_numbers[2]": (FAILED, "assert 2 == 1", "no device"),
    "test_of_parts": (FAILED, "one part", "process"),
    "TestOfAClass::test_passes": ("passed", "", "process"),
    "TestOfAClass::test_fails": (FAILED, "in a class", "no device"),
}

GREEN, UNDECIDED, RED = range(3)
COLOURS = {"passed": GREEN, NOT_APPLICABLE: UNDECIDED, SKIPPED: UNDECIDED, XFAILED: UNDECIDED}
COLOURS[XPASSED] = UNDECIDED


def colours_of_pytest(file: Path) -> dict[str, int]:
    """The worst that pytest's own JUnit XML says of each test."""
    found: dict[str, int] = {}
    for case in ET.parse(file).getroot().iter("testcase"):
        kinds = {child.tag for child in case}
        colour = RED if kinds & {"failure", "error"} else UNDECIDED if "skipped" in kinds else GREEN
        classes = [word for word in (case.get("classname") or "").split(".") if word[:4] == "Test"]
        name = "::".join([*classes, case.get("name") or ""])
        found[name] = max(found.get(name, GREEN), colour)
    return found


@pytest.fixture(scope="module", params=[[], ["-n", "2"]], ids=["alone", "with workers"])
def ran(suites: Callable[..., Any], request: pytest.FixtureRequest) -> Any:
    made = suites(test_outcomes=SUITE, test_skipped=SKIPPED_MODULE)
    made.status, made.output = made.run("--junitxml", "own.xml", *request.param)
    made.own = colours_of_pytest(made.folder / "own.xml")
    return made


@pytest.mark.parametrize("name", EXPECTED)
def test_every_outcome_of_pytest_has_a_word(ran: Any, name: str) -> None:
    verdict, message, device = EXPECTED[name]
    (found,) = [test for test in ran.result["tests"] if test["id"].endswith(f"outcomes.py::{name}")]
    assert (found["verdict"], found["device"]) == (verdict, device), found
    assert message in found["message"]
    assert "object at 0x" not in found["message"]
    assert found["suite"] == "outcomes"


def test_no_test_is_greener_than_for_pytest(ran: Any) -> None:
    told = {
        test["id"].partition("::")[2]: COLOURS.get(test["verdict"], RED)
        for test in ran.result["tests"]
        if test["id"].startswith("test_outcomes")
    }
    assert len(told) == len(EXPECTED)
    for name, colour in ran.own.items():
        found = told.get(name.replace("[process]", ""))
        if found is not None:  # a part of a test is not a test
            assert found >= colour, name
    assert ran.result["verdict"] == "failed"
    assert ran.status == 1


def test_all_that_pytest_has_counted_is_in_the_report_and_its_files(ran: Any) -> None:
    result = ran.result
    assert result["not_run"] == []
    (module,) = [test for test in result["tests"] if test["id"] == "test_skipped.py"]
    assert (module["verdict"], module["device"]) == (SKIPPED, "no device")
    assert "nothing_of_this_name" in module["message"]
    counts = Counter(COLOURS.get(test["verdict"], RED) for test in result["tests"])
    root = ET.parse(ran.report / "junit.xml").getroot()
    total = {name: int(root.get(name) or 0) for name in ("tests", "failures", "errors", "skipped")}
    assert total["tests"] == len(EXPECTED) + 1
    assert total["failures"] + total["errors"] == counts[RED]
    assert total["skipped"] == counts[UNDECIDED]
    page = (ran.report / "report.html").read_text()
    for word in (SKIPPED, XFAILED, XPASSED, "suite error", "no device"):
        assert word in page
    for word in (SKIPPED, XFAILED, XPASSED, SUITE_ERROR, "not applicable"):
        assert word in ran.output


PASSING = "def test_passes(device_kind): pass\n"


def run(suites: Callable[..., Any], text: str, *arguments: str) -> tuple[int, dict[str, Any], str]:
    made = suites(test_some=text)
    status, output = made.run(*arguments)
    return status, made.result, output


@pytest.mark.parametrize(
    ("text", "arguments", "verdict"),
    [
        (PASSING, [], "passed"),
        ("def test_passes(bench): pass", [], "passed"),
        ("def test_passes(): pass", [], "passed"),
        ("def test_passes(): pass", ["--device", "process"], "error"),
        ("def test_fails(bench): assert False", [], "failed"),
        (PASSING + "def test_slips(device_kind): nothing", [], "error"),
        (PASSING + "def test_slips(device_kind): assert nothing", ["--deselect=x"], "error"),
        ("import pytest\n" + PASSING + "def test_skips(device_kind): pytest.skip()", [], "passed"),
        ("import pytest\ndef test_skips(device_kind): pytest.skip()", [], "error"),
        (
            "import pytest\n@pytest.mark.xfail\ndef test_fails(device_kind): assert False",
            [],
            "error",
        ),
        ("import pytest\n@pytest.mark.xfail\ndef test_passes(device_kind): pass", [], "error"),
        (
            "import pytest\n@pytest.mark.needs('rootfs')\ndef test_any(device_kind): pass",
            [],
            "error",
        ),
        ("", [], "error"),
        (PASSING, ["-k", "nothing"], "error"),
        (PASSING, ["--setup-plan"], "error"),
        (PASSING, ["--setup-only"], "error"),
    ],
)
def test_the_exit_status_is_0_only_if_the_run_has_passed(
    suites: Callable[..., Any], text: str, arguments: list[str], verdict: str
) -> None:
    status, result, output = run(suites, text, *arguments)
    assert result["verdict"] == verdict, output
    assert (status == 0) is (verdict == "passed"), output


TWO = """
import os, pytest
{slip}
def test_first(device_kind): pass
def test_second(device_kind):
    {ends}
def test_third(device_kind): pass
def test_fourth(device_kind): pass
"""


@pytest.mark.parametrize(
    ("ends", "arguments", "not_run", "verdict"),
    [
        ("assert False", ["-x"], ["third", "fourth"], "failed"),
        ("nothing", ["--maxfail", "1"], ["third", "fourth"], "error"),
        ("raise KeyboardInterrupt", [], ["second", "third", "fourth"], "error"),
        ("pytest.exit('enough', returncode=0)", [], ["second", "third", "fourth"], "error"),
        ("assert False", ["-x", "-n", "1"], ["third", "fourth"], "failed"),
        ("os._exit(3)", ["-n", "1", "--max-worker-restart", "0"], ["third", "fourth"], "error"),
    ],
)
def test_what_did_not_run_is_named(
    suites: Callable[..., Any], ends: str, arguments: list[str], not_run: list[str], verdict: str
) -> None:
    made = suites(test_some=TWO.format(slip="", ends=ends))
    status, output = made.run(*arguments)
    assert status != 0, output
    result = made.result
    named = {name.partition("::")[2] for name in result["not_run"]}
    assert named == {f"test_{name}[process]" for name in not_run}
    assert result["verdict"] == verdict
    assert made.test("test_first")["verdict"] == "passed"
    assert "did not run" in output
    assert "test_fourth" in (made.report / "report.html").read_text()
    root = ET.parse(made.report / "junit.xml").getroot()
    assert int(root.get("errors") or 0) + int(root.get("failures") or 0) > 0
    if "os._exit" in ends:
        crashed = made.test("test_second")
        assert (crashed["verdict"], crashed["device"]) == ("error: infrastructure", "process")
        assert "worker" in crashed["message"]


def test_a_suite_that_does_not_load_is_in_the_report(suites: Callable[..., Any]) -> None:
    made = suites(test_damaged="import nothing_of_this_name", test_whole=PASSING)
    for arguments in ([], ["-n", "1"]):
        status, _ = made.run(*arguments)
        assert status != 0
        (damaged,) = [t for t in made.result["tests"] if t["id"] == "test_damaged.py"]
        assert damaged["verdict"] == SUITE_ERROR
        assert "nothing_of_this_name" in damaged["message"]
        assert made.result["verdict"] == "error"
    status, _ = made.run("--continue-on-collection-errors")
    assert (status, made.result["verdict"]) == (1, "error")
    assert made.test("test_passes")["verdict"] == "passed"


@pytest.mark.parametrize("arguments", [[], ["-n", "2"]], ids=["alone", "with workers"])
def test_what_was_left_out_on_purpose_is_counted(
    suites: Callable[..., Any], arguments: list[str]
) -> None:
    made = suites(test_some=PASSING + "def test_other(device_kind): assert False")
    status, output = made.run("-k", "passes", *arguments)
    assert (status, made.result["verdict"]) == (0, "passed")
    assert (made.result["deselected"], made.result["not_run"]) == (1, [])
    assert "1 deselected" in output


AGAIN = """
import pytest
from _pytest.runner import runtestprotocol

def pytest_runtest_protocol(item):
    for _ in range(2):
        for report in runtestprotocol(item, log=False):
            if report.failed:
                report.outcome = "rerun"
            item.ihook.pytest_runtest_logreport(report=report)
            if report.outcome == "rerun" and {silent}:
                break
    return True
"""


@pytest.mark.parametrize("silent", [False, True])
def test_a_second_try_does_not_make_the_first_one_good(
    suites: Callable[..., Any], silent: bool
) -> None:
    """@param silent: the end of the first try is not reported."""
    made = suites(
        conftest=AGAIN.format(silent=silent),
        test_some="tries = []\ndef test_any(device_kind):\n  tries.append(1)\n  assert tries[1:]",
    )
    status, output = made.run()
    assert [test["verdict"] for test in made.result["tests"]] == ["failed", "passed"], output
    assert (status, made.result["verdict"]) == (1, "failed")


CONDEMNED = """
import pytest

@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(item, call):
    report = yield
    if report.when == "call":
        report.outcome, report.longrepr = "failed", "the lab says no"
    return report
"""


def test_what_another_plugin_condemns_is_condemned(suites: Callable[..., Any]) -> None:
    made = suites(conftest=CONDEMNED, test_some=PASSING)
    status, _ = made.run()
    assert (status, made.result["verdict"]) == (1, "failed")
    assert made.test("test_passes")["message"] == "the lab says no"


@pytest.mark.parametrize("options", [[], ["-n", "2"]], ids=["alone", "with workers"])
def test_a_file_that_cannot_be_collected_is_told_once(
    suites: Callable[..., Any], options: list[str]
) -> None:
    made = suites(test_broken="def test_yields():\n    yield\n")
    made.run(*options)
    (found,) = made.result["tests"]
    assert (found["id"], found["verdict"]) == ("test_broken.py", SUITE_ERROR)
