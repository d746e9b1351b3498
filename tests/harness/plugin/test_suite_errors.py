"""A suite's own mistakes are told from those of the device, and of this computer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

CONFTEST = """
import pytest

@pytest.fixture
def slips_in_conftest():
    return nothing

def helper(answer):
    return answer["missing"]

def checks(answer):
    assert answer == "right", "the helper says no"
"""

SUITE = """
import asyncio, json, subprocess, sys, warnings
import pytest
import yaml
from conftest import checks, helper
from harness.errors import BootError, DeviceError, InfrastructureError, UsageError

@pytest.fixture
def powered(device):
    device.power.cut()
    yield
    device.power.on()

# -- what a device lacks, or was not asked for

def test_clock(device): device.clock.now()
def test_clock_set(device): device.clock.set(0)
def test_power(device): device.power.cycle()
def test_crash(device): device.crash()
def test_freeze(device):
    with device.freeze.held(): pass
def test_link(device):
    with device.link("wan").unplugged(): pass
def test_snapshot(device): device.snapshot()
def test_restore(device): device.restore(None)
def test_fork(device): device.fork(2)
def test_devices(devices): devices(2)
def test_fault_of_a_fixture(powered): pass
@pytest.mark.needs("power")
def test_another_fault(device):
    with device.freeze.held(): pass
@pytest.mark.needs("link")
def test_unknown_cable(device): device.link("lan")
def test_unknown_attribute(device): device.clokc
@pytest.mark.needs("power", "freeze", "link", "several")
def test_asked_for_all(device, devices, powered):
    with device.freeze.held(): pass
    with device.link("wan").unplugged(): pass
    (other,) = devices(1)
    other.power.cut()

# -- what goes wrong in the test itself

def test_name(device_kind): nothing
def test_key(device_kind): {}["missing"]
def test_index(device_kind): [][1]
def test_type(device_kind): len(3)
def test_value(device_kind): int("three")
def test_attribute(device_kind): "text".missing
def test_zero(device_kind): 1 / 0
def test_import(device_kind): import nothing_of_this_name
def test_import_of_a_name(device_kind): from json import nothing_of_this_name
def test_arguments(device): device.succeed()
def test_arguments_of_a_helper(device_kind): helper()
def test_helper(device_kind): helper({})
def test_in_an_assertion(device_kind): assert nothing == 1
def test_json(device_kind): json.loads("{")
def test_yaml(device_kind): yaml.safe_load("[")
def test_lambda(device, log):
    device.daemon("restart")
    log.wait_for("daemon.started", where=lambda record: record["missing"])
def test_while_handling(device_kind):
    try:
        raise DeviceError("wrong")
    except DeviceError:
        nothing
def test_recursion(device_kind): test_recursion(device_kind)
def test_program(device_kind): subprocess.run(["false"], check=True)
def test_exits(device_kind): sys.exit(0)
def test_not_implemented(device_kind): raise NotImplementedError
@pytest.mark.filterwarnings("error")
def test_warning(device_kind): warnings.warn("old")
def test_group(device_kind): raise ExceptionGroup("both", [KeyError("a"), AssertionError("b")])
class Silent(Exception):
    def __str__(self): raise ValueError
def test_of_an_exception_without_words(device_kind): raise Silent
async def test_asynchronous(device_kind): pass
def test_unknown_fixture(device_kind, no_fixture): pass
def test_unknown_fixture_later(device_kind, request): request.getfixturevalue("no_fixture")
def test_slips_in_conftest(device_kind, slips_in_conftest): pass
def test_usage(device_kind): raise UsageError("no such thing")
def test_enrolls_nonsense(device_kind, node): node.enroll("no id")

# -- what the device does wrong

def test_assertion(device_kind): assert 1 == 2
def test_assertion_of_a_helper(device_kind): checks("wrong")
def test_error_of_the_device(device): device.succeed("false")
def test_fail(device_kind): pytest.fail("it is wrong")
def test_did_not_raise(device_kind):
    with pytest.raises(DeviceError): pass
def test_raised_another_text(device_kind):
    with pytest.raises(DeviceError, match="this"): raise DeviceError("that")
def test_missing_file(host): host.file("/nowhere").content_string
def test_failing_command(host): host.check_output("false")
def test_group_of_failures(device_kind):
    raise ExceptionGroup("both", [DeviceError("a"), AssertionError("b")])
def test_from_a_cause(device_kind):
    try:
        {}["missing"]
    except KeyError as error:
        raise DeviceError("it did not answer") from error

# -- what this computer does wrong

def test_system(device_kind): open("/nowhere/file")
def test_time_out(device_kind): raise TimeoutError
def test_harness(device_kind): raise InfrastructureError("QEMU is gone")
def test_boot(device_kind): raise BootError("it did not boot")
def test_in_the_harness(bench, device_kind): bench.router_url(None)
def test_group_with_the_harness(device_kind):
    raise ExceptionGroup("both", [NameError("a"), InfrastructureError("gone"), DeviceError("c")])
"""

EXPECTED = {}
verdict = ""
for line in SUITE.splitlines():
    if line.startswith("# -- "):
        verdict = {
            "what a device lacks, or was not asked for": "error: suite",
            "what goes wrong in the test itself": "error: suite",
            "what the device does wrong": "failed",
            "what this computer does wrong": "error: infrastructure",
        }[line.removeprefix("# -- ")]
    elif "def test_" in line:
        EXPECTED[line[line.index("test_") : line.index("(")]] = verdict
EXPECTED |= {"test_asked_for_all": "passed", "test_boot": "error: boot"}

MISSING = {
    "test_clock": "clock",
    "test_clock_set": "clock",
    "test_power": "power",
    "test_crash": "power",
    "test_freeze": "freeze",
    "test_link": "link",
    "test_snapshot": "snapshot",
    "test_restore": "snapshot",
    "test_fork": "snapshot",
    "test_devices": "several",
    "test_fault_of_a_fixture": "power",
    "test_another_fault": "freeze",
}


@pytest.fixture(scope="module")
def ran(suites: Callable[..., Any]) -> Any:
    made = suites(conftest=CONFTEST, test_slips=SUITE)
    made.status, made.output = made.run()
    return made


@pytest.mark.parametrize("name", EXPECTED)
def test_who_is_to_blame(ran: Any, name: str) -> None:
    found = ran.test(name)
    assert found["verdict"] == EXPECTED[name], found
    assert found["message"] or EXPECTED[name] == "passed"


@pytest.mark.parametrize("name", MISSING)
def test_the_missing_mark_is_named(ran: Any, name: str) -> None:
    assert f'needs("{MISSING[name]}") is missing' in ran.test(name)["message"]


def test_the_exception_is_named(ran: Any) -> None:
    assert ran.test("test_key")["message"] == "KeyError: 'missing'"
    assert ran.test("test_name")["message"].startswith("NameError: ")
    for name in ("test_unknown_fixture", "test_unknown_fixture_later"):
        assert ran.test(name)["message"] == "there is no fixture 'no_fixture'"
    assert ran.test("test_of_an_exception_without_words")["message"] == "Silent"
    assert "there are: wan" in ran.test("test_unknown_cable")["message"]


def test_nothing_is_lost(ran: Any) -> None:
    assert len(ran.result["tests"]) == len(EXPECTED)
    assert ran.result["not_run"] == []
    assert ran.status == 1


def test_a_suite_error_condemns_no_build(suites: Callable[..., Any]) -> None:
    made = suites(test_any="def test_a(device_kind): pass\ndef test_b(device_kind): nothing\n")
    status, output = made.run()
    assert (status, made.result["verdict"]) == (1, "error")
    assert "1 suite error" in output
