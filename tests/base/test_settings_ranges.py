"""Each number of the settings has a range, from whatever source it comes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from paradrop.base import settings
from paradrop.base.exceptions import SettingsError

DOCS = Path(__file__).parents[2] / "docs/library.md"
RANGES = settings.ranges()
NUMBERS = sorted(RANGES)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    for name in [*NUMBERS, "SNAP_COMMON", "SNAP_DATA", "CONFIG_HOME_DIR"]:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".paradrop").mkdir()
    yield tmp_path / ".paradrop"
    monkeypatch.undo()
    settings.loadSettings("production", make_folders=False)


def whole(name: str) -> bool:
    return isinstance(settings._DEFAULTS[name], int) and settings._TYPES[name] is int


def outside(name: str) -> list[object]:
    limits = RANGES[name]
    found: list[object] = [-1, -(10**30), 10**400, limits.most + 1, limits.least - 1]
    if not (limits.off or limits.least == 0):
        found.append(0)
    if not whole(name):
        found += [-0.001, 1e300, limits.least - 0.001]
    return [one for one in found if one not in limits]


CASES = [(name, value) for name in NUMBERS for value in outside(name)]


def test_every_number_has_one() -> None:
    kinds = settings._TYPES.items()
    assert sorted(name for name, kind in kinds if kind in (int, float)) == NUMBERS


def test_every_default_is_in_it() -> None:
    for name in NUMBERS:
        assert settings._DEFAULTS[name] in RANGES[name]


def refused(name: str, place: str, load: Callable[[], object]) -> None:
    before = {one: getattr(settings, one) for one in NUMBERS}
    with pytest.raises(SettingsError) as caught:
        load()
    message = str(caught.value)
    assert message.startswith(f"{place}{name} has to be")
    assert str(RANGES[name]) in message
    assert len(message) < 300
    assert {one: getattr(settings, one) for one in NUMBERS} == before


@pytest.mark.parametrize(("name", "value"), CASES)
class TestANumberOutOfItsRange:
    def test_on_the_command_line(self, name: str, value: object) -> None:
        refused(name, "argument: ", lambda: settings.loadSettings("local", [f"{name}:{value}"]))

    def test_in_the_environment(
        self, monkeypatch: pytest.MonkeyPatch, name: str, value: object
    ) -> None:
        monkeypatch.setenv(name, str(value))
        refused(name, "environment: ", lambda: settings.loadSettings("local"))

    def test_in_a_file(self, home: Path, name: str, value: object) -> None:
        file = home / "settings.ini"
        file.write_text(f"[base]\n\n{name.lower()} = {value}\n")
        refused(name, f"{file}, line 3: ", lambda: settings.loadSettings("local"))
        refused(name, f"{file}, line 3: ", lambda: settings.load_from_file(file))
        ignored: list[str] = []
        settings.loadSettings("local", ignored=ignored)
        assert len(ignored) == 1
        assert getattr(settings, name) == settings._DEFAULTS[name]

    def test_that_is_to_be_kept(self, home: Path, name: str, value: object) -> None:
        file = home / "settings.ini"
        refused(name, "", lambda: settings.save_to_file(file, {name: value}))
        assert not file.exists()

    def test_that_a_program_has_assigned_is_not_used(
        self, monkeypatch: pytest.MonkeyPatch, name: str, value: Any
    ) -> None:
        monkeypatch.setattr(settings, name, value)
        assert settings.number(name) == settings._DEFAULTS[name]


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("value", [math.nan, math.inf, True, None, "5", [1]])
def test_what_is_no_number(monkeypatch: pytest.MonkeyPatch, name: str, value: Any) -> None:
    with pytest.raises(SettingsError, match=f"{name} has to be"):
        settings.save_to_file(Path("settings.ini"), {name: value})
    monkeypatch.setattr(settings, name, value)
    assert settings.number(name) == settings._DEFAULTS[name]


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("text", ["nan", "-inf", "1e400", "true", "1_0", "0x10", "9" * 5000])
def test_text_that_is_no_number(name: str, text: str) -> None:
    with pytest.raises(SettingsError, match=f"argument: {name} has to be"):
        settings.loadSettings("local", [f"{name}:{text}"])


def test_both_ends_of_it_can_be_had() -> None:
    for name, limits in RANGES.items():
        for value in (limits.least, limits.most, *([0] if limits.off else [])):
            with_it = [f"{name}:{value}"]
            if name == "WAMP_INITIAL_DELAY":
                with_it.append("WAMP_MAX_DELAY:86400")
            if name == "WAMP_MAX_DELAY":
                with_it.append("WAMP_INITIAL_DELAY:0.01")
            settings.loadSettings("local", with_it, make_folders=False)
            assert getattr(settings, name) == value


class TestTheDelays:
    """The first is not longer than the longest."""

    def test_of_one_source(self) -> None:
        with pytest.raises(SettingsError, match=r"argument: WAMP_INITIAL_DELAY .*most .*\(60\)"):
            settings.loadSettings("local", ["WAMP_INITIAL_DELAY:61"])
        with pytest.raises(SettingsError, match=r"argument: WAMP_MAX_DELAY .*least .*\(1\)"):
            settings.loadSettings("local", ["WAMP_MAX_DELAY:0.5"])

    def test_of_two(self, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        file = home / "settings.ini"
        file.write_text("[base]\nwamp_initial_delay = 5\n")
        monkeypatch.setenv("WAMP_MAX_DELAY", "3")
        with pytest.raises(SettingsError, match=f"{file}, line 2: WAMP_INITIAL_DELAY"):
            settings.loadSettings("local")
        ignored: list[str] = []
        settings.loadSettings("local", ignored=ignored)
        assert (len(ignored), settings.WAMP_INITIAL_DELAY) == (1, 1)

    def test_that_are_to_be_kept(self, home: Path) -> None:
        settings.loadSettings("local")
        file = home / "settings.ini"
        with pytest.raises(SettingsError, match="WAMP_INITIAL_DELAY"):
            settings.save_to_file(file, {"WAMP_INITIAL_DELAY": 100})
        settings.save_to_file(file, {"WAMP_INITIAL_DELAY": 100, "WAMP_MAX_DELAY": 200})
        settings.loadSettings("local")
        assert (settings.WAMP_INITIAL_DELAY, settings.WAMP_MAX_DELAY) == (100, 200)


def test_the_documentation_has_them_all() -> None:
    rows = [line.split("|") for line in DOCS.read_text().splitlines() if line.startswith("| `")]
    told = {row[1].strip(" `"): row[2].strip() for row in rows if row[1].strip(" `") in RANGES}
    assert told == {name: str(limits) for name, limits in RANGES.items()}
