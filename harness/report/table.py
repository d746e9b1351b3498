"""The result in a terminal."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.table import Column, Table
from rich.text import Text

from harness.evidence.results import RunResult, RunVerdict, TestResult, Verdict
from harness.report.grid import devices, grid
from harness.report.plot import duration
from harness.report.text import printable

STYLES = {
    Verdict.PASSED: "green",
    Verdict.FAILED: "bold red",
    Verdict.BOOT: "bold yellow",
    Verdict.INFRASTRUCTURE: "bold yellow",
    Verdict.SUITE: "bold yellow",
    Verdict.NOT_APPLICABLE: "dim",
    Verdict.SKIPPED: "dim",
    Verdict.XFAILED: "dim",
    Verdict.XPASSED: "yellow",
}
NAMED = 10
"""How many of the tests that did not run are named."""

RUN_STYLES = {
    RunVerdict.PASSED: "bold green",
    RunVerdict.FAILED: "bold red",
    RunVerdict.ERROR: "bold yellow",
}


def table(result: RunResult) -> RenderableType:
    """What `rich.console.Console.print` shows: the grid, each thing that went wrong, the verdict.

    Only words carry the verdicts, colours repeat them: it reads the same in a log file.
    """
    cells = Table("test", *(Column(Text(printable(name))) for name in devices(result)))
    for suite, lines in grid(result).items():
        cells.add_section()
        cells.add_row(Text(suite, style="bold"))
        for line in lines:
            cells.add_row(Text(f"  {printable(line.title)}"), *map(_cell, line.cells))
    wrong = sorted(
        (test for test in result.tests if test.verdict.is_bad),
        key=lambda test: test.verdict.is_error,
    )
    rest = len(result.not_run) - NAMED
    return Group(
        cells,
        *(
            Text.assemble((test.verdict, STYLES[test.verdict]), f"  {test.id} on {test.device}: ")
            + Text(printable(test.message))
            for test in wrong
        ),
        *(Text(f"not run  {printable(name)}", "bold yellow") for name in result.not_run[:NAMED]),
        *([Text(f"and {rest} more did not run", "bold yellow")] if rest > 0 else []),
        Text.assemble(
            (result.verdict.upper(), RUN_STYLES[result.verdict]),
            f"  {result.sentence}, in {duration(result.finished - result.started)}",
            f" ({printable(result.problem)})" if result.problem else "",
        ),
    )


def _cell(results: tuple[TestResult, ...]) -> Text:
    if not results:
        return Text("-", style="dim")
    return Text("\n").join(
        Text(
            test.verdict
            if test.verdict is Verdict.NOT_APPLICABLE
            else f"{test.verdict}  {duration(test.seconds)}",
            style=STYLES[test.verdict],
        )
        for test in results
    )
