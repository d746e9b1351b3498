"""Who is to blame for an exception: the device, this computer, or the suite itself."""

from __future__ import annotations

import sysconfig
from collections.abc import Iterator
from pathlib import Path
from types import CodeType

import pytest

import harness
import paradrop
from harness.errors import HarnessError
from harness.evidence.results import Verdict

BLAME = (Verdict.FAILED, Verdict.SUITE, Verdict.BOOT, Verdict.INFRASTRUCTURE)
"""If several exceptions are raised together, the last of these counts: the device is to blame only
if all of them say so."""

_OURS = tuple(f"{Path(str(package.__file__)).parent}/" for package in (harness, paradrop))
_HOOKS = str(Path(__file__).with_name("__init__.py"))
_PYTEST = ("/_pytest/", "/pluggy/", "/unittest/")
_OF_DOCTEST = {
    "DocTestFailure": "gives something else",
    "MultipleDoctestFailures": "gives something else",
    "UnexpectedException": "raises an exception",
}
_INSTALLED = ("/site-packages/", "/dist-packages/", f"{sysconfig.get_path('stdlib')}/")


def judge(error: BaseException) -> tuple[Verdict, BaseException]:
    """The verdict that an exception means, and which of a group of exceptions it follows from.

    The harness's own errors say it themselves. A failed assertion speaks about the device, as do
    `pytest.fail` and a `pytest.raises` that waited in vain. Any other exception is a mistake of the
    suite if it comes out of the suite's own code, or out of a library that the suite has called;
    if it comes out of the harness, or if the system or the time ran out, it is the
    infrastructure's.
    """
    return _judge(error, [])


def _judge(error: BaseException, around: list[CodeType]) -> tuple[Verdict, BaseException]:
    """@param around: what raised the group that the exception is in."""
    code = [*around, *_code(error)]
    if isinstance(error, BaseExceptionGroup):
        found = [_judge(each, code) for each in error.exceptions]
        return max(found, key=lambda each: BLAME.index(each[0]))
    return _verdict(error, code), error


def message(error: BaseException) -> str:
    """One line that says what an exception is about."""
    name = type(error).__name__
    if isinstance(error, pytest.FixtureLookupError):
        said = error.formatrepr().errorstring.strip().partition("\n")[0].strip()
        return f"there is no fixture {error.argname!r}" if said.endswith("not found") else said
    try:
        line = str(error).strip().partition("\n")[0]
    except BaseException:  # of a class that the suite has made
        line = ""
    if name in _OF_DOCTEST:
        return "the example of a docstring " + _OF_DOCTEST[name]
    if isinstance(error, HarnessError | AssertionError | OSError | pytest.fail.Exception):
        return line or name
    return f"{name}: {line}" if line else name


def _verdict(error: BaseException, code: list[CodeType]) -> Verdict:
    if isinstance(error, HarnessError):
        return Verdict(error.verdict)
    if isinstance(error, OSError | MemoryError):
        return Verdict.INFRASTRUCTURE
    by_suite = _raised_by_suite(code)
    if isinstance(error, pytest.fail.Exception) and "pytest-timeout" in str(error):
        return Verdict.INFRASTRUCTURE
    if isinstance(error, pytest.fail.Exception) and str(error).startswith("Unexpected success"):
        return Verdict.FAILED  # pytest says it of unittest's `expectedFailure`, without the suite
    if isinstance(error, pytest.FixtureLookupError) or _misuse_of_pytest(error, code):
        return Verdict.SUITE
    if isinstance(error, AssertionError | pytest.fail.Exception) or _said_by_testinfra(error, code):
        return Verdict.FAILED if by_suite else Verdict.INFRASTRUCTURE
    if type(error).__name__ in _OF_DOCTEST:
        raised = type(error).__name__ == "UnexpectedException"
        return Verdict.SUITE if raised else Verdict.FAILED
    return Verdict.SUITE if by_suite or _raised_by_pytest(code) else Verdict.INFRASTRUCTURE


def _code(error: BaseException) -> Iterator[CodeType]:
    """What was running when an exception was raised, outermost first."""
    trace = error.__traceback__
    while trace is not None:
        yield trace.tb_frame.f_code
        trace = trace.tb_next


def _raised_by_suite(code: list[CodeType]) -> bool:
    """Whether the suite, not the harness, was the last to do something: itself, or by a library."""
    for each in reversed(code):
        file = each.co_filename
        if file.startswith(_OURS):
            return False
        if not file.startswith("<") and not any(folder in file for folder in _INSTALLED):
            return True
    return False


def _raised_by_pytest(code: list[CodeType]) -> bool:
    """Whether it was pytest that could do nothing with what the suite gives it: a test without
    `self`, a mark that is wrong, a warning that is an error. Our own hooks around a test are no
    part of that."""
    files = [each.co_filename for each in code]
    ours = [file for file in files if file.startswith(_OURS) and file != _HOOKS]
    return bool(files) and not ours and any(part in files[-1] for part in _PYTEST)


def _misuse_of_pytest(error: BaseException, code: list[CodeType]) -> bool:
    """Whether pytest refuses what a suite does, such as to call a fixture or to be asynchronous."""
    if not isinstance(error, pytest.fail.Exception):
        return False
    files = [Path(each.co_filename) for each in code]
    callers = [file for file in files if file.name != "outcomes.py"]  # there is `fail` itself
    if not callers or callers[-1].parent.name != "_pytest":
        return False
    return callers[-1].name not in ("raises.py", "recwarn.py")  # they check what the suite expects


def _said_by_testinfra(error: BaseException, code: list[CodeType]) -> bool:
    """Whether testinfra says that a file can't be read, or a command did not do what it should."""
    return type(error) is RuntimeError and any("/testinfra/" in c.co_filename for c in code[-1:])
