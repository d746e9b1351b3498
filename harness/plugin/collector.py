"""From pytest's reports to results: a verdict, its evidence and its measurements for each test."""

from __future__ import annotations

import os
import platform
import sys
import time
from collections.abc import Generator
from importlib import metadata
from json import dumps  # bound now: a test may replace it
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from harness import report as reports
from harness import terminal
from harness.errors import HarnessError, UsageError
from harness.evidence import keeping
from harness.evidence.fitting import fit, shortened
from harness.evidence.results import (
    NO_DEVICE,
    DeviceInfo,
    RunResult,
    RunVerdict,
    Verdict,
    run_verdict,
)
from harness.plugin import LACKS, chosen, kind_of
from harness.plugin.fixtures import BENCH, CURRENT, STARTED
from harness.plugin.judging import judge, message
from harness.plugin.naming import full_name, result_id, suite
from harness.plugin.tally import FINDING, Tally

if TYPE_CHECKING:
    from harness.bench import Bench

VERSIONS = ("paradrop", "crossbar", "autobahn", "twisted", "pytest", "pytest-testinfra", "qemu.qmp")
"""Distributions on the host that take part in every run."""

LONGEST = {"id": 1_000, "title": 500, "message": 1_000, "details": 200_000}
"""Characters of a text in a report: one that is opened in a browser, and read by CI."""

JUDGED = pytest.StashKey["Finding"]()
SPOILT = pytest.StashKey[bool]()
"""Whether a test ended early: nobody knows in what state it has left its device."""

Finding = dict[str, object]
"""A test's result while it travels with pytest's report as JSON: the fields of `TestResult`."""


def examine(item: pytest.Item, call: pytest.CallInfo[None], report: pytest.TestReport) -> None:
    """Judge one phase of a test; save the evidence of a bad one while it is still there.

    Runs where the test runs. What was found so far travels with the report of each phase. Whatever
    a suite has done to what this relies on costs the test its verdict, and the run nothing.
    """
    try:
        finding = _examine(item, call, report)
    except Exception as error:
        finding = unjudged(item) | {
            "verdict": Verdict.SUITE,
            "message": f"the test can't be judged: {message(error)}",
            "details": report.longreprtext,
        }
    report.user_properties.append((FINDING, dumps(_short(fit(finding)))))


def _examine(item: pytest.Item, call: pytest.CallInfo[None], report: pytest.TestReport) -> Finding:
    bench = item.config.stash.get(BENCH, None)
    current = item.config.stash.get(CURRENT, None)
    if report.when == "setup":  # again, if the test is run again
        item.stash[JUDGED], item.stash[SPOILT] = unjudged(item), False
    finding = item.stash[JUDGED]
    finding["seconds"] = round(finding["seconds"] + call.duration, 3)  # type: ignore[operator]
    if bench is not None:
        bench.timeline.record("test", report.when, id=full_name(item), outcome=report.outcome)
        finding["measurements"] = [[m.name, m.seconds, m.fault] for m in bench.measurements]
    if call.excinfo is not None and not call.excinfo.errisinstance(pytest.skip.Exception):
        item.stash[SPOILT] = True
    if report.skipped and report.when == "setup" and LACKS in item.stash:
        finding |= {"verdict": Verdict.NOT_APPLICABLE, "message": item.stash[LACKS]}
    elif report.failed and Verdict(str(finding["verdict"])).is_bad:
        finding["details"] = f"{finding['details']}\n\n{report.when}:\n{report.longreprtext}"
    elif report.failed:
        finding |= _judged(item, call, report)
        folder = item.config.getoption("--report")
        if folder is not None and bench is not None:
            finding["evidence"] = keeping.keep(
                folder, full_name(item), _evidence(bench, item.stash.get(STARTED, 0.0))
            )
    if report.when == "teardown":
        if item.stash[SPOILT] and current is not None:
            current.drop()  # whatever state the device is in, no other test meets it
        if bench is not None:
            bench.measurements.clear()
    return finding


def _evidence(bench: Bench, since: float) -> dict[str, str | Path]:
    try:
        return bench.evidence(since)
    except Exception as error:  # nothing of it may cost the verdict
        return {"evidence": f"it could not be collected: {type(error).__name__}: {error}"}


def _short(finding: Finding) -> Finding:
    """The whole text is in pytest's own output."""
    return finding | {
        name: shortened(str(finding[name]), most)
        for name, most in LONGEST.items()
        if name in finding
    }


def _judged(item: pytest.Item, call: pytest.CallInfo[None], report: pytest.TestReport) -> Finding:
    details = report.longreprtext
    if call.excinfo is None:  # nothing was raised: it passed, and was expected to fail
        return {
            "verdict": Verdict.FAILED,
            "message": details.strip().partition("\n")[0],
            "details": details,
        }
    error: BaseException = call.excinfo.value
    bench = item.config.stash.get(BENCH, None)
    try:  # a test on a machine that has died says nothing about the router
        if bench is not None:
            bench.check()
    except HarnessError as death:
        error, details = death, f"{death}\n\n{details}"
    verdict, blamed = judge(error)
    return {"verdict": verdict, "message": message(blamed), "details": details}


def unjudged(item: pytest.Item) -> Finding:
    """The result of a test before anything is known of how it ends."""
    doc = getattr(getattr(item, "function", None), "__doc__", None)
    doc = doc if isinstance(doc, str) else ""
    return {
        "id": result_id(item),
        "suite": suite(item.nodeid),
        "title": doc.strip().partition("\n\n")[0].replace("\n", " "),
        "device": kind_of(item) or NO_DEVICE,
        "verdict": Verdict.PASSED,
        "seconds": 0.0,
    }


class Collector:
    """Puts the result of a whole run together and writes the report.

    With xdist it sits where the workers' reports arrive.
    """

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._folder: Path = config.getoption("--report")
        self._started, self._began = time.time(), time.monotonic()
        self._tally = Tally(config)
        config.pluginmanager.register(self._tally, "hil-tally")
        config.pluginmanager.register(_Outermost(self), "hil-outermost")
        self.result: RunResult | None = None
        self._lost: list[str] = []

    def pytest_sessionstart(self) -> None:
        try:
            keeping.clear(self._folder)
        except UsageError as error:
            raise pytest.UsageError(str(error)) from error

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        self._tally.close()
        self._finish(session)

    def end(self, session: pytest.Session, error: BaseException | None) -> None:
        """Everybody else has done what they do at the end of a run.

        @param error: what one of them has raised.
        """
        tally, unknown = self._tally, self.result is None
        if error is not None:
            tally.problem = tally.problem or f"the end of the run failed: {message(error)}"
            if isinstance(error, pytest.exit.Exception) and not error.returncode:
                error.returncode = int(pytest.ExitCode.TESTS_FAILED)
        passed = self.result is not None and self.result.verdict is RunVerdict.PASSED
        if unknown or (passed and (error or session.exitstatus != pytest.ExitCode.OK)):
            tally.close()
            self._finish(session)
            if reporter := self._config.pluginmanager.get_plugin("terminalreporter"):
                self.pytest_terminal_summary(reporter)

    def _finish(self, session: pytest.Session) -> None:
        tally = self._tally
        devices = tuple(
            DeviceInfo(kind, facts.pop("architecture", ""), facts)
            for kind in self._devices()
            for facts in [dict(tally.facts.get(kind, {}))]
        )
        problem, status = tally.problem, session.exitstatus
        unaware = {pytest.ExitCode.OK}  # of what pytest does not know itself
        if problem:  # such as that no worker could start
            unaware.add(pytest.ExitCode.NO_TESTS_COLLECTED)
        verdict = run_verdict(devices, tally.tests, problem, tally.not_run)
        if verdict is RunVerdict.PASSED and status != pytest.ExitCode.OK:
            problem = f"pytest ended with status {int(status)}"
            verdict = RunVerdict.ERROR
        elif verdict is not RunVerdict.PASSED and status in unaware:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
        result = RunResult(
            started=self._started,
            finished=self._started + time.monotonic() - self._began,
            command=" ".join(["pytest", *map(str, self._config.invocation_params.args)]),
            verdict=verdict,
            devices=devices,
            versions={name: metadata.version(name) for name in VERSIONS},
            tests=tuple(sorted(tally.tests, key=lambda test: (test.suite, test.id, test.device))),
            host={
                "system": platform.platform(),
                "machine": platform.machine(),
                "cores": str(os.cpu_count()),
                "python": sys.version.split()[0],
            },
            problem=problem,
            not_run=tally.not_run,
            deselected=tally.deselected,
        )
        self.result = result.fitted()
        self._lost = reports.save(self.result, self._folder)

    def _devices(self) -> list[str]:
        """The kinds that the run was asked for; the default only if a test wants a device."""
        tests = self._tally.tests
        if self._config.getoption("--device") or not tests:
            return chosen(self._config)
        used = {test.device for test in tests}
        return [kind for kind in chosen(self._config) if kind in used]

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self.result is not None:
            terminalreporter.write_line("")
            console = terminal.console(force_terminal=terminalreporter.hasmarkup)
            with console.capture() as shown:
                console.print(reports.table(self.result))
            terminalreporter.write(shown.get())
            for lost in self._lost:
                terminalreporter.write_line(f"not written: {lost}")
            page = self._folder / keeping.PAGE
            if page.exists():
                here = self._config.invocation_params.dir
                place = page.relative_to(here) if page.is_relative_to(here) else page
                terminalreporter.write_line(f"report: {place}")


class _Outermost:
    """Sees how a run really ends, after all other plugins and the suites' `conftest.py`."""

    def __init__(self, collector: Collector) -> None:
        self._collector = collector

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> Generator[None]:
        try:
            yield
        except BaseException as error:
            self._collector.end(session, error)
            raise
        self._collector.end(session, None)
