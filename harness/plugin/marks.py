"""What the marks of a suite say, and what is wrong with them: no misspelt word passes silently."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from harness.errors import SuiteError, UsageError

PLAIN = {"fresh", "own_device", "smoke", "long"}
"""Those of our marks that take no arguments."""


def needs(test: pytest.Item) -> frozenset[str]:
    """The capabilities that a test asks for: by itself, its class, its module or its parameters.

    @raise SuiteError: one of them does not exist.
    """
    marks = list(test.iter_markers("needs"))
    for mark in marks:
        for mistake in _mistakes_of_needs(mark):
            raise SuiteError(mistake)
    return frozenset(word for mark in marks for word in mark.args)


def mistakes(test: pytest.Item, suite: bool) -> Iterator[str]:
    """What is wrong with the marks of a test, a line each.

    @param suite: whether the test belongs to a suite; then every mark has to be registered.
    """
    known = registered(test.config)
    for mark in test.iter_markers():
        if mark.name == "needs":
            wrong = list(_mistakes_of_needs(mark))
        elif mark.name in PLAIN and (mark.args or mark.kwargs):
            wrong = [f"@pytest.mark.{mark.name} takes no arguments"]
        elif suite and mark.name not in known:
            wrong = [f"unknown mark {mark.name!r} (there are: {', '.join(sorted(known))})"]
        else:
            continue
        yield from (f"{test.nodeid}: {what}" for what in wrong)


def belongs_to_suite(test: pytest.Item) -> bool:
    """Whether a test is judged by the harness: it uses a fixture of ours, or the run is one of
    suites."""
    names = getattr(test, "fixturenames", ())
    return "device_kind" in names or "bench" in names or of_suites(test.config)


def of_suites(config: pytest.Config) -> bool:
    """Whether a run was started as one of suites."""
    return bool(config.getoption("--device") or config.getoption("--report"))


def registered(config: pytest.Config) -> set[str]:
    """The names of all registered marks."""
    return {re.split(r"[(:]", line, maxsplit=1)[0].strip() for line in config.getini("markers")}


def check_expression(config: pytest.Config) -> None:
    """Check the words of `-m`.

    @raise UsageError: it names a mark that does not exist, and so would select the wrong tests.
    """
    expression = str(config.getoption("markexpr") or "")
    words = re.findall(r"[^\s()]+", re.sub(r"\([^()]*=[^()]*\)", "", expression))
    known = registered(config)
    for word in words:
        if word not in known | {"and", "or", "not", "True", "False"}:
            raise UsageError(
                f"-m {expression!r}: unknown mark {word!r}",
                hint=f"there are: {', '.join(sorted(known))}",
            )


def _mistakes_of_needs(mark: pytest.Mark) -> Iterator[str]:
    from harness.device import CAPABILITIES

    there = f"there are: {', '.join(CAPABILITIES)}"
    if mark.kwargs:
        yield f"needs takes words, not {_keywords(mark.kwargs)} ({there})"
    if not mark.args and not mark.kwargs:
        yield f"needs names no capability ({there})"
    for word in mark.args:
        if not isinstance(word, str) or word not in CAPABILITIES:
            yield f"needs({word!r}): there is no such capability ({there})"


def _keywords(given: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in given.items())
