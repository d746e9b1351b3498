"""What is wrong with a setting is said with its place; where each comes from can be asked."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given
from hypothesis import settings as profile
from hypothesis import strategies as st

from paradrop.base import settings
from paradrop.base.exceptions import SettingsError
from paradrop.base.inifile import IniFile
from paradrop.base.settings import Setting


def snapshot() -> dict[str, Any]:
    attributes = settings.iterate_module_attributes(settings)
    return {name: value for name, value in attributes if name.isupper()}


DEFAULTS = snapshot()
same_folder = profile(
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], deadline=None
)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The configuration home of mode `local`; the settings are restored afterwards."""
    for name in [*DEFAULTS, "SNAP_COMMON", "SNAP_DATA"]:
        monkeypatch.delenv(name, raising=False)
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".paradrop").mkdir()
    yield tmp_path / ".paradrop"
    for name in snapshot().keys() - DEFAULTS.keys():
        delattr(settings, name)
    monkeypatch.undo()
    settings.loadSettings("production", make_folders=False)


def described() -> dict[str, Setting]:
    return {setting.name: setting for setting in settings.describe()}


WRONG = [
    ("PORTAL_SERVER_PORT", "many", "a whole number, and 'many' is not"),
    ("PORTAL_SERVER_PORT", "80.5", "a whole number, and '80.5' (float) is not"),
    ("PORTAL_SERVER_PORT", "true", "a whole number, and 'true' (bool) is not"),
    ("PORTAL_SERVER_PORT", "", "a whole number, and '' is not"),
    ("HEARTBEAT_INTERVAL", "often", "a number, and 'often' is not"),
    ("HEARTBEAT_INTERVAL", "inf", "a number, and 'inf' is not"),
    ("DEBUG_MODE", "1", "True or False, and '1' (int) is not"),
    ("DEBUG_MODE", "yes", "True or False, and 'yes' is not"),
    ("LOCAL_DOMAIN", "5", "text, and '5' (int) is not"),
    ("LOCAL_DOMAIN", "none", "text, and 'none' (NoneType) is not"),
    ("WAMP_CA_FILE", "5", "text or None, and '5' (int) is not"),
]


class TestAWrongType:
    @pytest.mark.parametrize(("name", "text", "expected"), WRONG)
    def test_in_a_file(self, home: Path, name: str, text: str, expected: str) -> None:
        path = home / "settings.ini"
        path.write_text(f"# mine\n[other]\n{name} = 1\n[base]\n\n{name.lower()} = {text}\n")
        self.refused(f"{path}, line 6: {name} has to be {expected}")

    @pytest.mark.parametrize(("name", "text", "expected"), WRONG)
    def test_in_an_argument(self, name: str, text: str, expected: str) -> None:
        item = f"{name}:{text}"
        self.refused(f"argument: {name} has to be {expected}", item)

    @pytest.mark.parametrize(("name", "text", "expected"), [one for one in WRONG if one[1]])
    def test_in_the_environment(
        self, monkeypatch: pytest.MonkeyPatch, name: str, text: str, expected: str
    ) -> None:
        monkeypatch.setenv(name, text)
        self.refused(f"environment: {name} has to be {expected}")

    @pytest.mark.parametrize(("name", "text", "expected"), WRONG)
    def test_of_a_change(self, home: Path, name: str, text: str, expected: str) -> None:
        value = settings.parseValue(text)
        with pytest.raises(SettingsError, match=f"^{name} has to be {expected.split(',')[0]}"):
            settings.save_to_file(home / "settings.ini", {name: value})

    def refused(self, message: str, *slist: str) -> None:
        before = snapshot()
        with pytest.raises(SettingsError) as caught:
            settings.loadSettings("local", slist)
        assert str(caught.value) == message
        assert snapshot() == before

    def test_is_not_shown_at_length(self) -> None:
        with pytest.raises(SettingsError) as caught:
            settings.loadSettings("local", [f"DEBUG_MODE:{'x' * 10_000}"])
        assert len(str(caught.value).partition("and ")[2]) < 80


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"[base]\n\nheartbeat_intervall = 5\n", "line 3: expected the name of a setting"),
        (b"[base]\nheartbeat_intervall = 5\n", "did you mean HEARTBEAT_INTERVAL?"),
        (b"[base]\nloadsettings = 5\n", "line 2: expected the name of a setting"),
        (b"[base]\n_types = 5\n", "line 2: expected the name of a setting"),
        (b"no section\n", "line 1: expected the name of a section"),
        (b"\n\npdserver = 5\n", "line 3: expected the name of a section"),
        (b"[base]\npdserver\n", "line 2: expected `name = value`"),
        (b"[base]\npdserver = a\nPDSERVER = b\n", "line 3: expected pdserver once"),
        (b"[base]\n[other]\n[base]\n", "line 3: expected [base] once"),
        (b"[base]\n# \xc3\xa4\nlocal_domain = \xff\n", "line 3: expected text in UTF-8"),
    ],
)
def test_what_is_wrong_in_a_file_is_said_with_its_line(
    home: Path, content: bytes, message: str
) -> None:
    (home / "settings.ini").write_bytes(content)
    before = snapshot()
    with pytest.raises(SettingsError, match=re.escape(message)) as caught:
        settings.loadSettings()
    assert str(caught.value).startswith(f"{home}/settings.ini, line ")
    assert snapshot() == before


def test_a_file_that_cannot_be_read_is_said(home: Path) -> None:
    (home / "settings.ini").mkdir()
    with pytest.raises(SettingsError, match=rf"{home}/settings.ini cannot be read: Is a directory"):
        settings.loadSettings()


@pytest.mark.parametrize("header", ["[BASE]", "[Base]", "[ base ]", "[base ]"])
def test_a_section_that_is_nearly_ours_is_not_ignored(home: Path, header: str) -> None:
    file = home / "settings.ini"
    file.write_text(f"[other]\na = b\n\n{header}\nheartbeat_interval = 5\n")
    with pytest.raises(SettingsError) as refused:
        settings.loadSettings()
    assert str(refused.value) == f"{file}, line 4: expected [base], not {header}"


@pytest.mark.parametrize("header", ["[paradrop]", "[Paradrop]", "[DEFAULT]", "[default]"])
def test_a_section_that_stands_in_for_ours_is_not_ignored(home: Path, header: str) -> None:
    file = home / "settings.ini"
    file.write_text(f"# mine\n  {header}\nheartbeat_interval = 5\n")
    with pytest.raises(SettingsError) as refused:
        settings.loadSettings()
    assert str(refused.value) == f"{file}, line 2: expected [base], not {header}"
    file.write_text(f"[base]\nlocal_domain = a\n{header}\nof_another = program\n")
    if header != "[DEFAULT]":
        settings.loadSettings()
        assert settings.LOCAL_DOMAIN == "a"


def test_a_section_may_be_indented(home: Path) -> None:
    file = home / "settings.ini"
    file.write_text("\n  [BASE]\nlocal_domain = a\n")
    with pytest.raises(SettingsError, match=r"line 2: expected \[base\], not \[BASE\]"):
        settings.loadSettings()


def test_a_file_may_be_of_another_system(home: Path) -> None:
    (home / "settings.ini").write_bytes(b"\xef\xbb\xbf[base]\r\nlocal_domain = a\r\n")
    settings.loadSettings()
    assert settings.LOCAL_DOMAIN == "a"


class TestDescribe:
    def test_says_where_each_value_comes_from(
        self, home: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (home / "settings.ini").write_text("[base]\nlocal_domain = a\npdserver = https://file\n")
        monkeypatch.setenv("PDSERVER", "https://environment")
        settings.loadSettings("local", ["PORTAL_SERVER_PORT:81", "LOCAL_DOMAIN:b", "MY_OWN:x"])
        settings.HEARTBEAT_INTERVAL = 5
        found = described()
        assert found.keys() == snapshot().keys()
        assert [
            found[name]
            for name in (
                "DEBUG_MODE",
                "CONFIG_HOME_DIR",
                "LOCAL_DOMAIN",
                "PDSERVER",
                "PORTAL_SERVER_PORT",
                "MY_OWN",
                "HEARTBEAT_INTERVAL",
            )
        ] == [
            Setting("DEBUG_MODE", False, "default"),
            Setting("CONFIG_HOME_DIR", f"{home}/", "default", "mode local"),
            Setting("LOCAL_DOMAIN", "a", "file", f"{home}/settings.ini, line 2"),
            Setting("PDSERVER", "https://environment", "environment"),
            Setting("PORTAL_SERVER_PORT", 81, "argument"),
            Setting("MY_OWN", "x", "argument"),
            Setting("HEARTBEAT_INTERVAL", 5, "program"),
        ]

    def test_follows_a_home_that_was_moved(self, tmp_path: Path) -> None:
        items = [f"RUNTIME_HOME_DIR:{tmp_path}/run", f"PDCONFD_WRITE_DIR:{tmp_path}/write"]
        settings.loadSettings("local", items)
        found = described()
        runtime = found["RUNTIME_HOME_DIR"]
        assert (runtime.source, runtime.where) == ("argument", "")
        system = found["EXTERNAL_SYSTEM_DIR"]
        assert (system.source, system.where) == ("argument", "from RUNTIME_HOME_DIR")
        assert (found["PDCONFD_WRITE_DIR"].source, found["PDCONFD_WRITE_DIR"].where) == (
            "argument",
            "",
        )
        assert found["LOG_DIR"].source == "default"

    def test_knows_nothing_of_an_earlier_load(self) -> None:
        settings.loadSettings("local", ["PORTAL_SERVER_PORT:81"])
        settings.loadSettings("local")
        assert {setting.source for setting in settings.describe()} == {"default"}

    def test_can_be_asked_without_making_folders(self, home: Path) -> None:
        settings.loadSettings("local", make_folders=False)
        assert described()["LOG_DIR"].value == f"{home}/logs/"
        assert list(home.iterdir()) == []


settings_texts = st.one_of(
    st.text(max_size=20),
    st.sampled_from(["true", "None", "5", "-1", "2.5", "1e9", "nan", "a # b", "a\n  b", "%s", ""]),
)


def refusal(function: Any, *arguments: Any, **more: Any) -> str | None:
    """@return: why it was refused, on one line; then nothing was changed."""
    before = snapshot()
    try:
        function(*arguments, **more)
    except SettingsError as error:
        reason = str(error)
    else:
        return None
    assert snapshot() == before
    assert "\n" not in reason
    return reason


def is_typed(name: str, value: object) -> bool:
    default = DEFAULTS[name]
    if default is None:
        return value is None or isinstance(value, str)
    if isinstance(default, bool | str):
        return type(value) is type(default)
    return type(value) in (int, float)


@same_folder
@given(st.binary(max_size=200))
def test_any_bytes_are_settings_or_one_clear_error(home: Path, content: bytes) -> None:
    settings_or_error(home / "settings.ini", content)


@same_folder
@given(
    st.lists(
        st.sampled_from(["[base]", "[other]", "# c", "", "  deeper = 1", "stranger = 1", "[", "="])
        | st.builds("{} = {}".format, st.sampled_from(sorted(DEFAULTS)).map(str.lower), st.text())
        | st.text(max_size=10)
    )
)
def test_any_lines_are_settings_or_one_clear_error(home: Path, lines: list[str]) -> None:
    text = "\n".join(["[base]", *lines])
    settings_or_error(home / "settings.ini", text.encode("utf-8", "surrogatepass"))


def settings_or_error(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    reason = refusal(settings.loadSettings, "local", make_folders=False)
    lines = content.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
    if reason is not None:
        place = re.match(rf"{path}, line (\d+): ", reason)
        assert place is not None
        assert 1 <= int(place.group(1)) <= len(lines)
        return
    for setting in settings.describe():
        assert is_typed(setting.name, setting.value)
        if setting.source == "file" and not setting.where.startswith("from "):
            line = lines[int(setting.where.rpartition(" ")[2]) - 1].decode("utf-8-sig")
            assert setting.name.lower() in line.lower()


@same_folder
@given(st.sampled_from(sorted(DEFAULTS)), settings_texts)
@example("CONFIG_HOME_DIR", "\0")
@example("CONFIG_HOME_DIR", "\ud800")
def test_any_argument_is_a_setting_or_one_clear_error(name: str, text: str) -> None:
    reason = refusal(settings.loadSettings, "local", [f"{name}:{text}"], make_folders=False)
    if reason is None:
        origin = described()[name]
        assert origin.source == "argument"
        assert is_typed(name, origin.value)
    else:
        assert f"{name} has to be" in reason


@same_folder
@given(
    st.dictionaries(
        st.sampled_from([name for name in sorted(DEFAULTS) if not name.endswith("_HOME_DIR")]),
        settings_texts | st.integers() | st.floats() | st.booleans() | st.none(),
        max_size=4,
    )
)
def test_what_is_kept_is_read_again_and_what_is_refused_changes_nothing(
    home: Path, changes: dict[str, Any]
) -> None:
    path = home / "settings.ini"
    path.write_text("[base]\nlocal_domain = mine\n[other]\nkey = value\n")
    before = path.read_bytes()
    reason = refusal(settings.save_to_file, path, changes)
    if reason is not None:
        assert any(name in reason for name in changes)
        assert path.read_bytes() == before
        return
    settings.loadSettings("local", make_folders=False)
    expected = {"LOCAL_DOMAIN": "mine"} | changes
    assert {name: getattr(settings, name) for name in expected} == expected
    assert [(name, value) for name, value, _ in IniFile.read(path).items("other")] == [
        ("key", "value")
    ]
