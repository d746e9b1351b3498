"""From pytest's reports to results: a verdict, its evidence and its measurements for each test."""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import sys
import time
from importlib import metadata
from pathlib import Path

import pytest
from rich.console import Console

from harness import report as reports
from harness.device import label
from harness.errors import HarnessError
from harness.evidence.results import (
    DeviceInfo,
    EvidenceFile,
    Measurement,
    RunResult,
    TestResult,
    Verdict,
    run_verdict,
)
from harness.plugin import chosen
from harness.plugin.fixtures import BENCH, CURRENT, STARTED

TAIL_LINES = 40

VERSIONS = ("paradrop", "crossbar", "autobahn", "twisted", "pytest", "pytest-testinfra", "qemu.qmp")
"""Distributions on the host that take part in every run."""

FINDING = pytest.StashKey["Finding"]()

Finding = dict[str, object]
"""A test's result while it travels with pytest's report as JSON: the fields of `TestResult`."""


def examine(item: pytest.Item, call: pytest.CallInfo[None], report: pytest.TestReport) -> None:
    """Judge one phase of a test; save the evidence of a bad one while it is still there.

    Runs where the test runs. What was found in all phases travels with the report of the last.
    """
    bench = item.config.stash.get(BENCH, None)
    current = item.config.stash.get(CURRENT, None)
    finding = item.stash.setdefault(FINDING, _unjudged(item))
    finding["seconds"] = round(finding["seconds"] + call.duration, 3)  # type: ignore[operator]
    if bench is not None:
        bench.timeline.record("test", report.when, id=_nodeid(item), outcome=report.outcome)
        finding["measurements"] = [[m.name, m.seconds, m.fault] for m in bench.measurements]
    if report.skipped:
        finding["verdict"] = Verdict.NOT_APPLICABLE
        finding["message"] = _reason(report)
    elif report.failed and call.excinfo is not None and finding["verdict"] == Verdict.PASSED:
        error, details = call.excinfo.value, report.longreprtext
        try:  # a test on a machine that has died says nothing about the router
            if bench is not None:
                bench.check()
        except HarnessError as death:
            error, details = death, f"{death}\n\n{details}"
        message = (str(error).strip() or type(error).__name__).splitlines()[0]
        finding |= {"verdict": judge(error, call.when), "message": message, "details": details}
        folder = item.config.getoption("--report")
        if folder is not None and bench is not None:
            evidence = bench.evidence(item.stash[STARTED])
            finding["evidence"] = _save(folder, _nodeid(item), evidence)
    if report.when == "teardown":
        bad = finding["verdict"] not in (Verdict.PASSED, Verdict.NOT_APPLICABLE)
        if bad and current is not None:
            current.drop()  # whatever state the device is in, no other test meets it
        if bench is not None:
            bench.measurements.clear()
        report.user_properties.append(("hil", json.dumps(finding)))


def judge(error: BaseException, phase: str) -> Verdict:
    """The verdict that an exception means.

    The harness's own errors say it themselves. Of others, only what a test itself raises speaks
    about the router: not what goes wrong around it, nor its running out of time.
    """
    if isinstance(error, HarnessError):
        return Verdict(error.verdict)
    timed_out = isinstance(error, pytest.fail.Exception) and "pytest-timeout" in str(error)
    if phase != "call" or timed_out or isinstance(error, OSError):
        return Verdict.INFRASTRUCTURE
    return Verdict.FAILED


def _unjudged(item: pytest.Item) -> Finding:
    kind = item.callspec.params["device_kind"]  # type: ignore[attr-defined]
    name = label(kind)
    doc = getattr(item.function, "__doc__", None) or ""  # type: ignore[attr-defined]
    return {
        "id": _nodeid(item)
        .replace(f"[{name}]", "")
        .replace(f"{name}-", "")
        .replace(f"-{name}]", "]"),
        "suite": item.path.stem.removeprefix("test_"),
        "title": doc.strip().partition("\n\n")[0].replace("\n", " "),
        "device": kind,
        "verdict": Verdict.PASSED,
        "seconds": 0.0,
    }


def _reason(report: pytest.TestReport) -> str:
    text = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longreprtext
    return text.removeprefix("Skipped: ").removeprefix("not applicable: ")


def _nodeid(item: pytest.Item) -> str:
    """pytest's name of a test, without the group that pytest-xdist adds to it."""
    name, _, parameters = item.nodeid.partition("[")
    return f"{name}[{parameters.rpartition(']')[0]}]"


def _save(folder: Path, nodeid: str, found: dict[str, str | Path]) -> list[list[str]]:
    """@return: name, path relative to `folder`, and tail of each file written."""
    name = re.sub(r"[^A-Za-z0-9_.-]+", "-", nodeid.rpartition("/")[2]).strip("-")
    where = Path("evidence") / name
    (folder / where).mkdir(parents=True, exist_ok=True)
    saved = []
    for title, content in found.items():
        stem = title.replace(" ", "-")
        if isinstance(content, Path):
            path = where / f"{stem}{content.suffix}"
            shutil.copyfile(content, folder / path)
            saved.append([title, path.as_posix(), f"{content.stat().st_size} bytes"])
        else:
            path = where / f"{stem}.txt"
            (folder / path).write_text(content, encoding="utf-8")
            saved.append([title, path.as_posix(), "\n".join(content.splitlines()[-TAIL_LINES:])])
    return saved


class Collector:
    """Puts the result of a whole run together and writes the report.

    With xdist it sits where the workers' reports arrive.
    """

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._folder: Path = config.getoption("--report")
        self._folder.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(self._folder / "evidence", ignore_errors=True)  # of an earlier run
        self._started, self._began = time.time(), time.monotonic()
        self._tests: list[TestResult] = []
        self._facts: dict[str, dict[str, str]] = {}
        self._problem = ""
        self.result: RunResult | None = None

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        properties = dict(report.user_properties)
        if "hil" in properties:
            finding: Finding = json.loads(str(properties["hil"]))
            self._tests.append(_result(finding))
            if "facts" in properties:
                self._facts[str(finding["device"])] = properties["facts"]  # type: ignore[assignment]
        elif report.failed and report.when not in ("setup", "call"):
            self._problem = f"{report.nodeid}: {report.longreprtext.strip().splitlines()[-1]}"

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self._problem = f"{report.nodeid} can't be collected"

    def pytest_keyboard_interrupt(self) -> None:
        self._problem = self._problem or "interrupted"  # pytest itself does, if a suite won't load

    def pytest_internalerror(self, excrepr: object) -> None:
        self._problem = str(excrepr).strip().splitlines()[-1]

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self) -> None:
        devices = tuple(
            DeviceInfo(kind, facts.pop("architecture", ""), facts)
            for kind in chosen(self._config)
            for facts in [dict(self._facts.get(kind, {}))]
        )
        self.result = RunResult(
            started=self._started,
            finished=self._started + time.monotonic() - self._began,
            command=" ".join(["pytest", *self._config.invocation_params.args]),
            verdict=run_verdict(devices, self._tests, self._problem),
            devices=devices,
            versions={name: metadata.version(name) for name in VERSIONS},
            tests=tuple(sorted(self._tests, key=lambda test: (test.suite, test.id, test.device))),
            host={
                "system": platform.platform(),
                "machine": platform.machine(),
                "cores": str(os.cpu_count()),
                "python": sys.version.split()[0],
            },
            problem=self._problem,
        )
        reports.write(self.result, self._folder)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self.result is not None:
            terminalreporter.write_line("")
            console = Console(force_terminal=terminalreporter.hasmarkup)
            with console.capture() as shown:
                console.print(reports.table(self.result))
            terminalreporter.write(shown.get())
            terminalreporter.write_line(f"report: {self._folder / 'report.html'}")


def _result(finding: dict[str, object]) -> TestResult:
    fields = dict(finding)
    fields["verdict"] = Verdict(str(fields["verdict"]))
    fields["evidence"] = tuple(EvidenceFile(*item) for item in fields.get("evidence", ()))  # type: ignore[attr-defined]
    fields["measurements"] = tuple(Measurement(*item) for item in fields.get("measurements", ()))  # type: ignore[attr-defined]
    return TestResult(**fields)  # type: ignore[arg-type]
