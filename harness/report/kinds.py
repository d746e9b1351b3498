"""Kinds of device by suites, as a table for the docs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from harness.evidence.results import RunResult, TestResult, Verdict
from harness.report.text import printable


def kinds(results: Sequence[RunResult]) -> str:
    """Markdown: a row for each device, a column for each suite, and below why tests do not apply.

    @param results: of one or of several runs; of two that ran one suite on the same device, the
        later counts.
    """
    cells: dict[tuple[str, str], list[TestResult]] = {}
    for result in sorted(results, key=lambda result: result.started):
        found: dict[tuple[str, str], list[TestResult]] = {}
        for test in result.tests:
            found.setdefault((test.device, test.suite), []).append(test)
        cells |= found
    suites = sorted({suite for _, suite in cells})
    tests = [test for tests in cells.values() for test in tests]
    reasons = list(dict.fromkeys(test.message for test in tests if _inapplicable(test)))
    lines = [_row("device", suites), _row("---", ["---"] * len(suites))]
    for device in dict.fromkeys(device for device, _ in cells):
        counts = (_counts(cells.get((device, suite), []), reasons) for suite in suites)
        lines.append(_row(_plain(device), counts))
    why = [f"{number}. {_plain(reason)}" for number, reason in enumerate(reasons, start=1)]
    return "\n".join([*lines, "", *why]).rstrip() + "\n"


def _inapplicable(test: TestResult) -> bool:
    return test.verdict is Verdict.NOT_APPLICABLE


def _row(head: str, cells: Iterable[str]) -> str:
    return f"| {' | '.join([head, *cells])} |"


def _counts(tests: Sequence[TestResult], reasons: Sequence[str]) -> str:
    counted = Counter(test.verdict for test in tests)
    words = [f"{counted[verdict]} {verdict.words}" for verdict in Verdict if counted[verdict]]
    why = sorted({reasons.index(test.message) + 1 for test in tests if _inapplicable(test)})
    return f"{', '.join(words) or '-'}{f' ({_listed(why)})' if why else ''}"


def _listed(numbers: Iterable[int]) -> str:
    return ", ".join(map(str, numbers))


def _plain(text: str) -> str:
    """On one line, and nothing in it is Markdown's."""
    return "".join(f"\\{c}" if c in "\\|`*_<[" else c for c in " ".join(printable(text).split()))
