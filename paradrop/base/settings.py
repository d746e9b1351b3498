"""
The settings of all modules of Paradrop, as upper-case attributes of this one.

    from paradrop.base import settings
    print(settings.PDSERVER)

Initialization code calls `loadSettings` once; everybody else only reads, at the time of use (a
value copied at import does not see what was loaded later).
"""

import os
import sys
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from paradrop.base import address
from paradrop.base.disk import takes_nothing
from paradrop.base.durable import locked, make_folder, write_durably
from paradrop.base.environment import user_home, variable
from paradrop.base.exceptions import SettingsError
from paradrop.base.inifile import IniFile
from paradrop.base.values import OutOfRange, Range, check, parse

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
_DELAYS = ("WAMP_INITIAL_DELAY", "WAMP_MAX_DELAY")
_HOMES = ("CONFIG_HOME_DIR", "RUNTIME_HOME_DIR")


# What each number can be, from whatever source it comes.
_RANGES = {
    "PDSERVER_MAX_CONCURRENT_REQUESTS": Range(1, 1000),
    "WAMP_PING_INTERVAL": Range(0.1, 3600, off="no pings: a half-open link is not found"),
    "WAMP_PING_TIMEOUT": Range(0.1, 3600, off="an answer is not waited for"),
    "WAMP_INITIAL_DELAY": Range(0.01, 3600),  # and at most WAMP_MAX_DELAY
    "WAMP_MAX_DELAY": Range(0.1, 86400),
    "WAMP_CALL_TIMEOUT": Range(0.1, 86400),
    "WAMP_OUTBOX_LIMIT": Range(0, 1_000_000),
    "HEARTBEAT_INTERVAL": Range(0.1, 86400),
    "LOG_MAX_DAYS": Range(0, 36500),
    "LOG_MAX_BYTES": Range(4096, 2**50, off="no bound"),
    "PORTAL_SERVER_PORT": Range(1, 65535),
}


class Setting(NamedTuple):
    """
    A setting, and where its value comes from.

    @ivar source: `default`, `argument`, `file`, `environment`, or `program`: set by the program
        since the settings were loaded.
    @ivar where: the file and the line, the mode, or the home that took the setting along; else "".
    """

    name: str
    value: object
    source: str
    where: str = ""


_origins: dict[str, Setting] = {}
_loaded: tuple[str, tuple[str, ...]] = ("production", ())


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
    return parse(key) if isinstance(key, str) else key


def updatePaths(configHomeDir: str, runtimeHomeDir: str = "/var/run/paradrop") -> None:
    """
    Move both homes, and every path below them.

    @param configHomeDir: what has to survive a restart; kept with one slash at its end.
    @param runtimeHomeDir: what has not; likewise.
    """
    globals().update(_derived_paths(configHomeDir, runtimeHomeDir))


def number(name: str) -> float:
    """
    A number of the settings as it is safe to use: what a program has assigned is not refused, and
    if it is no number in the range, the default is used.
    """
    values: dict[str, Any] = globals()
    found: float = values[name] if values[name] in _RANGES[name] else values["_DEFAULTS"][name]
    return found


def ranges() -> dict[str, Range]:
    """@return: what each number of the settings can be, by its name."""
    return dict(_RANGES)


def load_from_file(path: str | os.PathLike[str]) -> None:
    """
    Load settings from the section `base` of an INI file, where their names are in lower case.

        [base]
        portal_server_port = 4444

    A file that does not exist is ignored, and so are other sections.

    @raise SettingsError: the file cannot be read or is not an INI file, or the section has a name
        that is no setting, or a value that the setting can't have; nothing was changed.
    """
    found = _from_file(path, _current())
    _check_delays(found, {name: number(name) for name in _DELAYS})
    _apply(found)


def loadSettings(
    mode: str = "local",
    slist: Sequence[str] = (),
    make_folders: bool = True,
    ignored: list[str] | None = None,
) -> None:
    """
    Set every setting anew, and make the log, key (0700) and misc folders.

    The sources, of which the last one to name a setting wins: the defaults of the mode, `slist`,
    `settings.ini` in the working folder, in `/etc`, in the common folder of a snap and in the
    configuration home, the environment. Nothing of an earlier call or assignment is kept. A home
    that is overridden takes along all paths below it that are not overridden themselves. A variable
    of the environment that is empty is not set; anywhere else an empty value is an error.

    @param mode: `production` (`/etc/paradrop/`, or the folders of the snap that we are in),
        `local` (`~/.paradrop/`) or `unittest` (`/tmp/.paradrop-test/`).
    @param slist: `KEY:VALUE` texts. An upper-case key that is no setting yet becomes one.
    @param make_folders: False changes nothing on the disk.
    @param ignored: where given, a number out of its range in a `settings.ini` is no error. It is
        left out, as if the file did not say it, and appended here, in words.
    @raise SettingsError: an unknown mode, an item without a key, a `settings.ini` that cannot be
        read or names what is no setting, a value of the wrong type or out of its range, a folder
        that cannot be made.
    """
    global _loaded
    paths = _mode_paths(mode)
    found = _from_list(slist)
    known = _DEFAULTS.keys() | found.keys()
    for folder in filter(None, (".", "/etc", variable("SNAP_COMMON"))):
        found |= _from_file(Path(folder, _FILE_NAME), known, ignored)
    environment = _from_environment(known)
    # The file in the configuration home cannot move that home: it would not be found again.
    moved = (found | environment).get("CONFIG_HOME_DIR")
    home = moved.value if moved is not None else paths["CONFIG_HOME_DIR"]
    saved = _from_file(Path(str(home), _FILE_NAME), known, ignored)
    saved.pop("CONFIG_HOME_DIR", None)
    found |= saved | environment
    _check_delays(found, _DEFAULTS, ignored)

    for name in _current().keys() - _DEFAULTS.keys():
        del globals()[name]
    _origins.clear()
    globals().update(_DEFAULTS | paths)
    for name, value in paths.items():
        _origins[name] = Setting(name, value, "default", f"mode {mode}")
    _apply(found)
    _loaded = (mode, tuple(slist))
    if make_folders:
        _make_folders()


def reload(ignored: list[str] | None = None) -> None:
    """As `loadSettings` with the mode and the list that it had the last time, without folders."""
    mode, slist = _loaded
    loadSettings(mode, slist, make_folders=False, ignored=ignored)


def describe() -> list[Setting]:
    """@return: every setting, by name: its value now, and where that comes from."""
    return [_described(name, value) for name, value in _current().items()]


def save_to_file(
    path: str | os.PathLike[str],
    changes: Mapping[str, object],
    ignored: list[str] | None = None,
) -> None:
    """
    Keep changed settings for the next `loadSettings`; what else the file says stays, comments
    excepted. The running values are not touched (`load_from_file` does that).

    The file is replaced durably and in one step (see `paradrop.base.durable`).

    @param path: mostly `settings.ini` in `CONFIG_HOME_DIR`; made if missing, with mode 0600.
    @param changes: new values by the names of the settings.
    @param ignored: where given, other numbers of the file that are out of their range are no
        error; they stay, and are appended here, in words.
    @raise SettingsError: an unknown setting, a value that the setting can't have, or one that
        would not be read back as it is, or a present file that is not valid; nothing was changed.
    @raise OSError: the file cannot be written; nothing was changed.
    """
    file = Path(path)
    with locked(file.parent):
        contents = IniFile.read(file)
        for name, value in changes.items():
            _check(name, value)
            contents.set(_SECTION, name.lower(), str(value).encode(errors="replace").decode())
        text = contents.text()
        written = IniFile(text, file)
        read = {option: kept for option, kept, _ in written.items(_SECTION)}
        for name, value in changes.items():
            # a carriage return is kept as it is, but read as the end of a line
            if "\r" in str(value) or parseValue(read.get(name.lower())) != value:
                what = address.shown(value) if isinstance(value, str) else value
                raise SettingsError(f"{name}={what!r} cannot be kept: it would read otherwise")
        values = _values(written, _DEFAULTS, ignored)
        delays = {name: number(name) for name in _DELAYS}
        _check_delays(values, delays, None if changes.keys() & delays.keys() else ignored)
        mode = file.stat().st_mode & 0o777 if file.exists() else 0o600
        write_durably(file, text.encode(), mode)


def _derived_paths(config_home: str, runtime_home: str) -> dict[str, str]:
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


def _mode_paths(mode: str) -> dict[str, str]:
    """All paths of a mode; only `production` leaves the data on the partition of the host."""
    if mode == "local":
        paths = _derived_paths(str(user_home() / ".paradrop"), "/tmp/.paradrop")  # noqa: S108
    elif mode == "unittest":
        paths = _derived_paths("/tmp/.paradrop-test", "/tmp/.paradrop-test")  # noqa: S108
    elif mode == "production":
        config = variable("SNAP_COMMON") or "/etc/paradrop"
        return _derived_paths(config, variable("SNAP_DATA") or "/var/run/paradrop")
    else:
        raise SettingsError(f"unknown mode {mode!r}: use local, unittest or production")
    return paths | {"HOST_DATA_PARTITION": paths["CONFIG_HOME_DIR"]}


def _from_list(slist: Sequence[str]) -> dict[str, Setting]:
    found = {}
    for item in slist:
        name, colon, text = item.partition(":")
        if not (colon and name.isidentifier() and name.isupper()):
            key, sign, _ = address.shown(item).partition("=")
            shown = f"{key}{sign}[concealed]" if sign else key
            raise SettingsError(f"setting {shown!r} is not of the form KEY:VALUE")
        found[name] = _read(name, text, "argument")
    return found


def _from_file(
    path: str | os.PathLike[str], known: Container[str], ignored: list[str] | None = None
) -> dict[str, Setting]:
    return _values(IniFile.read(path), known, ignored)


def _values(
    file: IniFile, known: Container[str], ignored: list[str] | None = None
) -> dict[str, Setting]:
    found = {}
    for option, text, line in file.items(_SECTION, known):
        name, where = option.upper(), f"{file.path}, line {line}"
        if name not in known:
            raise SettingsError(
                f"{where}: expected the name of a setting, not {option}{_hint(name)}"
            )
        try:
            found[name] = _read(name, text, "file", where)
        except OutOfRange as error:
            _ignore(error, ignored)
    return found


def _ignore(error: OutOfRange, ignored: list[str] | None) -> None:
    if ignored is None:
        raise error
    ignored.append(str(error))


def _from_environment(known: Iterable[str]) -> dict[str, Setting]:
    found = ((name, variable(name)) for name in known)
    return {name: _read(name, text, "environment") for name, text in found if text is not None}


def _read(name: str, text: str, source: str, where: str = "") -> Setting:
    """A setting as it is given; one that was not known before may be of any type."""
    setting = Setting(name, parse(text), source, where)
    if name in _TYPES:
        limits = _RANGES.get(name)
        check(name, setting.value, text, _TYPES[name], limits, f"{where or source}: ")
    return setting


def _check(name: str, value: object) -> None:
    if name not in _TYPES:
        raise SettingsError(f"{name} is not a setting{_hint(str(name))}")
    check(name, value, value, _TYPES[name], _RANGES.get(name))
    if (
        name in address.OF_SETTINGS
    ):  # before it is kept; a file may be read by who knows another use
        try:
            address.check(value, address.OF_SETTINGS[name])
        except address.AddressError as error:
            raise SettingsError(f"{name}: {error}") from None


def _check_delays(
    found: dict[str, Setting], others: Mapping[str, Any], ignored: list[str] | None = None
) -> None:
    """The first delay is not longer than the longest; others: of what is not among the found."""
    names = [name for name in _DELAYS if name in found]
    values: list[Any] = [found[name].value if name in found else others[name] for name in _DELAYS]
    first, longest = values
    if not names or first <= longest:
        return
    if names[0] == _DELAYS[0]:
        wrong = f"{_DELAYS[0]} has to be at most {_DELAYS[1]} ({longest}), and {first} is not"
    else:
        wrong = f"{_DELAYS[1]} has to be at least {_DELAYS[0]} ({first}), and {longest} is not"
    origin = found[names[0]]
    error = OutOfRange(f"{origin.where or origin.source}: {wrong}")
    from_file = [name for name in names if found[name].source == "file"]
    _ignore(error, ignored if from_file else None)
    for name in from_file:
        del found[name]
    _check_delays(found, others, ignored)


def _hint(name: str) -> str:
    import difflib

    close = difflib.get_close_matches(name.upper(), _DEFAULTS, 1)
    return f" (did you mean {close[0]}?)" if close else ""


def _apply(found: Mapping[str, Setting]) -> None:
    homes = [name for name in _HOMES if name in found]
    if homes:
        updatePaths(
            *(str(found[home].value if home in found else globals()[home]) for home in _HOMES)
        )
        for name, home in _HOME_OF.items():
            if home in found:
                where = found[home].where if name == home else f"from {home}"
                _origins[name] = Setting(name, globals()[name], found[home].source, where)
    for name, setting in found.items():
        if name not in _HOMES:
            globals()[name] = setting.value
            _origins[name] = setting


def _described(name: str, value: object) -> Setting:
    origin = _origins.get(name) or Setting(name, _DEFAULTS.get(name), "default")
    if type(origin.value) is type(value) and origin.value == value:
        return origin
    return Setting(name, value, "program")


def _make_folders() -> None:
    """A disk that is full or read-only is not an error: whoever misses a folder will say so."""
    for folder, mode in ((LOG_DIR, 0o750), (MISC_DIR, 0o750), (KEY_DIR, 0o700)):
        try:
            make_folder(folder, mode)
            if folder == KEY_DIR and Path(folder).stat().st_mode & 0o077:
                Path(folder).chmod(mode)
        except OSError as error:
            if not takes_nothing(error):
                raise SettingsError(f"a folder of the settings cannot be made: {error}") from error


def _current() -> dict[str, object]:
    """All settings, also those that a caller added."""
    module = sys.modules[__name__]
    return {name: value for name, value in iterate_module_attributes(module) if name.isupper()}


_DEFAULTS = _current()
_HOME_OF = {
    name: "RUNTIME_HOME_DIR" if path.startswith("runtime/") else "CONFIG_HOME_DIR"
    for name, path in _derived_paths("config", "runtime").items()
}
_TYPES: dict[str, Any] = {
    name: getattr(sys.modules[__name__], "__annotations__", {}).get(name, type(value))
    for name, value in _DEFAULTS.items()
}
