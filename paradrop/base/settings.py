"""
The settings of all modules of Paradrop, as upper-case attributes of this one.

    from paradrop.base import settings
    print(settings.PDSERVER)

Initialization code calls `loadSettings` once; everybody else only reads, at the time of use (a
value copied at import does not see what was loaded later).
"""

import configparser
import io
import math
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType

from paradrop.base.durable import make_folder, write_durably
from paradrop.base.exceptions import SettingsError

DEBUG_MODE = False

# Homes. Everything that `_derived_paths` names moves with them.
CONFIG_HOME_DIR = "/etc/paradrop/"
RUNTIME_HOME_DIR = "/var/run/paradrop/"
TMP_DIR = "/tmp"  # noqa: S108 - the documented default; who writes there picks a private name

LOG_DIR = "/etc/paradrop/logs/"
KEY_DIR = "/etc/paradrop/keys/"
MISC_DIR = "/etc/paradrop/misc/"
CONFIG_FILE = "/etc/paradrop/config"

# The Paradrop server, and the session with its WAMP router.
PDSERVER = "https://paradrop.org"
PDSERVER_MAX_CONCURRENT_REQUESTS = 2
WAMP_ROUTER = "wss://paradrop.org/ws"
WAMP_CA_FILE: str | None = None  # PEM file of trusted authorities; None: those of the system
WAMP_CLIENT_CERT: str | None = None  # PEM file of the certificate to show; None: none is shown
WAMP_CLIENT_KEY: str | None = None  # PEM file of its private key
WAMP_TLS_VERIFY = True  # False: whoever answers is believed to be the router
WAMP_PING_INTERVAL: float = 8  # seconds between pings that find a half-open link
WAMP_PING_TIMEOUT: float = 4  # seconds until an unanswered ping means that the link is lost
WAMP_INITIAL_DELAY: float = 1  # seconds before the first retry of a connection
WAMP_MAX_DELAY: float = 60  # seconds, the longest delay between two retries
WAMP_CALL_TIMEOUT: float = 30  # seconds until a call without an answer fails
WAMP_OUTBOX_LIMIT = 0  # events kept while there is no session; 0: none
HEARTBEAT_INTERVAL: float = 30  # seconds between two heartbeats

# How long log files of days that are over are kept.
LOG_MAX_DAYS = 30
LOG_MAX_BYTES = 64 * 1024 * 1024  # all of them together

# The host, its chutes and their networks.
PORTAL_SERVER_PORT = 8080
LOCAL_DOMAIN = "paradrop.io"
HOST_CONFIG_FILE = "/etc/paradrop/hostconfig.yaml"
DEFAULT_HOST_CONFIG_FILE = "/etc/paradrop/hostconfig.default.yaml"
HOST_DATA_PARTITION = "/"
FC_CHUTESTORAGE_FILE = "/etc/paradrop/chutes"
EXTERNAL_DATA_DIR = "/etc/paradrop/chute-data/{chute}/"
EXTERNAL_SYSTEM_DIR = "/var/run/paradrop/system/{chute}/"
UCI_CONFIG_DIR = "/etc/paradrop/uci/config.d/"
UCI_BACKUP_DIR = "/etc/paradrop/uci/config-backup.d/"
PDCONFD_WRITE_DIR = "/var/run/paradrop/pdconfd/"

_FILE_NAME = "settings.ini"
_SECTION = "base"
_HOMES = ("CONFIG_HOME_DIR", "RUNTIME_HOME_DIR")

_Value = bool | int | float | str | None


def iterate_module_attributes(module: ModuleType) -> Iterator[tuple[str, object]]:
    """
    Iterate over the attributes of a module that are values: neither private nor callable nor
    a module.

    @return: (name, value) pairs, by name.
    """
    for name in dir(module):
        value = getattr(module, name)
        if not name.startswith("_") and not callable(value) and not isinstance(value, ModuleType):
            yield name, value


def parseValue(key: object) -> object:
    """
    Give a text from a file, the environment or the command line its type.

    @param key: the text; anything else is returned as it is.
    @return: True, False, None (each in any case), an int, a finite float, else the text itself.
    """
    if not isinstance(key, str):
        return key
    constants: dict[str, _Value] = {"true": True, "false": False, "none": None}
    if key.lower() in constants:
        return constants[key.lower()]
    if "_" in key:
        return key
    try:
        return int(key)
    except ValueError:
        pass
    try:
        number = float(key)
    except ValueError:
        return key
    return number if math.isfinite(number) else key


def updatePaths(configHomeDir: str, runtimeHomeDir: str = "/var/run/paradrop") -> None:
    """
    Move both homes, and every path below them.

    @param configHomeDir: what has to survive a restart; kept with one slash at its end.
    @param runtimeHomeDir: what has not; likewise.
    """
    globals().update(_derived_paths(configHomeDir, runtimeHomeDir))


def load_from_file(path: str | os.PathLike[str]) -> None:
    """
    Load settings from the section `base` of an INI file, where their names are in lower case.

        [base]
        portal_server_port = 4444

    A name that is no setting is ignored, and so is a file that does not exist.

    @raise SettingsError: the file cannot be read or is not an INI file; nothing was changed.
    """
    _override(_read_file(path))


def loadSettings(mode: str = "local", slist: Sequence[str] = ()) -> None:
    """
    Set every setting anew, and make the log, key (0700) and misc folders.

    The sources, of which the last one to name a setting wins: the defaults of the mode, `slist`,
    `settings.ini` in the working folder, in `/etc`, in the common folder of a snap and in the
    configuration home, the environment. Nothing of an earlier call or assignment is kept. A home
    that is overridden takes along all paths below it that are not overridden themselves.

    @param mode: `production` (`/etc/paradrop/`, or the folders of the snap that we are in),
        `local` (`~/.paradrop/`) or `unittest` (`/tmp/.paradrop-test/`).
    @param slist: `KEY:VALUE` texts. An upper-case key that is no setting yet becomes one.
    @raise SettingsError: an unknown mode, an item without a key, a `settings.ini` that cannot be
        read, a folder that cannot be made.
    """
    paths = _mode_paths(mode)
    overrides = _parse_list(slist)
    for folder in filter(None, (".", "/etc", os.environ.get("SNAP_COMMON"))):
        overrides |= _read_file(Path(folder, _FILE_NAME))
    environment = {
        name: parseValue(os.environ[name])
        for name in _DEFAULTS.keys() | overrides.keys()
        if name in os.environ
    }
    # The file in the configuration home cannot move that home: it would not be found again.
    home = (paths | overrides | environment)["CONFIG_HOME_DIR"]
    saved = _read_file(Path(str(home), _FILE_NAME))
    saved.pop("CONFIG_HOME_DIR", None)

    for name in _current().keys() - _DEFAULTS.keys():
        del globals()[name]
    globals().update(_DEFAULTS | paths)
    _override(overrides | saved | environment)
    _make_folders()


def save_to_file(path: str | os.PathLike[str], changes: Mapping[str, object]) -> None:
    """
    Keep changed settings for the next `loadSettings`; what else the file says stays, comments
    excepted. The running values are not touched (`load_from_file` does that).

    The file is replaced durably and in one step (see `paradrop.base.durable`).

    @param path: mostly `settings.ini` in `CONFIG_HOME_DIR`; made if missing, with mode 0600.
    @param changes: new values by the names of the settings.
    @raise SettingsError: an unknown setting, a value of another type than the default's, or one
        that would not be read back as it is, or a present file that is not valid; nothing was
        changed.
    @raise OSError: the file cannot be written; nothing was changed.
    """
    parser = _parse_file(path)
    if not parser.has_section(_SECTION):
        parser.add_section(_SECTION)
    for name, value in changes.items():
        _check_type(name, value)
        parser.set(_SECTION, name.lower(), str(value))
    text = io.StringIO()
    parser.write(text)

    written = _values(_parse_text(text.getvalue(), str(path)))
    for name, value in changes.items():
        if name not in written or written[name] != value:
            raise SettingsError(f"{name}={value!r} cannot be kept in {_FILE_NAME}: reads otherwise")
    file = Path(path)
    mode = file.stat().st_mode & 0o777 if file.exists() else 0o600
    write_durably(file, text.getvalue().encode(), mode)


def _derived_paths(config_home: str, runtime_home: str) -> dict[str, object]:
    config, runtime = (home.rstrip("/") + "/" for home in (config_home, runtime_home))
    return {
        "CONFIG_HOME_DIR": config,
        "RUNTIME_HOME_DIR": runtime,
        "LOG_DIR": config + "logs/",
        "KEY_DIR": config + "keys/",
        "MISC_DIR": config + "misc/",
        "CONFIG_FILE": config + "config",
        "HOST_CONFIG_FILE": config + "hostconfig.yaml",
        "DEFAULT_HOST_CONFIG_FILE": config + "hostconfig.default.yaml",
        "FC_CHUTESTORAGE_FILE": config + "chutes",
        "EXTERNAL_DATA_DIR": config + "chute-data/{chute}/",
        "EXTERNAL_SYSTEM_DIR": runtime + "system/{chute}/",
        "UCI_CONFIG_DIR": config + "uci/config.d/",
        "UCI_BACKUP_DIR": config + "uci/config-backup.d/",
        "PDCONFD_WRITE_DIR": runtime + "pdconfd/",
    }


def _mode_paths(mode: str) -> dict[str, object]:
    """All paths of a mode; only `production` leaves the data on the partition of the host."""
    if mode == "local":
        paths = _derived_paths(str(Path.home() / ".paradrop"), "/tmp/.paradrop")  # noqa: S108
    elif mode == "unittest":
        paths = _derived_paths("/tmp/.paradrop-test", "/tmp/.paradrop-test")  # noqa: S108
    elif mode == "production":
        config = os.environ.get("SNAP_COMMON", "/etc/paradrop")
        return _derived_paths(config, os.environ.get("SNAP_DATA", "/var/run/paradrop"))
    else:
        raise SettingsError(f"unknown mode {mode!r}: use local, unittest or production")
    return paths | {"HOST_DATA_PARTITION": paths["CONFIG_HOME_DIR"]}


def _parse_list(slist: Sequence[str]) -> dict[str, object]:
    parsed = {}
    for item in slist:
        key, colon, value = item.partition(":")
        if not (colon and key.isidentifier() and key.isupper()):
            raise SettingsError(f"setting {item!r} is not of the form KEY:VALUE")
        parsed[key] = parseValue(value)
    return parsed


def _parse_text(text: str, path: str) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read_string(text, path)
    except configparser.Error as error:
        reason = " ".join(str(error).split())
        raise SettingsError(f"{path} is not a valid settings file: {reason}") from error
    return parser


def _parse_file(path: str | os.PathLike[str]) -> configparser.ConfigParser:
    try:
        text = Path(path).read_text(encoding="utf-8")
    except FileNotFoundError:
        text = ""
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} cannot be read: {error}") from error
    return _parse_text(text, str(path))


def _values(parser: configparser.ConfigParser) -> dict[str, object]:
    if not parser.has_section(_SECTION):
        return {}
    section = parser[_SECTION]
    return {
        name: parseValue(section[name.lower()])
        for name in _DEFAULTS
        if section.get(name.lower()) is not None
    }


def _read_file(path: str | os.PathLike[str]) -> dict[str, object]:
    return _values(_parse_file(path))


def _override(changes: Mapping[str, object]) -> None:
    if any(home in changes for home in _HOMES):
        updatePaths(*(str(changes.get(home, globals()[home])) for home in _HOMES))
    globals().update({name: value for name, value in changes.items() if name not in _HOMES})


def _check_type(name: str, value: object) -> None:
    if name not in _DEFAULTS:
        raise SettingsError(f"{name} is not a setting")
    default = _DEFAULTS[name]
    allowed: tuple[type, ...]
    if default is None:
        allowed = (str, type(None))
    elif isinstance(default, bool):
        allowed = (bool,)
    elif isinstance(default, int | float):
        allowed = (int, float)
    else:
        allowed = (str,)
    if not isinstance(value, allowed) or (isinstance(value, bool) and bool not in allowed):
        names = " or ".join(kind.__name__ for kind in allowed)
        raise SettingsError(f"{name} is of type {names}, not {type(value).__name__}")


def _make_folders() -> None:
    try:
        for folder in (LOG_DIR, MISC_DIR):
            make_folder(folder, 0o750)
        keys = Path(KEY_DIR)
        make_folder(keys, 0o700)
        if keys.stat().st_mode & 0o077:
            keys.chmod(0o700)
    except OSError as error:
        raise SettingsError(f"a folder of the settings cannot be made: {error}") from error


def _current() -> dict[str, object]:
    """All settings, also those that a caller added."""
    module = sys.modules[__name__]
    return {name: value for name, value in iterate_module_attributes(module) if name.isupper()}


_DEFAULTS = _current()
