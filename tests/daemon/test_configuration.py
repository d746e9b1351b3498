"""The settings as the operator changes them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as profile
from hypothesis import strategies as st

from paradrop.base import settings
from paradrop.base.exceptions import SettingsError
from paradrop.daemon import configuration

pytestmark = pytest.mark.usefixtures("home")

same_folder = profile(
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], deadline=None
)
scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
anything = st.recursive(
    scalars, lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=4), inner)
)

changes_of = {
    "PORTAL_SERVER_PORT": st.integers(),
    "HEARTBEAT_INTERVAL": st.integers() | st.floats(),
    "LOCAL_DOMAIN": st.text(max_size=8),
    "WAMP_CA_FILE": st.text(max_size=8) | st.none(),
    "DEBUG_MODE": st.booleans(),
}


@same_folder
@given(
    anything
    | st.dictionaries(st.sampled_from([*changes_of, "NO_SUCH"]), anything)
    | st.fixed_dictionaries({}, optional=changes_of)
)
def test_a_change_is_kept_and_used_or_refused_as_a_whole(changes: Any) -> None:
    before = configuration.current()
    try:
        configuration.change(changes)
    except SettingsError:
        assert configuration.current() == before
        return
    expected = before | dict(changes)
    assert configuration.current() == expected
    settings.loadSettings("unittest")
    assert configuration.current() == expected


@pytest.mark.parametrize("end", ["\r", "\r\n"])
def test_a_carriage_return_is_refused_as_it_would_be_read_otherwise(end: str) -> None:
    with pytest.raises(SettingsError, match=r"WAMP_CA_FILE=.* cannot be kept"):
        configuration.change({"WAMP_CA_FILE": f"a{end}b"})


def test_what_is_no_mapping_is_refused() -> None:
    with pytest.raises(SettingsError, match="mapping"):
        configuration.change([("DEBUG_MODE", True)])  # type: ignore[arg-type]


def test_a_file_that_cannot_be_written_is_said(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(settings, "write_durably", full)
    with pytest.raises(SettingsError, match=rf"{home}/settings.ini cannot be written: .*No space"):
        configuration.change({"DEBUG_MODE": True})
    assert settings.DEBUG_MODE is False


def test_a_file_that_is_no_state_keeps_its_name(home: Path, tmp_path: Path) -> None:
    for text in ("a letter", "version: 99\n", "{"):
        other = tmp_path / "important"
        other.write_text(text)
        with pytest.raises(SettingsError, match="is no state of a router"):
            configuration.change({"CONFIG_FILE": str(other)})
        assert other.read_text() == text


def test_names_that_are_no_text_are_no_settings(home: Path) -> None:
    with pytest.raises(SettingsError, match="5 is not a setting"):
        configuration.change({5: 1})  # type: ignore[dict-item]
