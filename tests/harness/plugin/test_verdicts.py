"""How each way for a test to end is told in the result; one run of a suite that does them all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

SUITE = '''
"""Does not need an emulated router to go wrong in every way."""
import os, signal, threading
from pathlib import Path
import pytest
from harness.errors import BootError, DeviceError, InfrastructureError
from harness.evidence.results import Measurement

HERE = Path(__file__).parent

def daemon_lives(device):
    device.succeed("kill -0 $(cat {}/paradropd.pid)".format(device.runtime_home))

@pytest.fixture
def broken():
    assert False, "the fixture is wrong"

@pytest.fixture
def no_boot():
    raise BootError("it did not come up")

@pytest.fixture
def no_join():
    raise DeviceError("did not join")

@pytest.fixture
def tidied(device):
    yield
    daemon_lives(device)
    (HERE / "tidied").touch()

@pytest.fixture
def breaks_later():
    yield
    raise ValueError("broken later")

def test_passes(device, host, bench):
    """It is fine.

    More of it."""
    assert host.backend.NAME == "device"
    assert host.run("echo hello").stdout == "hello\\n"
    bench.measurements.append(Measurement("rejoin", 1.5, "router restarted"))
    (HERE / "first").write_text(device.name)

def test_shares_the_device(device):
    assert device.name == (HERE / "first").read_text()

def test_fails(device, tidied):
    """The router is wrong."""
    device.wan(1)
    assert device.name == "another\\nof two lines"

def test_gets_another_device(device):
    assert device.name != (HERE / "first").read_text()
    daemon_lives(device)

@pytest.mark.fresh
def test_gets_a_fresh_device(device):
    (HERE / "fresh").write_text(device.name)

def test_does_not_get_the_fresh_one(device):
    assert device.name != (HERE / "fresh").read_text()

def test_with_a_daemon_that_died(device):
    device.run("kill -9 $(cat {}/paradropd.pid)".format(device.runtime_home))
    while Path("/proc/{}".format(device._child.pid)).exists() and device._child.running:
        pass
    assert False, "the consequence"

def test_with_a_router_that_died(node, device):
    os.kill(node._child.pid, signal.SIGKILL)
    node._child.wait(10)
    assert False, "the consequence"

def test_with_a_router_that_was_stopped(node, device):
    node.stop()
    assert False, "while there was none"

def test_raises(device_kind):
    raise DeviceError("did the wrong thing", evidence="its last words")

def test_raises_something(device_kind):
    {}["nothing"]

def test_meets_the_system(device_kind):
    Path("/nowhere/file").read_text()

def test_meets_the_harness(device_kind):
    raise InfrastructureError("QEMU is gone")

@pytest.mark.timeout(0.3)
def test_takes_too_long(device_kind):
    threading.Event().wait()

def test_of_a_broken_fixture(device_kind, broken): pass
def test_of_no_boot(device_kind, no_boot): pass
def test_of_no_join(device_kind, no_join): pass
def test_breaks_later(device_kind, breaks_later): pass

@pytest.mark.needs("rootfs", "link")
def test_needs_more(device): pass

def test_skips(device_kind):
    pytest.skip("no reason")

@pytest.mark.parametrize("word", ["a", "b"])
def test_of_two(device_kind, word): pass
'''

FAILED, BOOT, INFRASTRUCTURE = "failed", "error: boot", "error: infrastructure"
SUITE_ERROR = "error: suite"

EXPECTED = {
    "test_passes": ("passed", ""),
    "test_shares_the_device": ("passed", ""),
    "test_fails": (FAILED, "another"),
    "test_gets_another_device": ("passed", ""),
    "test_gets_a_fresh_device": ("passed", ""),
    "test_does_not_get_the_fresh_one": ("passed", ""),
    "test_with_a_daemon_that_died": (FAILED, "the daemon ended by itself, status -9"),
    "test_with_a_router_that_died": (INFRASTRUCTURE, "crossbar ended with status -9"),
    "test_with_a_router_that_was_stopped": (FAILED, "while there was none"),
    "test_raises": (FAILED, "did the wrong thing"),
    "test_raises_something": (SUITE_ERROR, "KeyError: 'nothing'"),
    "test_meets_the_system": (INFRASTRUCTURE, "No such file"),
    "test_meets_the_harness": (INFRASTRUCTURE, "QEMU is gone"),
    "test_takes_too_long": (INFRASTRUCTURE, "pytest-timeout"),
    "test_of_a_broken_fixture": (FAILED, "the fixture is wrong"),
    "test_of_no_boot": (BOOT, "it did not come up"),
    "test_of_no_join": (FAILED, "did not join"),
    "test_breaks_later": (SUITE_ERROR, "ValueError: broken later"),
    "test_needs_more": ("not applicable", "process has no rootfs"),
    "test_skips": ("skipped", "no reason"),
    "test_of_two[a]": ("passed", ""),
    "test_of_two[b]": ("passed", ""),
}


@pytest.fixture(scope="module")
def ran(suites: Callable[..., Any]) -> Any:
    made = suites(test_verdicts=SUITE)
    made.status, made.output = made.run()
    return made


@pytest.mark.parametrize("name", EXPECTED)
def test_verdict_and_message(ran: Any, name: str) -> None:
    verdict, message = EXPECTED[name]
    found = ran.test(name)
    assert (found["verdict"], message in found["message"]) == (verdict, True), found
    assert "\n" not in found["message"]
    assert not found["message"].startswith("Skipped")


def test_the_run_is_told_as_a_whole(ran: Any) -> None:
    result = ran.result
    assert ran.status == 1
    assert (result["verdict"], result["problem"]) == ("failed", "")
    assert len(result["tests"]) == len(EXPECTED)
    assert result["devices"][0]["name"] == "process"
    assert result["devices"][0]["facts"]["paradrop"]
    assert result["versions"]["crossbar"]
    assert "report.html" in ran.output
    assert {path.name for path in ran.report.iterdir()} == {
        "report.html",
        "junit.xml",
        "result.json",
        "evidence",
    }


def test_a_title_and_measurements_travel(ran: Any) -> None:
    found = ran.test("test_passes")
    assert (found["title"], found["suite"], found["device"]) == (
        "It is fine.",
        "verdicts",
        "process",
    )
    assert found["seconds"] > 0
    assert found["measurements"] == [
        {"name": "rejoin", "seconds": 1.5, "fault": "router restarted"}
    ]
    assert ran.test("test_shares_the_device")["measurements"] == []


def test_evidence_is_written_and_listed(ran: Any) -> None:
    found = ran.test("test_fails")
    assert "another" in found["details"]
    files = {item["name"]: ran.report / item["path"] for item in found["evidence"]}
    assert set(files) >= {"console", "crossbar", "time line"}
    for item in found["evidence"]:
        content = files[item["name"]].read_text()
        assert content.splitlines()[-1:] == item["tail"].splitlines()[-1:]
    assert ran.test("test_passes")["evidence"] == []


def test_the_time_line_is_the_tests_own(ran: Any) -> None:
    def events(name: str) -> list[str]:
        found = {item["name"]: item["path"] for item in ran.test(name)["evidence"]}
        return (ran.report / found["time line"]).read_text().splitlines()  # type: ignore[no-any-return]

    assert any('"died"' in line for line in events("test_with_a_router_that_died"))
    stopped = events("test_with_a_router_that_was_stopped")
    assert any('"stop"' in line for line in stopped)
    assert not any('"died"' in line for line in stopped)


def test_an_error_carries_its_evidence(ran: Any) -> None:
    assert "its last words" in ran.test("test_raises")["details"]


def test_fixtures_use_the_device_of_a_failed_test_to_the_end(ran: Any) -> None:
    assert (ran.folder / "tidied").exists()
