"""Test runs on the places of a real lab: a coordinator, two exporters, routers of ours."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from labgrid.remote.generated.labgrid_coordinator_pb2 import AcquirePlaceRequest
from laboratory import LIMIT, Lab, Run

from harness.child import Child
from harness.device import loop
from harness.device.labgrid import place, plan
from harness.errors import InfrastructureError, UsageError
from harness.lab.control import Control
from harness.lab.exporter import OFFERS, REST, export
from harness.lab.router import Access, Router

pytestmark = pytest.mark.timeout(400)

ENDS = """
import pytest

@pytest.mark.needs("reboot")
def test_reboots(device, rejoins):
    with rejoins("reboot -f"):
        device.reboot.by("reboot -f")

def test_panics(device):
    device.run("echo c > /proc/sysrq-trigger", 10)
"""

WAITS = """
import time
from pathlib import Path

def test_waits(device, pdid, operator):
    Path("started").touch()
    while not Path("go").exists():
        device.succeed("sleep 0.2")
    assert operator.status(pdid)["pdid"] == pdid
"""

EVERYTHING = r"""
import pytest, time
from harness.errors import CommandError, InfrastructureError

@pytest.mark.needs("power", "link", "clock", "rootfs")
def test_everything(device, pdid, operator, rejoins):
    done = device.run("printf 'o\\nut'; echo err >&2; exit 3")
    assert (done.status, done.stdout, done.stderr) == (3, b"o\nut", b"err\n")
    assert device.run("exit 255").status == 255
    data = bytes(range(256)) * 1000
    device.write("/etc/paradrop/it's a file", data, 0o600, "paradrop")
    assert device.read("/etc/paradrop/it's a file") == data
    assert device.succeed("stat -c '%a %U' /etc/paradrop/it*") == "600 paradrop\n"
    with pytest.raises(CommandError, match="can't read /nowhere.*No such file"):
        device.read("/nowhere")
    with pytest.raises(InfrastructureError, match="no end within 1 s"):
        device.run("sleep 60", 1)
    device.clock.set(2_000_000_000)
    assert 0 <= device.clock.now() - 2_000_000_000 < 30
    device.clock.reset()
    with device.link("wan").unplugged():
        device.wait_until_succeeds("grep -q 0 /sys/class/net/eth1/carrier", 30)
    device.wait_until_succeeds("grep -q 1 /sys/class/net/eth1/carrier", 30)
    device.succeed("sync")
    before = device.succeed("cat /proc/sys/kernel/random/boot_id")
    with rejoins("power cycled"):
        device.power.cut()
        with pytest.raises(InfrastructureError, match="is powered off"):
            device.run("true")
        device.power.on()
    assert device.succeed("cat /proc/sys/kernel/random/boot_id") != before
    assert "paradrop: router ready" in device.evidence()["console"]
    assert set(device.access()) == {"console", "labgrid"}
    assert device.facts()["exported"] == "qemu-x86_64"

def test_it_is_kept_and_blank(device, blank):
    assert not device.run("ls /etc/paradrop/keys").text

@pytest.mark.fresh
def test_a_fresh_one_is_another(device, blank):
    device.fail("ls /etc/paradrop/it*")
"""

NEEDS = """
import pytest

@pytest.mark.needs("power", "link")
def test_power_and_link(device): pass

@pytest.mark.needs("freeze")
def test_freeze(device): pass

def test_commands(device):
    device.succeed("true")
"""


@pytest.fixture(scope="module")
def one(lab: Lab) -> Child:
    return lab.export("one", "first")


@pytest.fixture(scope="module")
def two(lab: Lab, one: Child) -> Child:
    return lab.export("two", "second", "third")


@pytest.fixture
def coordinator(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The lab is that of this process, too."""
    monkeypatch.setenv("LG_COORDINATOR", lab.address)
    plan.plan.cache_clear()
    yield lab.address
    place.give_up()
    plan.plan.cache_clear()


def test_a_place_is_a_device(two: Child, run: Callable[..., Run]) -> None:
    done = run(EVERYTHING, "--device", "labgrid:second")
    assert done.wait() == 0, done.output
    assert [test["verdict"] for test in done.result["tests"]] == 3 * ["passed"]
    assert done.result["devices"][0]["facts"]["place"] == "second"


def test_of_two_runs_the_one_whose_exporter_dies_says_so_and_the_other_goes_on(
    lab: Lab, one: Child, two: Child, run: Callable[..., Run]
) -> None:
    lost, kept = (run(WAITS, "--device", f"labgrid:{place}") for place in ("first", "third"))
    for each in (lost, kept):
        each.wait_until_exists("started")
    assert lab.client("who").count("\n") >= 2
    one.kill()
    assert lost.wait() == 1, lost.output
    test = lost.test("test_waits")
    assert test["verdict"] == "error: infrastructure", lost.output
    assert "exporter one is gone" in test["message"]
    (kept.folder / "go").touch()
    assert kept.wait() == 0, kept.output
    assert kept.test("test_waits")["verdict"] == "passed"


def test_a_place_that_another_run_has_is_waited_for(two: Child, run: Callable[..., Run]) -> None:
    first = run(WAITS, "--device", "labgrid:third")
    first.wait_until_exists("started")
    second = run(WAITS, "--device", "labgrid:third")
    (second.folder / "go").touch()
    deadline = time.monotonic() + LIMIT
    while "place 'third' is held by" not in second.output:
        assert time.monotonic() < deadline, second.output
        time.sleep(0.05)
    assert not (second.folder / "started").exists()
    (first.folder / "go").touch()
    assert (first.wait(), second.wait()) == (0, 0), second.output


def test_what_a_place_lacks_makes_tests_not_applicable(
    lab: Lab, two: Child, run: Callable[..., Run]
) -> None:
    lab.client("-p", "bare", "create")
    lab.client("-p", "bare", "add-match", "two/third/NetworkService")
    done = run(NEEDS, "--device", "labgrid:bare")
    assert done.wait() == 0, done.output
    test = done.test("test_power_and_link")
    assert test["verdict"] == "not applicable"
    assert "labgrid:bare has no" in test["message"]
    assert "power (the place has no power driver)" in test["message"]
    assert "link (the place has no digital output named wan)" in test["message"]
    assert "labgrid:bare has no freeze" in done.test("test_freeze")["message"]
    assert done.test("test_commands")["verdict"] == "passed"
    assert "bare" not in lab.client("who")


def test_a_router_that_dies_is_no_fault_of_the_router(two: Child, run: Callable[..., Run]) -> None:
    done = run(WAITS, "--device", "labgrid:second")
    done.wait_until_exists("started")
    (qemu,) = _children(two.pid)
    os.kill(qemu, signal.SIGKILL)
    assert done.wait() == 1
    test = done.test("test_waits")
    assert test["verdict"] == "error: infrastructure", done.output
    assert "QEMU ended by itself, status -9" in test["message"]
    assert "second: QEMU ended by itself, status -9" in two.log.read_text()


def test_a_router_of_a_lab_reboots_and_its_panic_is_its_own(
    two: Child, run: Callable[..., Run]
) -> None:
    done = run(ENDS, "--device", "labgrid:third")
    assert done.wait() == 1, done.output
    assert done.test("test_reboots")["verdict"] == "passed", done.output
    test = done.test("test_panics")
    assert test["verdict"] == "failed", done.output
    assert "the kernel panicked: sysrq triggered crash" in test["message"]


def test_a_reservation_that_somebody_made_is_used(
    lab: Lab, two: Child, run: Callable[..., Run]
) -> None:
    said = lab.client("reserve", "--shell", "--wait", "kind=qemu-x86_64", "name=second")
    token = said.strip().partition("LG_TOKEN=")[2]
    done = run(WAITS, "--device", f"labgrid:+{token}")
    (done.folder / "go").touch()
    assert done.wait() == 0, done.output
    assert token in lab.client("reservations")
    lab.client("cancel-reservation", token)


class TestEnvironment:
    """What is written down in a file of labgrid's."""

    def test_a_place_with_drivers_of_its_own(
        self, two: Child, run: Callable[..., Run], tmp_path: Path
    ) -> None:
        """Commands on the serial console, and no power."""
        shell = {"prompt": "[^ ]*# ", "login_prompt": "never: ", "username": "root"}
        target = {
            "resources": {"RemotePlace": {"name": "third"}},
            "drivers": {"SerialDriver": {}, "ShellDriver": shell},
        }
        file = tmp_path / "env.yaml"
        file.write_text(yaml.safe_dump({"targets": {"main": target}}))
        suite = r"""
            import pytest
            def test_commands(device, pdid):
                assert device.succeed("printf 'a\\nb'") == "a\nb"
                assert device.run("exit 3").status == 3
                device.write("/run/file", b"x" * 3000 + b"\n")
                assert device.read("/run/file") == b"x" * 3000 + b"\n"
            @pytest.mark.needs("power")
            def test_power(device): pass
        """
        done = run(suite, "--device", f"labgrid:{file}")
        assert done.wait() == 0, done.output
        assert done.test("test_commands")["verdict"] == "passed"
        power = done.test("test_power")
        wanted = "labgrid:env.yaml has no power (the place has no power driver)"
        assert wanted in power["message"]


BOARD = """
import pytest
from pathlib import Path

def test_it_joins_through_ssh(device, pdid, operator):
    device.succeed("netstat -lnt | grep 127.0.0.1:")
    assert operator.status(pdid)["pdid"] == pdid

@pytest.mark.needs("power")
def test_the_way_is_there_again_after_a_power_cut(device, rejoins):
    device.succeed("sync")
    with rejoins("power cycled"):
        device.power.cycle()

@pytest.mark.needs("reboot")
def test_the_way_is_there_again_after_a_reboot(device, rejoins):
    with rejoins("reboot"):
        device.reboot.by("reboot")

@pytest.mark.fresh
def test_it_is_blank_again(device, blank):
    assert not device.run("ls /etc/paradrop/keys").text

@pytest.mark.needs("link", "rootfs")
def test_link_and_rootfs(device): pass
"""


@pytest.fixture
def board(tmp_path: Path) -> Iterator[Access]:
    """A router on a desk: reached over SSH, on a switched socket; of no lab."""
    control = Control()
    router = Router("qemu-x86_64", tmp_path / "board", control)
    router.take("desk")
    try:
        assert router.loan is not None
        while router.loan.access is None:
            assert not router.loan.problem
            time.sleep(0.05)
        yield router.loan.access
    finally:
        router.close()
        control.close()


@pytest.fixture
def description(board: Access, tmp_path: Path) -> Path:
    """The environment file of the board."""
    key = tmp_path / "board.key"
    key.touch(0o600)
    key.write_text(board.key)
    target = {
        "resources": {
            "NetworkService": {"address": "127.0.0.1", "port": board.ssh, "username": "root"},
            "NetworkPowerPort": {"model": REST, "host": board.power, "index": 0},
            "HttpDigitalOutput": {"name": "wan", **OFFERS["wan"].always, "url": board.wan},
        },
        "drivers": {
            "SSHDriver": {"keyfile": "board.key"},
            "NetworkPowerDriver": {},
            "HttpDigitalOutputDriver": {"name": "wan"},
        },
    }
    file = tmp_path / "board.yaml"
    file.write_text(yaml.safe_dump({"targets": {"desk": target}}))
    return file


def test_a_board_on_the_desk(description: Path, run: Callable[..., Run]) -> None:
    done = run(BOARD, "--device", f"labgrid:{description}")
    assert done.wait() == 0, done.output
    verdicts = [test["verdict"] for test in done.result["tests"]]
    assert sorted(verdicts) == ["not applicable", *["passed"] * 4]
    message = done.test("test_link_and_rootfs")["message"]
    assert "link (the daemon reaches the node through SSH, not over the cable)" in message
    assert "rootfs (the target does not have it among its features)" in message


def test_a_board_that_can_not_have_the_daemon_says_why(
    description: Path, board: Access, run: Callable[..., Run]
) -> None:
    words = ["ssh", "-p", str(board.ssh), "-i", str(description.with_name("board.key"))]
    words += ["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"]
    words += ["root@127.0.0.1", "/etc/init.d/paradrop stop; rm /etc/init.d/paradrop"]
    subprocess.run(words, check=True, capture_output=True, timeout=60)
    done = run("def test_commands(device): pass", "--device", f"labgrid:{description}")
    assert done.wait() == 1, done.output
    test = done.test("test_commands")
    assert test["verdict"] == "error: infrastructure"
    assert "the daemon can't run there: / is read-only" in test["message"], test["message"]


class TestErrors:
    @pytest.mark.parametrize(
        ("argument", "said"),
        [
            ("labgrid:nowhere", "no place 'nowhere' at 127.0.0.1:"),
            ("labgrid:missing.yaml", "missing.yaml: configuration file 'missing.yaml' could not"),
            ("labgrid", "labgrid: which one? (--device labgrid:PLACE or labgrid:ENV.yaml)"),
            ("labgrid:+ABC", "is reserved as ABC (labgrid-client reserve --wait)"),
        ],
    )
    def test_what_is_wrong_is_a_line(
        self, lab: Lab, two: Child, run: Callable[..., Run], argument: str, said: str
    ) -> None:
        done = run(NEEDS, "--device", argument)
        assert done.wait() == 4
        (line,) = [line for line in done.output.splitlines() if line.startswith("ERROR")]
        assert said in line

    def test_no_coordinator(self, coordinator: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("LG_COORDINATOR", "127.0.0.1:1")
        with pytest.raises(InfrastructureError, match=r"no labgrid coordinator at 127.0.0.1:1: "):
            plan.plan("second")
        with pytest.raises(InfrastructureError, match=r"no labgrid coordinator at 127.0.0.1:1: "):
            export("qemu-x86_64", ["any"], "127.0.0.1:1", "three", print)

    def test_a_place_that_is_held_for_too_long(
        self, lab: Lab, two: Child, coordinator: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(lab.environment, "LG_USERNAME", "somebody")
        monkeypatch.setitem(lab.environment, "LG_HOSTNAME", "elsewhere")
        lab.client("-p", "second", "acquire")
        monkeypatch.setattr(place, "WAIT_SECONDS", 0.5)
        mine = place.Lab(coordinator)
        try:
            with pytest.raises(
                InfrastructureError, match="place 'second' is held by elsewhere/somebody, and after"
            ):
                mine.take("second")
        finally:
            mine.close()
            lab.client("-p", "second", "release")

    def test_a_place_that_somebody_else_took_from_us_is_theirs(
        self, lab: Lab, two: Child, coordinator: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        mine = place.Lab(coordinator)
        try:
            mine.take("second")
            mine.check("second")
            mine.cancel(place._reserved.pop((coordinator, "second")))
            monkeypatch.setitem(lab.environment, "LG_USERNAME", "somebody")
            monkeypatch.setitem(lab.environment, "LG_HOSTNAME", "elsewhere")
            lab.client("-p", "second", "release", "--kick")
            lab.client("-p", "second", "acquire")
            wanted = "'second' was released by somebody else; elsewhere/somebody has it"
            with pytest.raises(InfrastructureError, match=wanted):
                mine.check("second")
            mine.release("second")
            assert "second" in lab.client("who")
        finally:
            mine.close()
            lab.client("-p", "second", "release")

    def test_a_place_that_is_interrupted_while_it_is_taken_is_given_back(
        self, lab: Lab, two: Child, coordinator: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        call = place.Lab._call

        def interrupted(self: place.Lab, *asked: Any) -> Any:
            answer = call(self, *asked)
            if isinstance(asked[1], AcquirePlaceRequest):
                raise KeyboardInterrupt
            return answer

        monkeypatch.setattr(place.Lab, "_call", interrupted)
        mine = place.Lab(coordinator)
        try:
            with pytest.raises(KeyboardInterrupt):
                mine.take("second")
            assert "second" not in lab.client("who")
        finally:
            mine.close()

    def test_a_place_that_another_run_of_ours_has_is_not_taken_from_it(
        self, lab: Lab, two: Child, coordinator: str
    ) -> None:
        said = lab.client("reserve", "--shell", "--wait", "name=second")
        token = said.strip().partition("LG_TOKEN=")[2]
        lab.client("-p", "second", "acquire")
        mine = place.Lab(coordinator)
        try:
            with pytest.raises(InfrastructureError, match="second is already acquired"):
                mine.take(f"+{token}")
            assert "second" in lab.client("who")
        finally:
            mine.close()
            lab.client("-p", "second", "release")
            lab.client("cancel-reservation", token)

    def test_a_place_of_many_parts_may_take_longer(
        self, two: Child, coordinator: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        mine = place.Lab(coordinator)
        waited: list[float | None] = []
        run = loop.run

        def watched(step: Any, timeout: float | None = None) -> Any:
            waited.append(timeout)
            return run(step, timeout)

        monkeypatch.setattr(loop, "run", watched)
        try:
            mine.take("second")
            parts = len(mine.parts("second"))
            assert waited[-1] == place.ANSWER_SECONDS + parts * place.PART_SECONDS
            waited.clear()
            mine.release("second")
            assert waited == [place.ANSWER_SECONDS + parts * place.PART_SECONDS]
        finally:
            mine.release("second")
            mine.close()

    def test_a_name_that_another_exporter_has(self, coordinator: str, two: Child) -> None:
        with pytest.raises(InfrastructureError, match=r"refuses: .*'two' is already connected"):
            export("qemu-x86_64", ["any"], coordinator, "two", print)

    def test_what_is_no_emulated_router_is_not_exported(self, coordinator: str) -> None:
        with pytest.raises(UsageError, match="'process' can't be exported"):
            export("process", ["any"], coordinator, "three", print)


def test_an_exporter_that_ends_leaves_nothing(lab: Lab, two: Child) -> None:
    """The last one."""
    lab.client("-p", "second", "acquire")
    deadline = time.monotonic() + LIMIT
    while not _children(two.pid):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    (qemu,) = _children(two.pid)
    two.send(signal.SIGTERM)
    assert two.wait(30) == 130
    assert not Path(f"/proc/{qemu}").exists()
    temporary = Path(lab.environment["TMPDIR"])
    left = [path for path in temporary.glob("hil-*/resources.yaml") if "third" in path.read_text()]
    assert left == []  # an exporter that was killed has left its own


def _children(pid: int) -> list[int]:
    """QEMUs of an exporter."""
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        found += [int(each) for each in (task / "children").read_text().split()]
    return [each for each in found if "qemu" in Path(f"/proc/{each}/comm").read_text()]
