"""What became of every test that pytest collected, as pytest itself says it.

The result that a test travels with (see `harness.plugin.collector.examine`) says more than pytest
knows, but it can never be better: what pytest reported decides. A test without such a result, such
as one whose worker crashed, is told by pytest's reports alone.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from typing import Any

import pytest

from harness.evidence.results import (
    NO_DEVICE,
    EvidenceFile,
    Measurement,
    TestResult,
    Verdict,
)
from harness.plugin import DESELECTED
from harness.plugin.naming import suite, ungrouped
from harness.plugin.workers import Plans

CRASHED = "???"
"""What pytest-xdist calls the phase of a test whose worker ended."""

CRASH = "the worker ended while it ran this test"

FINDING, FACTS = "hil-finding", "hil-facts"
"""The properties of pytest's reports that a test's result, and what its device is made of, travel
in, as JSON."""


class Tally:
    """Sits where the reports of all tests arrive; with xdist, those of all workers.

    @ivar problem: why the run as a whole can't be trusted, if it can't.
    """

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._wanted: Counter[str] = Counter()
        self._open: dict[tuple[str, str], list[pytest.TestReport]] = {}
        self._ended: Counter[str] = Counter()
        self._not_run: list[str] = []
        self._deselected: dict[str, int] = {}
        self._plans = Plans()
        config.pluginmanager.register(self._plans, "hil-plans")
        self._died: dict[str, str] = {}
        self.tests: list[TestResult] = []
        self.facts: dict[str, dict[str, str]] = {}
        self.problem = ""

    @property
    def not_run(self) -> tuple[str, ...]:
        """Names of the tests that should have run and did not, or did not end."""
        begun = [name for _, name in self._open]
        missing = self._wanted - self._ended - Counter(self._not_run) - Counter(begun)
        return tuple(sorted([*self._not_run, *begun, *missing.elements()]))

    @property
    def deselected(self) -> int:
        """How many tests were left out on purpose; each worker leaves out the same ones."""
        own = self._config.stash.get(DESELECTED, 0)
        return max([own, *self._deselected.values()])

    # -- what pytest tells

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        self._wanted |= Counter(ungrouped(item.nodeid) for item in session.items)

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, node: Any, ids: list[str]) -> None:
        self._wanted |= Counter(ungrouped(nodeid) for nodeid in ids)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any, error: object) -> None:
        if error is not None:
            self._died[node.gateway.id] = str(error)
        output = getattr(node, "workeroutput", {})
        self._deselected[node.gateway.id] = output.get("hil_deselected", 0)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.passed:
            return
        text = _reason(report) if report.skipped else _last_line(report)
        verdict = Verdict.SKIPPED if report.skipped else Verdict.SUITE
        details = "" if report.skipped else report.longreprtext
        if all(test.id != report.nodeid for test in self.tests):  # each worker reports it
            self.tests.append(
                TestResult(
                    report.nodeid, suite(report.nodeid), "", NO_DEVICE, verdict, 0.0, text, details
                )
            )
        if report.failed:
            self.problem = f"{report.nodeid} can't be collected"

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if hasattr(report, "context") and not report.failed:
            return  # of a part of a test (`subtests`), which alone decides nothing
        worker = getattr(report, "node", None)
        key = (worker.gateway.id if worker is not None else "", ungrouped(report.nodeid))
        if report.when == CRASHED:
            self._died.pop(key[0], None)
        if report.when == "setup" and key in self._open:  # it is tried again
            self._end(key[1], self._open.pop(key))
        self._open.setdefault(key, []).append(report)
        if report.when not in ("setup", "call"):  # its end, or that of its worker
            self._end(key[1], self._open.pop(key))

    def pytest_keyboard_interrupt(self) -> None:
        self.problem = self.problem or "interrupted"  # pytest itself does, if a suite won't load

    def pytest_internalerror(self, excrepr: object) -> None:
        self.problem = str(excrepr).strip().splitlines()[-1]

    # -- what that means

    def close(self) -> None:
        """Call this when no more reports come: a test that failed and did not end has failed."""
        for key, reports in list(self._open.items()):
            if any(report.failed for report in reports):
                self._end(key[1], self._open.pop(key))
        if self._died and not self.problem:
            names = ", ".join(sorted(self._died))
            self.problem = f"a worker ended by itself, outside of any test ({names})"

    def _end(self, name: str, reports: list[pytest.TestReport]) -> None:
        self._ended[name] += 1
        found = self._found(name, reports)
        verdict, message, details = outcome(reports)
        known = Verdict(found["verdict"])
        if verdict is None and not known.is_bad:  # such as with --setup-plan
            self._ended[name] -= 1
            self._not_run.append(name)
            return
        agree = known is Verdict.NOT_APPLICABLE and verdict is Verdict.SKIPPED
        if not known.is_bad and not agree:
            found |= {"verdict": verdict, "message": message}
            found["details"] = found.get("details") or details
        self.tests.append(_result(found))

    def _found(self, name: str, reports: list[pytest.TestReport]) -> dict[str, Any]:
        """What the test itself has found out, as far as it has said so."""
        found: dict[str, Any] = {}
        for report in reports:
            properties = _ours(report.user_properties)
            found |= json.loads(properties.get(FINDING, "{}"))
            if FACTS in properties and "device" in found:
                self.facts[found["device"]] = json.loads(properties[FACTS])
        known = found or self._plans.find(name) or _nameless(name)
        if not found:
            known["seconds"] = round(sum(report.duration for report in reports), 3)
        return known


def outcome(reports: list[pytest.TestReport]) -> tuple[Verdict | None, str, str]:
    """The verdict, message and details that follow from pytest's reports of one test.

    @return: None for a verdict if the test did not run.
    """
    for report in reports:
        if report.when == CRASHED:
            return Verdict.INFRASTRUCTURE, CRASH, report.longreprtext
        if report.failed:
            known = report.when == "call"
            verdict = Verdict.FAILED if known else Verdict.INFRASTRUCTURE
            return verdict, _last_line(report), report.longreprtext
    for report in reports:
        if report.skipped and hasattr(report, "wasxfail"):
            return Verdict.XFAILED, _first_line(report.wasxfail), report.longreprtext
    for report in reports:
        if report.skipped:
            return Verdict.SKIPPED, _reason(report), ""
    for report in reports:
        if hasattr(report, "wasxfail"):
            return Verdict.XPASSED, _first_line(report.wasxfail), ""
    ran = any(report.when == "call" and report.passed for report in reports)
    return (Verdict.PASSED if ran else None), "", ""


def _ours(properties: Iterable[object]) -> dict[str, str]:
    """The last of each of our properties: a suite may leave there whatever it likes."""
    found: dict[str, str] = {}
    for each in properties:
        if isinstance(each, tuple | list) and len(each) == 2:
            name, value = each
            if isinstance(name, str) and name in (FINDING, FACTS) and isinstance(value, str):
                found[name] = value
    return found


def _nameless(name: str) -> dict[str, Any]:
    """The result of a test of which only pytest's name is known."""
    known = {"id": name, "suite": suite(name), "title": "", "device": NO_DEVICE}
    return known | {"verdict": Verdict.PASSED}


def _reason(report: pytest.TestReport | pytest.CollectReport) -> str:
    text = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longreprtext
    return _first_line(text.removeprefix("Skipped: "))


def _first_line(text: object) -> str:
    return str(text).strip().partition("\n")[0]


def _last_line(report: pytest.TestReport | pytest.CollectReport) -> str:
    crash = getattr(report.longrepr, "reprcrash", None)
    text = crash.message if crash is not None else report.longreprtext
    lines = [line for line in str(text).strip().splitlines() if line.strip()] or ["it failed"]
    return lines[0 if crash is not None else -1].removeprefix("E").strip()


def _result(finding: dict[str, Any]) -> TestResult:
    fields = dict(finding)
    fields["verdict"] = Verdict(fields["verdict"])
    fields["evidence"] = tuple(EvidenceFile(*item) for item in fields.get("evidence", ()))
    fields["measurements"] = tuple(Measurement(*item) for item in fields.get("measurements", ()))
    return TestResult(**fields)
