"""A mark of a suite is understood or refused: a misspelt word is never "not applicable"."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from harness.device import CAPABILITIES, KINDS, kind_class

TEST = "import pytest\n{}\ndef test_any(device_kind): pass\n"
OF_A_CLASS = """
import pytest
class TestAny:
    pytestmark = pytest.mark.needs("power", "pwoer")
    def test_any(self, device_kind): pass
"""
OF_A_CLASS_MARKED = """
import pytest
@pytest.mark.needs("pwoer")
class TestAny:
    def test_any(self, device_kind): pass
"""
OF_A_BASE = """
import pytest
@pytest.mark.needs("pwoer")
class Base: pass
class TestAny(Base):
    def test_any(self, device_kind): pass
"""
OF_A_PARAMETER = """
import pytest
@pytest.mark.parametrize("n", [1, pytest.param(2, marks=pytest.mark.needs("pwoer"))])
def test_any(device_kind, n): pass
"""
OF_UNITTEST = """
import pytest, unittest
class TestAny(unittest.TestCase):
    @pytest.mark.needs("pwoer")
    def test_any(self): pass
"""


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (TEST.format('@pytest.mark.needs("pwoer")'), "needs('pwoer')"),
        (TEST.format('@pytest.mark.needs("power", "Clock")'), "needs('Clock')"),
        (TEST.format('@pytest.mark.needs("")'), "needs('')"),
        (TEST.format("@pytest.mark.needs(None)"), "needs(None)"),
        (TEST.format('@pytest.mark.needs(["power", "clock"])'), "needs(['power', 'clock'])"),
        (TEST.format('@pytest.mark.needs("power, clock")'), "needs('power, clock')"),
        (TEST.format("@pytest.mark.needs()"), "needs names no capability"),
        (TEST.format("@pytest.mark.needs"), "needs names no capability"),
        (TEST.format("@pytest.mark.needs(power=True)"), "power=True"),
        (TEST.format('@pytest.mark.needs("power", on="clock")'), "on='clock'"),
        (TEST.format('pytestmark = pytest.mark.needs("pwoer")'), "needs('pwoer')"),
        (TEST.format('pytestmark = [pytest.mark.needs("pwoer")]'), "needs('pwoer')"),
        (TEST.format('@pytest.mark.needs("pwoer")').replace("device_kind", ""), "needs('pwoer')"),
        (OF_A_CLASS, "needs('pwoer')"),
        (OF_A_CLASS_MARKED, "needs('pwoer')"),
        (OF_A_BASE, "needs('pwoer')"),
        (OF_A_PARAMETER, "needs('pwoer')"),
        (OF_UNITTEST, "needs('pwoer')"),
        (TEST.format("@pytest.mark.smok"), "unknown mark 'smok'"),
        (TEST.format("@pytest.mark.need('power')"), "unknown mark 'need'"),
        (TEST.format("@pytest.mark.frsh").replace("device_kind", "bench"), "unknown mark 'frsh'"),
        (TEST.format("@pytest.mark.fresh('power')"), "fresh takes no arguments"),
    ],
)
def test_a_mistake_is_said_at_collection(suites: Callable[..., Any], text: str, said: str) -> None:
    made = suites(test_wrong=text, test_right="def test_right(device_kind): pass")
    status, output = made.run()
    assert status == 2, output
    assert said in output
    there = "smoke" if "unknown mark" in said else "clock, freeze, link, power"
    assert there in output or "takes no arguments" in said
    result = made.result
    assert result["verdict"] == "error"
    (wrong,) = [test for test in result["tests"] if test["id"].startswith("test_wrong")]
    assert wrong["verdict"] == "error: suite"
    assert said in wrong["message"]


def test_all_mistakes_of_a_module_are_said_also_by_workers(suites: Callable[..., Any]) -> None:
    text = """
        import pytest
        @pytest.mark.needs("pwoer")
        def test_one(device_kind): pass
        @pytest.mark.needs("clcok")
        def test_other(device_kind): pass
    """
    for arguments in ([], ["-n", "2"]):
        made = suites(test_wrong=text)
        status, output = made.run(*arguments)
        assert status != 0
        assert "needs('pwoer')" in output
        assert "needs('clcok')" in output
        assert made.result["verdict"] == "error"


def test_marks_are_strict_for_suites_alone(suites: Callable[..., Any]) -> None:
    """Another project's tests in the same environment keep their marks."""
    made = suites(test_other="import pytest\n@pytest.mark.theirs\ndef test_any(): pass")
    with made.start_plain() as child:
        output, _ = child.communicate(timeout=120)
    assert child.returncode == 0, output


PARAMETERS = """
import pytest
@pytest.mark.parametrize("n", [1, pytest.param(2, marks=pytest.mark.needs("rootfs"))])
def test_any(device_kind, n): pass

@pytest.mark.needs("rootfs")
class TestOf:
    @pytest.mark.needs("power")
    def test_a_class(self, device_kind): pass
"""

LATE = """
import pytest
def pytest_collection_modifyitems(items):
    for item in items:
        if "late" in item.name:
            item.add_marker(pytest.mark.needs(item.name.rpartition("_")[2].partition("[")[0]))
"""


def test_needs_of_a_parameter_a_class_or_a_hook_count(suites: Callable[..., Any]) -> None:
    late = "def test_late_rootfs(device_kind): pass\ndef test_late_pwoer(device_kind): pass\n"
    made = suites(conftest=LATE, test_marks=PARAMETERS, test_late=late)
    status, output = made.run()
    assert status == 1, output
    assert made.test("test_any[1]")["verdict"] == "passed"
    for name in ("test_any[2]", "test_a_class", "test_late_rootfs"):
        assert made.test(name)["verdict"] == "not applicable"
        assert "process has no rootfs" in made.test(name)["message"]
    assert made.test("test_late_pwoer")["verdict"] == "error: suite"


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_draws_its_capabilities_from_the_one_list(kind: str) -> None:
    assert kind_class(kind).capabilities <= set(CAPABILITIES)
