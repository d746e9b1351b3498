"""The page: one file that needs nothing else and asks nothing of any network."""

from __future__ import annotations

from datetime import UTC, datetime
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined

from harness.evidence.results import RunResult, RunVerdict, TestResult, Verdict
from harness.report.grid import devices, grid
from harness.report.plot import duration, plots
from harness.report.text import printable

SLOWEST = 10

# A class for the colour, a symbol and a word: no verdict is told by its colour alone.
MARKS = {
    Verdict.PASSED: ("passed", "\u2713"),
    Verdict.FAILED: ("failed", "\u2717"),
    Verdict.BOOT: ("error", "!"),
    Verdict.INFRASTRUCTURE: ("error", "!"),
    Verdict.SUITE: ("error", "!"),
    Verdict.NOT_APPLICABLE: ("other", "\u2013"),
    Verdict.SKIPPED: ("other", "\u2013"),
    Verdict.XFAILED: ("other", "\u2013"),
    Verdict.XPASSED: ("other", "\u2713"),
}
UNDECIDED = (Verdict.SKIPPED, Verdict.XFAILED, Verdict.XPASSED)
"""Neither good nor bad: a test that says so itself."""

RUN_MARKS = {
    RunVerdict.PASSED: ("passed", "\u2713", "Passed"),
    RunVerdict.FAILED: ("failed", "\u2717", "Failed"),
    RunVerdict.ERROR: ("error", "!", "Error"),
}


def page(result: RunResult) -> str:
    """@return: the report as HTML."""
    problems = [test for test in result.tests if test.verdict is Verdict.FAILED]
    problems += [test for test in result.tests if test.verdict.is_error]
    return (
        _environment()
        .get_template("page.html")
        .render(
            result=result,
            mark=RUN_MARKS[result.verdict],
            marks=MARKS,
            suites=grid(result),
            names=devices(result),
            problems=problems,
            anchors={test: f"problem-{number}" for number, test in enumerate(problems, 1)},
            not_applicable=[t for t in result.tests if t.verdict is Verdict.NOT_APPLICABLE],
            undecided=[t for t in result.tests if t.verdict in UNDECIDED],
            plots=plots(result),
            slowest=sorted(result.tests, key=_seconds, reverse=True)[:SLOWEST],
        )
    )


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("harness.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_shown,
    )
    environment.filters |= {
        "combine": dict.__or__,
        "duration": duration,
        "link": _link,
        "moment": _moment,
    }
    return environment


def _shown(value: object) -> object:
    """Plain text is made printable; what the template engine marked as safe stays as it is."""
    return printable(value) if type(value) is str else value


def _link(path: str) -> str:
    """A file beside the page, whatever its name is: never another host, never a script."""
    return "./" + quote(path.lstrip("/"), errors="replace")


def _moment(epoch: float) -> str:
    return datetime.fromtimestamp(epoch, UTC).strftime("%Y-%m-%d %H:%M UTC")


def _seconds(test: TestResult) -> float:
    return test.seconds
