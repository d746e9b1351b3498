"""What is known of a labgrid target before there is a lab; the rest is in tests/harness/lab."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.device import kind_class
from harness.device.labgrid import plan
from harness.errors import InfrastructureError

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
    ],
)
def test_what_is_wrong_with_a_file_is_said(file: Path, text: str, said: str) -> None:
    file.write_text(text)
    with pytest.raises(InfrastructureError) as raised:
        LABGRID.check_host(str(file))
    assert said in str(raised.value)
