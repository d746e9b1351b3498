"""CI servers read of the JUnit file what the run found, and never more green than it was."""

from dataclasses import replace
from xml.etree import ElementTree as ET

import samples

from harness.evidence.results import RunVerdict, Verdict
from harness.report import junit


def test_verdicts_become_failures_errors_and_skipped() -> None:
    root = ET.fromstring(junit(samples.mixed()))
    assert {name: root.get(name) for name in ("tests", "failures", "errors", "skipped")} == {
        "tests": "72",
        "failures": "2",
        "errors": "2",
        "skipped": "2",
    }
    kinds = {(item.tag, item.get("type")) for case in root.iter("testcase") for item in case}
    assert kinds >= {
        ("failure", "failed"),
        ("error", "error: boot"),
        ("error", "error: infrastructure"),
        ("skipped", "not applicable"),
    }


def test_a_case_names_its_device_its_message_and_its_evidence() -> None:
    root = ET.fromstring(junit(samples.mixed()))
    case = root.find(".//*[@classname='qemu-x86_64.reconnect'][@name='test_router_restarted']")
    assert case is not None
    assert case.get("file") == "hil/test_reconnect.py"
    failure = case.find("failure")
    assert failure is not None
    assert failure.get("message") == "no new session within 60 s after the router restarted"
    assert "DeviceError" in (failure.text or "")
    assert "daemon.log" in (case.findtext("system-out") or "")


def test_measurements_and_versions_are_properties() -> None:
    root = ET.fromstring(junit(samples.passing()))
    names = [item.get("name") for item in root.iter("property")]
    assert names.count("rejoin after router killed") == 8
    assert {"crossbar", "image", "library wheel"} <= set(names)


def test_what_xml_cannot_hold_does_not_break_it() -> None:
    text = "\x00\x1b[31mred\x1b[0m \ud800 ]]> & <b> \ufffe"
    root = ET.fromstring(junit(samples.mixed(2, text)).encode())
    message = next(root.iter("failure")).get("message") or ""
    assert "\ufffdred \ufffd ]]> & <b> \ufffd" in message


def test_a_run_that_did_not_pass_is_red_even_if_every_test_is_green() -> None:
    passing = samples.passing()
    for run in (
        replace(passing, verdict=RunVerdict.ERROR, problem="interrupted"),
        replace(passing, verdict=RunVerdict.ERROR, tests=()),
    ):
        root = ET.fromstring(junit(run))
        assert root.get("errors") == "1"
        assert root.find(".//testcase[@classname='run']/error") is not None


def test_a_passing_run_is_green() -> None:
    root = ET.fromstring(junit(samples.passing()))
    assert [root.get(name) for name in ("failures", "errors", "skipped")] == ["0", "0", "0"]


def test_each_verdict_but_passed_has_an_element() -> None:
    for verdict in Verdict:
        run = samples.passing(1)
        root = ET.fromstring(junit(replace(run, tests=(replace(run.tests[0], verdict=verdict),))))
        assert len(next(root.iter("testcase"))) == (verdict is not Verdict.PASSED)
