"""Switches over HTTP, turned by labgrid's own drivers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import requests
from labgrid import Target
from labgrid.driver import HttpDigitalOutputDriver, NetworkPowerDriver
from labgrid.resource import HttpDigitalOutput, NetworkPowerPort

from harness.errors import InfrastructureError
from harness.lab.control import Control, OnOffSwitch
from harness.lab.exporter import OFFERS, REST


class Lamp:
    def __init__(self) -> None:
        self.on = True
        self.broken = False

    def set(self, on: bool) -> None:
        if self.broken:
            raise InfrastructureError("QEMU ended by itself", evidence="the console")
        self.on = on


@pytest.fixture
def control() -> Iterator[Control]:
    made = Control()
    yield made
    made.close()


@pytest.fixture
def lamp() -> Lamp:
    return Lamp()


@pytest.fixture
def url(control: Control, lamp: Lamp) -> str:
    return control.add(OnOffSwitch(lambda: lamp.on, lamp.set))


def test_labgrids_power_driver_turns_it(url: str, lamp: Lamp) -> None:
    target = Target("lamp")
    NetworkPowerPort(target, None, model=REST, host=url, index="0")
    driver = NetworkPowerDriver(target, None)
    target.activate(driver)
    driver.off()
    assert not lamp.on
    assert not driver.get()
    driver.on()
    assert lamp.on
    assert driver.get()


def test_labgrids_digital_output_turns_it(url: str, lamp: Lamp) -> None:
    target = Target("lamp")
    HttpDigitalOutput(target, None, **{**OFFERS["wan"].always, "url": url})
    driver = HttpDigitalOutputDriver(target, None)
    target.activate(driver)
    driver.set(False)
    assert not lamp.on
    assert not driver.get()
    driver.set(True)
    assert lamp.on
    assert driver.get()


def test_what_goes_wrong_is_said_in_the_line_that_is_shown(url: str, lamp: Lamp) -> None:
    lamp.broken = True
    answer = requests.put(url, data=b"0", timeout=10)
    with pytest.raises(requests.HTTPError, match="500 Server Error: QEMU ended by itself for url"):
        answer.raise_for_status()


@pytest.mark.parametrize("body", [b"", b"on", b"10"])
def test_what_is_neither_on_nor_off_is_refused(url: str, lamp: Lamp, body: bytes) -> None:
    assert requests.put(url, data=body, timeout=10).status_code == 400
    assert lamp.on


def test_a_url_that_is_guessed_or_was_taken_away_leads_nowhere(url: str, control: Control) -> None:
    assert requests.get(url[:-1], timeout=10).status_code == 404
    control.remove(url)
    assert requests.get(url, timeout=10).status_code == 404


def test_it_is_reached_from_this_computer_alone(url: str) -> None:
    assert url.startswith("http://127.0.0.1:")
