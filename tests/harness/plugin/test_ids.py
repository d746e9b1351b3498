"""The id of a result is pytest's name of the test without the device, whatever it consists of."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

VALUES = [
    "process",
    "subprocess-kill",
    "process-",
    "-process",
    "a-process-b",
    "[process]",
    "a]b[c",
    "a@b",
    "]@group",
    "a/b",
    "a::b",
    "a\nb",
    "ü",
    "",
    "\x00",
    "case",
    "CASE",
    "x" * 400,
]

SUITE = f"""
import pytest
VALUES = {VALUES!r}

@pytest.mark.parametrize("value", VALUES)
def test_b(device_kind, bench, value): assert False

@pytest.mark.parametrize("one", ["process", "x"])
@pytest.mark.parametrize("two", ["y", "process"])
def test_of_two(device_kind, one, two): pass

@pytest.mark.parametrize("process", [1, 2])
class TestClass:
    def test_b(self, device_kind, process): pass

@pytest.fixture(params=["process", "other"])
def kind(request): return request.param

def test_of_a_fixture(device_kind, kind): pass
def test_plain(device_kind, bench): assert False
def test_without(): pass
"""

SAME = """
import pytest

def test_plain(device_kind, bench): assert False

@pytest.mark.xdist_group("together")
def test_grouped(): pass
"""


@pytest.fixture(scope="module", params=[[], ["-n", "2", "--dist", "loadgroup"]])
def ran(request: pytest.FixtureRequest, suites: Callable[..., Any]) -> Any:
    made = suites(test_b=SUITE, test_ü=SAME)
    for folder in ("one", "[2]@two"):
        (made.folder / folder).mkdir()
        (made.folder / folder / "test_same.py").write_text(SAME)
    (made.folder / "pytest.ini").write_text("[pytest]\naddopts = --import-mode=importlib\n")
    made.status, made.output = made.run(*request.param)
    return made


def test_ids(ran: Any) -> None:
    assert ran.status == 1, ran.output
    escaped = [value.encode("unicode_escape").decode() for value in VALUES]
    escaped[escaped.index("\\n".join("ab"))] = "a\\nb"
    wanted = {f"test_b.py::test_b[{value}]" for value in escaped}
    wanted |= {f"test_b.py::test_of_two[{two}]" for two in ("y-process", "y-x")}
    wanted |= {f"test_b.py::test_of_two[{two}]" for two in ("process-process", "process-x")}
    wanted |= {f"test_b.py::TestClass::test_b[{number}]" for number in (1, 2)}
    wanted |= {f"test_b.py::test_of_a_fixture[{kind}]" for kind in ("process", "other")}
    wanted |= {"test_b.py::test_plain", "test_b.py::test_without"}
    for file in ("test_ü.py", "one/test_same.py", "[2]@two/test_same.py"):
        wanted |= {f"{file}::test_plain", f"{file}::test_grouped"}
    ids = [test["id"] for test in ran.result["tests"]]
    assert sorted(ids) == sorted(wanted)
    assert ran.result["problem"] == ""
    assert ran.result["not_run"] == []


def test_each_failure_has_evidence_of_its_own(ran: Any) -> None:
    failed = [test for test in ran.result["tests"] if test["verdict"] == "failed"]
    assert len(failed) == len(VALUES) + 4
    paths = [item["path"] for test in failed for item in test["evidence"]]
    assert len({path.lower() for path in paths}) == len(paths) >= len(failed)
    for path in paths:
        assert (ran.report / path).is_file()
        assert len(path) < 150
