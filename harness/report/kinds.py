"""Kinds of device by suites, as a table for the docs."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence

from harness.evidence.results import RunResult, TestResult, Verdict
from harness.report.text import printable


def kinds(results: Sequence[RunResult]) -> str:
    """Markdown: a row for each device, a column for each suite, and below why tests do not apply.

    @param results: of one or of several runs, in the order of the rows; of two that ran one suite
        on the same device, the later counts.
    """
    cells: dict[tuple[str, str], list[TestResult]] = {}
    for result in sorted(results, key=lambda result: result.started):
        found: dict[tuple[str, str], list[TestResult]] = {}
        for test in result.tests:
            found.setdefault((test.device, test.suite), []).append(test)
        cells |= found
    suites = sorted({suite for _, suite in cells})
    reasons: list[str] = []
    lines = [_row("device", suites), _row("---", ["---"] * len(suites))]
    for device in dict.fromkeys(info.name for result in results for info in result.devices):
        counts = [_counts(cells.get((device, suite), []), reasons) for suite in suites]
        lines.append(_row(_plain(_name(device)), counts))
    why = [f"{number}. {_plain(reason)}" for number, reason in enumerate(reasons, start=1)]
    return "\n".join([*lines, "", *why]).rstrip() + "\n"


def _name(device: str) -> str:
    """Without the folders of a file."""
    return re.sub(":.*/", ":", device)


def _row(head: str, cells: Iterable[str]) -> str:
    return f"| {' | '.join([head, *cells])} |"


def _counts(tests: Sequence[TestResult], reasons: list[str]) -> str:
    """@param reasons: has those that were seen; new ones are added."""
    counted = Counter(test.verdict for test in tests)
    words = [f"{counted[verdict]} {verdict.words}" for verdict in Verdict if counted[verdict]]
    why = set()
    for test in tests:
        if test.verdict is Verdict.NOT_APPLICABLE:
            reason = test.message.removeprefix(f"{_name(test.device)} has ")
            if reason not in reasons:
                reasons.append(reason)
            why.add(reasons.index(reason) + 1)
    see = f": see {', '.join(map(str, sorted(why)))}" if why else ""
    return f"{', '.join(words) or '-'}{see}"


def _plain(text: str) -> str:
    """On one line, and nothing in it is Markdown's."""
    return "".join(f"\\{c}" if c in "\\|`*_<[" else c for c in " ".join(printable(text).split()))
