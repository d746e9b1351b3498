"""What is known of a labgrid target before there is a lab; the rest is in tests/harness/lab."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pytest
import yaml
from labgrid.util.proxy import ProxyManager

from harness.device import kind_class
from harness.device.labgrid import place, plan
from harness.device.labgrid.shell import Ssh
from harness.errors import InfrastructureError, UsageError

LABGRID = kind_class("labgrid")
ALL = LABGRID.capabilities | {"freeze"}


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    """A file is read once in a run."""
    plan.plan.cache_clear()
    yield
    plan.plan.cache_clear()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "board.yaml"


SHELL = {"prompt": "# ", "login_prompt": "login: ", "username": "root"}


def board(drivers: dict[str, Any], **more: Any) -> str:
    service = {"address": "127.0.0.1", "username": "root"}
    target = {"resources": {"NetworkService": service}, "drivers": drivers, **more}
    return yaml.safe_dump({"targets": {"desk": target}})


def test_labgrid_need_not_be_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "labgrid", None)
    with pytest.raises(InfrastructureError) as raised:
        LABGRID.check_host("board.yaml")
    assert str(raised.value) == "labgrid is not installed (pip install 'paradrop[labgrid]')"


def test_a_board_with_ssh_alone(file: Path) -> None:
    file.write_text(board({"SSHDriver": {}}))
    assert LABGRID.lacks(str(file), ALL) == {
        "freeze": "",
        "link": "the target has no digital output named wan",
        "power": "the target has no power driver",
        "rootfs": "the target does not have it among its features",
    }


def test_power_that_a_person_has_to_turn_is_none(file: Path) -> None:
    file.write_text(board({"SSHDriver": {}, "ManualPowerDriver": {}}))
    assert "power" in LABGRID.lacks(str(file), ALL)


def test_what_a_board_says_that_it_has(file: Path) -> None:
    power = {"cmd_on": "true", "cmd_off": "true"}
    text = board({"SSHDriver": {}, "ExternalPowerDriver": power}, features=["rootfs"])
    file.write_text(text)
    assert LABGRID.lacks(str(file), ALL).keys() == {"freeze", "link"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (": [", "Error in configuration file"),
        ("targets: {one: {}, two: {}}", "has 2 targets (have one, or call one `main`)"),
        (board({}), "has no SSHDriver (add one: the daemon reaches the node through it)"),
        (board({"ShellDriver": SHELL}), "has no SSHDriver (add one: the daemon reaches"),
        (board({"NoDriver": {}}), "labgrid has no driver 'NoDriver'"),
        (board({"SSHDriver": None}), "SSHDriver has no value (write `SSHDriver: {}`)"),
        ("targets: {one: {drivers: text}}", "board.yaml: invalid type <class 'str'>"),
        ("targets: [one]", "board.yaml: "),
        ("text", "board.yaml: "),
    ],
)
def test_what_is_wrong_with_a_file_is_said(file: Path, text: str, said: str) -> None:
    file.write_text(text)
    with pytest.raises(UsageError) as raised:
        LABGRID.check_host(str(file))
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(("address", "proxy"), [("lab:port", None), ("lab:1", "nowhere.invalid")])
def test_a_coordinator_that_can_not_be_reached_is_said(
    monkeypatch: pytest.MonkeyPatch, address: str, proxy: str | None
) -> None:
    monkeypatch.setattr(ProxyManager, "_force_proxy", proxy)
    with pytest.raises(
        InfrastructureError, match=f"^no labgrid coordinator at {address}: "
    ) as said:
        place.reach(address)
    assert "\n" not in str(said.value)


def test_features_may_be_left_empty(file: Path) -> None:
    file.write_text(board({"SSHDriver": {}}, features=None))
    assert "rootfs" in LABGRID.lacks(str(file), ALL)


def test_an_ssh_that_gives_no_answer_is_dropped(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def run(words: list[str], timeout: float, **_: Any) -> subprocess.CompletedProcess[bytes]:
        if "-O" in words:
            raise subprocess.TimeoutExpired(words, timeout)
        return subprocess.CompletedProcess(words, 255, b"", b"gone")

    monkeypatch.setattr(subprocess, "run", run)
    service = SimpleNamespace(address="127.0.0.1", port=22, username="root")
    driver = mock.Mock(ssh_prefix=[], username="", networkservice=service)
    driver.state.name = "active"
    target = mock.Mock()
    shell = Ssh("board", target, driver, tmp_path, "")
    with pytest.raises(InfrastructureError, match="board: `true` over SSH: gone"):
        shell.run("true", 1)
    shell.drop()
    target.deactivate.assert_called_once_with(driver)
