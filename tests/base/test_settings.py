"""Where a setting comes from, who wins, and what moves with a home."""

import configparser
import math
import os
import pwd
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paradrop.base import settings
from paradrop.base.exceptions import SettingsError

DOCUMENTED = [
    "DEBUG_MODE",
    "CONFIG_HOME_DIR",
    "RUNTIME_HOME_DIR",
    "TMP_DIR",
    "LOG_DIR",
    "KEY_DIR",
    "MISC_DIR",
    "CONFIG_FILE",
    "PDSERVER",
    "PDSERVER_MAX_CONCURRENT_REQUESTS",
    "WAMP_ROUTER",
    "PORTAL_SERVER_PORT",
    "LOCAL_DOMAIN",
    "HOST_CONFIG_FILE",
    "DEFAULT_HOST_CONFIG_FILE",
    "HOST_DATA_PARTITION",
    "FC_CHUTESTORAGE_FILE",
    "EXTERNAL_DATA_DIR",
    "EXTERNAL_SYSTEM_DIR",
    "UCI_CONFIG_DIR",
    "UCI_BACKUP_DIR",
    "PDCONFD_WRITE_DIR",
]
CONFIG_PATHS = [
    "LOG_DIR",
    "KEY_DIR",
    "MISC_DIR",
    "CONFIG_FILE",
    "HOST_CONFIG_FILE",
    "DEFAULT_HOST_CONFIG_FILE",
    "FC_CHUTESTORAGE_FILE",
    "EXTERNAL_DATA_DIR",
    "UCI_CONFIG_DIR",
    "UCI_BACKUP_DIR",
]
RUNTIME_PATHS = ["EXTERNAL_SYSTEM_DIR", "PDCONFD_WRITE_DIR"]


def snapshot() -> dict[str, object]:
    attributes = settings.iterate_module_attributes(settings)
    return {name: value for name, value in attributes if name.isupper()}


DEFAULTS = snapshot()


@pytest.fixture(autouse=True)
def own_world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A working folder, a HOME and an environment of the test's own; the settings restored."""
    for name in [*DEFAULTS, "SNAP_COMMON", "SNAP_DATA"]:
        monkeypatch.delenv(name, raising=False)
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    monkeypatch.setenv("HOME", str(tmp_path / "user"))
    yield
    for name in snapshot().keys() - DEFAULTS.keys():
        delattr(settings, name)
    for name, value in DEFAULTS.items():
        setattr(settings, name, value)


def ini(folder: Path, **values: object) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "settings.ini"
    lines = [f"{name} = {value}" for name, value in values.items()]
    path.write_text("\n".join(["[base]", *lines, ""]))
    return path


def mode_of(path: str) -> int:
    return stat.S_IMODE(Path(path).stat().st_mode)


def test_every_documented_setting_exists_at_import() -> None:
    assert set(DOCUMENTED) <= DEFAULTS.keys()


def test_the_session_has_its_settings() -> None:
    assert settings.WAMP_CA_FILE is None
    assert settings.WAMP_PING_INTERVAL == 8
    assert settings.WAMP_PING_TIMEOUT == 4
    assert settings.WAMP_INITIAL_DELAY == 1
    assert settings.WAMP_MAX_DELAY == 60
    assert settings.HEARTBEAT_INTERVAL == 30
    assert settings.WAMP_CALL_TIMEOUT == 30
    assert settings.WAMP_CLIENT_CERT is None
    assert settings.WAMP_CLIENT_KEY is None
    assert settings.WAMP_TLS_VERIFY is True
    assert settings.WAMP_OUTBOX_LIMIT == 0


def test_log_files_have_an_age_and_a_size() -> None:
    assert settings.LOG_MAX_DAYS == 30
    assert settings.LOG_MAX_BYTES == 64 * 1024 * 1024


def test_the_defaults_are_those_of_production() -> None:
    paths = {name: DEFAULTS[name] for name in [*CONFIG_PATHS, *RUNTIME_PATHS]}
    settings.updatePaths("/etc/paradrop")
    assert paths == {name: getattr(settings, name) for name in paths}
    assert settings.CONFIG_HOME_DIR == "/etc/paradrop/"
    assert settings.RUNTIME_HOME_DIR == "/var/run/paradrop/"
    assert settings.LOG_DIR == "/etc/paradrop/logs/"
    assert settings.KEY_DIR == "/etc/paradrop/keys/"
    assert settings.MISC_DIR == "/etc/paradrop/misc/"


def test_no_secret_is_among_the_defaults() -> None:
    secret = ("PASSWORD", "SECRET", "TOKEN", "CREDENTIAL")
    assert [name for name in DEFAULTS if any(word in name for word in secret)] == []
    assert [value for value in DEFAULTS.values() if "@" in str(value)] == []  # user:password@host


def test_local_mode_lives_below_the_users_home_and_makes_its_folders(tmp_path: Path) -> None:
    settings.loadSettings()
    home = tmp_path / "user" / ".paradrop"
    assert f"{home}/" == settings.CONFIG_HOME_DIR
    assert settings.RUNTIME_HOME_DIR == "/tmp/.paradrop/"
    assert (home / "logs").is_dir()
    assert (home / "misc").is_dir()
    assert mode_of(settings.KEY_DIR) == 0o700


def test_unittest_mode_lives_below_its_folder() -> None:
    settings.loadSettings("unittest")
    for name in ["CONFIG_HOME_DIR", "RUNTIME_HOME_DIR", *CONFIG_PATHS, *RUNTIME_PATHS]:
        assert getattr(settings, name).startswith("/tmp/.paradrop-test/"), name


def test_production_on_a_snap_lives_in_the_folders_of_the_snap(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SNAP_COMMON", str(tmp_path / "common"))
    monkeypatch.setenv("SNAP_DATA", str(tmp_path / "data"))
    ini(tmp_path / "common", portal_server_port=4444)
    settings.loadSettings("production")
    assert f"{tmp_path}/common/logs/" == settings.LOG_DIR
    assert f"{tmp_path}/data/pdconfd/" == settings.PDCONFD_WRITE_DIR
    assert settings.PORTAL_SERVER_PORT == 4444


def test_production_without_a_snap_is_etc_paradrop(tmp_path: Path) -> None:
    folders = [f"{name}_DIR:{tmp_path}/{name}" for name in ("LOG", "KEY", "MISC")]
    settings.loadSettings("production", folders)
    assert settings.CONFIG_FILE == "/etc/paradrop/config"
    assert settings.HOST_DATA_PARTITION == "/"


@pytest.mark.parametrize("empty", ["", " ", "\t"])
def test_an_empty_variable_is_not_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, empty: str
) -> None:
    for name in ["SNAP_COMMON", "SNAP_DATA", *DEFAULTS]:
        monkeypatch.setenv(name, empty)
    settings.loadSettings("production", make_folders=False)
    paths = {name: DEFAULTS[name] for name in [*CONFIG_PATHS, *RUNTIME_PATHS]}
    assert snapshot() == DEFAULTS | paths


def test_an_empty_home_is_that_of_the_account(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "")
    settings.loadSettings("local", make_folders=False)
    account = pwd.getpwuid(os.getuid()).pw_dir
    assert f"{account}/.paradrop/" == settings.CONFIG_HOME_DIR


@pytest.mark.parametrize("name", ["KEY_DIR", "CONFIG_HOME_DIR", "WAMP_CA_FILE", "LOCAL_DOMAIN"])
def test_an_empty_value_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(SettingsError, match=f"argument: {name} has to be .*not empty"):
        settings.loadSettings("local", [f"{name}:"])
    ini(Path(), **{name.lower(): ""})
    with pytest.raises(SettingsError, match=f"line 2: {name} has to be .*not empty"):
        settings.loadSettings("local")
    with pytest.raises(SettingsError, match="not empty"):
        settings.save_to_file(tmp_path / "saved.ini", {name: ""})


def test_an_unknown_mode_is_named() -> None:
    with pytest.raises(SettingsError, match=r"'prod'.*local, unittest or production"):
        settings.loadSettings("prod")


def test_open_key_folders_are_closed(tmp_path: Path) -> None:
    keys = tmp_path / "user" / ".paradrop" / "keys"
    keys.mkdir(parents=True, mode=0o755)
    keys.chmod(0o755)
    settings.loadSettings()
    assert mode_of(settings.KEY_DIR) == 0o700


def test_a_folder_that_cannot_be_made_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SettingsError, match=rf"cannot be made.*{tmp_path}/file"):
        settings.loadSettings("local", [f"LOG_DIR:{tmp_path}/file/logs"])


def test_each_source_wins_over_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """defaults < slist < settings.ini < environment."""
    slist = ["LOCAL_DOMAIN:a.list", "PDSERVER:https://list", "WAMP_ROUTER:wss://list"]
    ini(Path.cwd(), pdserver="https://file", wamp_router="wss://file")
    monkeypatch.setenv("WAMP_ROUTER", "wss://environment")
    settings.loadSettings("local", slist)
    assert DEFAULTS["PORTAL_SERVER_PORT"] == settings.PORTAL_SERVER_PORT
    assert settings.LOCAL_DOMAIN == "a.list"
    assert settings.PDSERVER == "https://file"
    assert settings.WAMP_ROUTER == "wss://environment"


def test_each_settings_file_wins_over_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Working folder < snap < configuration home."""
    monkeypatch.setenv("SNAP_COMMON", str(tmp_path / "common"))
    ini(Path.cwd(), local_domain="work", pdserver="work", wamp_router="work")
    ini(tmp_path / "common", pdserver="common", wamp_router="common")
    ini(tmp_path / "user" / ".paradrop", wamp_router="home")
    settings.loadSettings()
    assert settings.LOCAL_DOMAIN == "work"
    assert settings.PDSERVER == "common"
    assert settings.WAMP_ROUTER == "home"


@pytest.mark.parametrize("source", ["slist", "ini", "environment", "load_from_file"])
def test_an_overridden_home_takes_its_paths_along(
    source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, runtime = str(tmp_path / "config"), str(tmp_path / "runtime")
    slist = [f"LOG_DIR:{tmp_path}/elsewhere/"]
    if source == "slist":
        slist += [f"CONFIG_HOME_DIR:{config}", f"RUNTIME_HOME_DIR:{runtime}"]
    elif source == "ini":
        ini(Path.cwd(), config_home_dir=config, runtime_home_dir=runtime)
    elif source == "environment":
        monkeypatch.setenv("CONFIG_HOME_DIR", config)
        monkeypatch.setenv("RUNTIME_HOME_DIR", runtime)
    settings.loadSettings("local", slist)
    if source == "load_from_file":
        log_dir = f"{tmp_path}/elsewhere/"
        settings.load_from_file(
            ini(
                tmp_path / "other",
                config_home_dir=config,
                runtime_home_dir=runtime,
                log_dir=log_dir,
            )
        )
    else:
        assert mode_of(f"{config}/keys") == 0o700
        assert Path(tmp_path, "elsewhere").is_dir()
        assert not Path(config, "logs").exists()
    assert f"{config}/" == settings.CONFIG_HOME_DIR
    assert f"{runtime}/" == settings.RUNTIME_HOME_DIR
    assert f"{tmp_path}/elsewhere/" == settings.LOG_DIR
    for name in set(CONFIG_PATHS) - {"LOG_DIR"}:
        assert getattr(settings, name).startswith(f"{config}/"), name
    for name in RUNTIME_PATHS:
        assert getattr(settings, name).startswith(f"{runtime}/"), name


def test_a_home_overridden_alone_leaves_the_other_where_it_is(tmp_path: Path) -> None:
    settings.loadSettings("local", [f"CONFIG_HOME_DIR:{tmp_path}/config/"])
    assert settings.RUNTIME_HOME_DIR == "/tmp/.paradrop/"
    assert settings.PDCONFD_WRITE_DIR == "/tmp/.paradrop/pdconfd/"
    assert f"{tmp_path}/config/config" == settings.CONFIG_FILE


def test_a_second_call_knows_nothing_of_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.loadSettings()
    pristine = snapshot()
    path = ini(Path.cwd(), pdserver="https://file")
    monkeypatch.setenv("LOCAL_DOMAIN", "environment")
    settings.PORTAL_SERVER_PORT = 1
    settings.loadSettings("unittest", [f"CONFIG_HOME_DIR:{tmp_path}/x", "EXTRA_THING:5"])
    assert snapshot()["EXTRA_THING"] == 5
    path.unlink()
    monkeypatch.delenv("LOCAL_DOMAIN")
    settings.loadSettings()
    assert snapshot() == pristine


@pytest.mark.parametrize("item", ["PDSERVER", "", ":value", "load settings:1", "loadSettings:1"])
def test_an_item_without_a_usable_key_is_named(item: str) -> None:
    with pytest.raises(SettingsError, match=f"'{item}'.*KEY:VALUE"):
        settings.loadSettings("local", [item])


def test_a_value_may_hold_colons_and_percent_signs(tmp_path: Path) -> None:
    ini(Path.cwd(), pdserver="https://host:80/%s")
    settings.loadSettings("local", ["WAMP_ROUTER:wss://host:9000/ws"])
    assert settings.WAMP_ROUTER == "wss://host:9000/ws"
    assert settings.PDSERVER == "https://host:80/%s"


def test_a_file_is_read_by_lower_case_names_in_its_section(tmp_path: Path) -> None:
    path = ini(tmp_path, portal_server_port=4444, debug_mode="true")
    path.write_text("[other]\npdserver = x\nstranger = 1\n" + path.read_text())
    settings.load_from_file(path)
    assert settings.PORTAL_SERVER_PORT == 4444
    assert settings.DEBUG_MODE is True
    assert snapshot().keys() == DEFAULTS.keys()
    assert DEFAULTS["PDSERVER"] == settings.PDSERVER


def test_a_missing_file_changes_nothing(tmp_path: Path) -> None:
    settings.load_from_file(tmp_path / "settings.ini")
    assert snapshot() == DEFAULTS


@pytest.mark.parametrize(
    "content", [b"no section\n", b"[base\n", b"[base]\na = 1\na = 2\n", b"[base]\n\xff\xfe = 1\n"]
)
def test_a_file_that_cannot_be_read_is_named_and_changes_nothing(content: bytes) -> None:
    settings.loadSettings()
    before = snapshot()
    path = Path("settings.ini")
    path.write_bytes(content)
    with pytest.raises(SettingsError, match=r"settings\.ini") as caught:
        settings.loadSettings("unittest")
    assert "\n" not in str(caught.value)
    assert snapshot() == before


def test_a_folder_in_place_of_the_file_is_an_error() -> None:
    Path("settings.ini").mkdir()
    with pytest.raises(SettingsError, match=r"settings\.ini cannot be read"):
        settings.loadSettings()


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("True", True),
        ("true", True),
        ("False", False),
        ("false", False),
        ("None", None),
        ("none", None),
        ("5", 5),
        ("-5", -5),
        ("2.5", 2.5),
        ("1e3", 1000.0),
        ("", ""),
        ("text", "text"),
        ("nan", "nan"),
        ("inf", "inf"),
        ("1_000", "1_000"),
        ("\N{ARABIC-INDIC DIGIT THREE}", "\N{ARABIC-INDIC DIGIT THREE}"),
        ("1\N{NO-BREAK SPACE}", "1\N{NO-BREAK SPACE}"),
        ("10.0.0.1", "10.0.0.1"),
    ],
)
def test_a_text_becomes_what_it_looks_like(text: str, value: object) -> None:
    parsed = settings.parseValue(text)
    assert parsed == value
    assert type(parsed) is type(value)


@given(st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False))
def test_what_python_prints_is_read_back(value: object) -> None:
    parsed = settings.parseValue(str(value))
    assert parsed == value
    assert type(parsed) is type(value)


@given(st.text())
def test_no_text_breaks_the_parser(text: str) -> None:
    value = settings.parseValue(text)
    assert value is None or isinstance(value, bool | int | float | str)
    assert not isinstance(value, float) or math.isfinite(value)


def test_attributes_are_neither_private_nor_callable_nor_modules() -> None:
    names = [name for name, _ in settings.iterate_module_attributes(settings)]
    assert set(names) == DEFAULTS.keys()


def test_saved_settings_are_there_after_the_next_load(tmp_path: Path) -> None:
    settings.loadSettings()
    path = Path(settings.CONFIG_HOME_DIR, "settings.ini")
    changes = {"HEARTBEAT_INTERVAL": 2.5, "LOCAL_DOMAIN": "a%b: c", "DEBUG_MODE": True}
    settings.save_to_file(path, changes)
    assert DEFAULTS["HEARTBEAT_INTERVAL"] == settings.HEARTBEAT_INTERVAL
    assert mode_of(str(path)) == 0o600
    settings.save_to_file(path, {"PORTAL_SERVER_PORT": 81, "WAMP_CA_FILE": None})
    settings.loadSettings()
    assert {name: getattr(settings, name) for name in changes} == changes
    assert settings.PORTAL_SERVER_PORT == 81
    assert settings.WAMP_CA_FILE is None


def test_saving_keeps_what_else_the_file_says_and_its_mode(tmp_path: Path) -> None:
    path = ini(tmp_path, pdserver="https://mine")
    path.write_text(path.read_text() + "[other]\nkey = value\n")
    path.chmod(0o644)
    settings.save_to_file(path, {"PORTAL_SERVER_PORT": 81})
    parser = configparser.ConfigParser()
    parser.read(path)
    assert parser["base"]["pdserver"] == "https://mine"
    assert parser["other"]["key"] == "value"
    assert mode_of(str(path)) == 0o644
    assert [file.name for file in tmp_path.glob("*") if file.is_file()] == ["settings.ini"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("NO_SUCH_SETTING", 1),
        ("loadSettings", 1),
        ("PORTAL_SERVER_PORT", "eighty"),
        ("PORTAL_SERVER_PORT", True),
        ("PORTAL_SERVER_PORT", None),
        ("DEBUG_MODE", 1),
        ("LOCAL_DOMAIN", 5),
        ("LOCAL_DOMAIN", "5"),
        ("LOCAL_DOMAIN", "none"),
        ("LOCAL_DOMAIN", " padded"),
        ("LOCAL_DOMAIN", "two\n# lines"),
        ("LOCAL_DOMAIN", "half a pair \ud800"),
        ("LOCAL_DOMAIN", "a name that is no UTF-8 \udcff"),
        ("LOCAL_DOMAIN", "with \0"),
        ("HEARTBEAT_INTERVAL", math.inf),
        ("WAMP_CA_FILE", 5),
    ],
)
def test_what_cannot_be_kept_is_refused_and_changes_nothing(
    tmp_path: Path, name: str, value: object
) -> None:
    path = ini(tmp_path, pdserver="https://mine")
    before = path.read_bytes()
    with pytest.raises(SettingsError, match=name):
        settings.save_to_file(path, {"DEBUG_MODE": True, name: value})
    assert path.read_bytes() == before


def test_a_damaged_file_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "settings.ini"
    path.write_text("nonsense")
    with pytest.raises(SettingsError, match="line 1"):
        settings.save_to_file(path, {"DEBUG_MODE": True})
    assert path.read_text() == "nonsense"
    path.write_text("[base]\nstranger = 1\n")
    with pytest.raises(SettingsError, match="stranger"):
        settings.save_to_file(path, {"DEBUG_MODE": True})
    assert path.read_text() == "[base]\nstranger = 1\n"
