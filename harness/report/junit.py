"""JUnit XML, as CI servers read it."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import groupby
from xml.etree import ElementTree as ET  # writes only

from harness.evidence.results import EvidenceFile, RunResult, RunVerdict, TestResult, Verdict
from harness.report.text import printable

ELEMENTS = {
    Verdict.FAILED: "failure",
    Verdict.BOOT: "error",
    Verdict.INFRASTRUCTURE: "error",
    Verdict.SUITE: "error",
    Verdict.NOT_APPLICABLE: "skipped",
    Verdict.SKIPPED: "skipped",
    Verdict.XFAILED: "skipped",
    Verdict.XPASSED: "skipped",
}


def junit(result: RunResult) -> str:
    """The result as JUnit XML: a suite for each suite and device, `device.suite` its class name.

    A run that is no pass although nothing in it failed gets a case of its own that says so:
    no reader of the file alone may take it for green.
    """
    root = ET.Element("testsuites", name="paradrop")
    ordered = sorted(result.tests, key=_suite)
    for name, tests in groupby(ordered, key=_suite):
        _add_suite(root, name, list(tests), result)
    red = any(test.verdict.is_bad for test in result.tests)
    if result.problem or result.not_run or (result.verdict is not RunVerdict.PASSED and not red):
        suite = ET.SubElement(root, "testsuite", name="run", tests="1", errors="1")
        case = ET.SubElement(suite, "testcase", classname="run", name="the run is complete")
        message = printable(result.problem or result.sentence)
        ET.SubElement(case, "error", type="error", message=message).text = message
    if result.not_run:
        count = str(len(result.not_run))
        suite = ET.SubElement(root, "testsuite", name="not run", tests=count, skipped=count)
        for name in result.not_run:
            case = ET.SubElement(suite, "testcase", classname="not run", name=printable(name))
            ET.SubElement(
                case, "skipped", type="not run", message="it did not run, or not to its end"
            )
    suites = list(root)
    for count in ("tests", "failures", "errors", "skipped"):
        root.set(count, str(sum(int(suite.get(count, "0")) for suite in suites)))
    root.set("time", f"{result.finished - result.started:.3f}")
    ET.indent(root)
    return ET.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _suite(test: TestResult) -> str:
    return f"{test.device}.{test.suite}"


def _add_suite(root: ET.Element, name: str, tests: list[TestResult], result: RunResult) -> None:
    kinds = [ELEMENTS.get(test.verdict) for test in tests]
    suite = ET.SubElement(
        root,
        "testsuite",
        name=printable(name),
        tests=str(len(tests)),
        failures=str(kinds.count("failure")),
        errors=str(kinds.count("error")),
        skipped=str(kinds.count("skipped")),
        time=f"{sum(test.seconds for test in tests):.3f}",
        timestamp=datetime.fromtimestamp(result.started, UTC).strftime("%Y-%m-%dT%H:%M:%S"),
    )
    facts = [device.facts for device in result.devices if device.name == tests[0].device]
    _add_properties(suite, [(k, v) for fact in [result.versions, *facts] for k, v in fact.items()])
    for test in tests:
        _add_case(suite, test)


def _add_case(suite: ET.Element, test: TestResult) -> None:
    case = ET.SubElement(
        suite,
        "testcase",
        classname=printable(_suite(test)),
        name=printable(test.id.rpartition("::")[2]),
        file=printable(test.id.partition("::")[0]),
        time=f"{test.seconds:.3f}",
    )
    times = [(f"{m.name} after {m.fault}" if m.fault else m.name, m) for m in test.measurements]
    _add_properties(case, [(name, f"{item.seconds:.3f}") for name, item in times])
    if test.verdict in ELEMENTS:
        kind = ET.SubElement(
            case, ELEMENTS[test.verdict], type=test.verdict, message=printable(test.message)
        )
        kind.text = printable(test.details)
    if test.evidence:
        ET.SubElement(case, "system-out").text = "\n\n".join(map(_left, test.evidence))


def _left(file: EvidenceFile) -> str:
    if not file.path:
        return printable(f"{file.name}: {file.tail}")
    return printable(f"{file.name} ({file.path})\n{file.tail}")


def _add_properties(parent: ET.Element, items: list[tuple[str, str]]) -> None:
    if items:
        properties = ET.SubElement(parent, "properties")
        for name, value in items:
            ET.SubElement(properties, "property", name=printable(name), value=printable(value))
