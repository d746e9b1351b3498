"""
The command line of `paradropd`: run the daemon, or give the router its identity.

Exit codes: 0 done, 1 it could not be done (one line on stderr says why), 2 wrong usage.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from paradrop import __version__
from paradrop.base import address, identity, settings
from paradrop.base.address import AddressError
from paradrop.base.exceptions import ParadropException, SettingsError
from paradrop.base.lockfile import LOCK_NAME, holder
from paradrop.base.statefile import StateFile
from paradrop.daemon import account, pidfile, unconfirmed


def main(argv: Sequence[str] | None = None) -> int:
    """@return: the exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        if words[:1] == ["provision"]:
            return _provision(_parsed(_provision_parser(), words[1:]))
        parser = _parser()
        options = _parsed(parser, words)
        if options.json and not options.show_settings:
            parser.error("--json goes with --show-settings")
        if options.show_settings:
            return _show_settings(options)
        return _run(options, sys.orig_argv[1:] if argv is None else ["-m", "paradrop", *words])
    except (ParadropException, OSError) as error:
        print(f"paradropd: {error}", file=sys.stderr)
        return 1


def _parsed(parser: argparse.ArgumentParser, words: Sequence[str]) -> argparse.Namespace:
    """Settings may stand anywhere. What is not understood is named without its value: that may be
    a secret."""
    options, unknown = parser.parse_known_intermixed_args(words)
    if unknown:
        parser.error(f"unknown: {', '.join(word.partition('=')[0] for word in unknown)}")
    return options


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        allow_abbrev=False,
        prog="paradropd",
        description="The Paradrop router daemon. SIGHUP: read the identity again and reconnect. "
        "SIGTERM: stop.",
        epilog="`paradropd provision --help` says how to give the router its identity by hand.",
    )
    parser.add_argument("--version", action="version", version=f"paradropd {__version__}")
    parser.add_argument(
        "--show-settings",
        action="store_true",
        help="print each setting and where it comes from, and do nothing",
    )
    parser.add_argument("--json", action="store_true", help="print them as JSON")
    _add_settings(parser)
    return parser


def _provision_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        allow_abbrev=False,
        prog="paradropd provision",
        description="Give the router its identity, and tell the running daemon. An identity that "
        "it had is replaced.",
    )
    parser.add_argument("--pdid", required=True, type=_pdid, help="letters, digits, - and _")
    parser.add_argument("--router", required=True, type=_router, help="wss://host[:port]/path")
    parser.add_argument(
        "--token-file", required=True, metavar="FILE", help="file with the API token, - for stdin"
    )
    parser.add_argument("--pdserver", type=_server, help="URL of the server; default: the setting")
    _add_settings(parser)
    return parser


def _add_settings(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--mode",
        choices=("production", "local", "unittest"),
        help="where everything is; default: production where /etc/paradrop exists, else local",
    )
    parser.add_argument("settings", nargs="*", metavar="KEY:VALUE", help="settings to override")


def _pdid(text: str) -> str:
    if identity.PDID.fullmatch(text) is None:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no pdid: 1 to 64 of letters, digits, - and _"
        )
    return text


def _router(text: str) -> str:
    return _address(text, address.WAMP)


def _server(text: str) -> str:
    return _address(text, address.HTTP)


def _address(text: str, schemes: Sequence[str]) -> str:
    try:
        return address.check(text, schemes)
    except AddressError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _mode(options: argparse.Namespace) -> str:
    return options.mode or ("production" if Path("/etc/paradrop").is_dir() else "local")


def _load_settings(options: argparse.Namespace, ignored: list[str] | None = None) -> None:
    """Load the settings, as the user who owns the configuration home."""
    settings.loadSettings(_mode(options), options.settings, ignored=ignored)
    account.become_owner(
        Path(settings.CONFIG_HOME_DIR),
        made=[Path(settings.LOG_DIR), Path(settings.KEY_DIR), Path(settings.MISC_DIR)],
        runtime=Path(settings.RUNTIME_HOME_DIR),
    )


def _load_settings_for_long(options: argparse.Namespace) -> list[tuple[str, dict[str, Any]]]:
    """
    Load the settings of a daemon. Two things do not keep it from coming up, as nobody may be near
    who could cure them: a number out of its range in a `settings.ini`, which an earlier version has
    taken, and a changed setting that was not tried yet.

    @return: text and extra of each record that says what is wrong.
    """
    notes = []
    ignored: list[str] = []
    # What is wrong on the command line or in the environment is no matter of what is on trial.
    settings.loadSettings(_mode(options), options.settings, make_folders=False, ignored=[])
    try:
        _load_settings(options, ignored)
    except (SettingsError, OSError) as error:
        taken = _take_back(error)
        if not taken:
            raise
        notes.append(unconfirmed.reverted(taken, str(error)))
        ignored.clear()
        _load_settings(options, ignored)
    for fault in ignored:
        print(f"paradropd: ignored: {fault}", file=sys.stderr)
        notes.append((f"ignored: {fault}", {"event": "settings.ignored", "fault": fault}))
    return notes


def _take_back(error: Exception) -> list[str]:
    """
    The daemon can't start. Changed settings that were on trial are taken back.

    @return: these.
    """
    try:
        taken = unconfirmed.take_back(unconfirmed.settings_file())
    except (SettingsError, OSError):
        return []
    if taken:
        text, _ = unconfirmed.reverted(taken, str(error))
        print(f"paradropd: {text}", file=sys.stderr)
    return taken


def _read_token(name: str) -> str:
    try:
        token = (sys.stdin.read() if name == "-" else Path(name).read_text()).strip()
    except UnicodeDecodeError:
        token = ""
    if not identity.is_token(token) or " " in token:
        raise ParadropException(f"{name} has no token: one line of printable text is wanted")
    return token


def _provision(options: argparse.Namespace) -> int:
    token = _read_token(options.token_file)  # before privileges are dropped: it may be root's
    _load_settings(options, ignored=[])
    pdserver = address.check(options.pdserver or settings.PDSERVER, address.HTTP)
    state = StateFile(settings.CONFIG_FILE)
    contents, damaged = state.load()
    for aside in damaged:
        print(f"paradropd: a damaged file is kept as {aside}", file=sys.stderr)
    contents |= {
        "pdid": options.pdid,
        "pdserver": pdserver,
        "wampRouter": options.router,
    }
    state.store(state.snapshot(contents), {identity.TOKEN_KEY: token}, provisioning=True)
    pid = pidfile.running(Path(settings.RUNTIME_HOME_DIR))
    if pid is None:
        other = holder(Path(settings.CONFIG_FILE).parent / LOCK_NAME)
        note = "no daemon runs" if other is None else f"process {other} has to be told: restart it"
        print(f"provisioned as {options.pdid}; {note}")
        return 0
    try:
        os.kill(pid, signal.SIGHUP)
    except OSError as error:
        raise ParadropException(
            f"provisioned, but the daemon (pid {pid}) was not told: {error}; restart it"
        ) from error
    print(f"provisioned as {options.pdid}; the daemon (pid {pid}) reconnects")
    return 0


def _show_settings(options: argparse.Namespace) -> int:
    settings.loadSettings(_mode(options), options.settings, make_folders=False)
    found = [_without_secrets(setting) for setting in settings.describe()]
    if options.json:
        print(json.dumps([setting._asdict() for setting in found], indent=2))
        return 0
    names, values = (
        max(map(len, column))
        for column in zip(*((setting.name, str(setting.value)) for setting in found), strict=True)
    )
    for setting in found:
        origin = f"{setting.source}: {setting.where}" if setting.where else setting.source
        line = f"{setting.name:{names}}  {setting.value!s:{values}}  {origin}"
        encoding = sys.stdout.encoding or "utf-8"  # which may lack a character of a value
        print(line.encode(encoding, "backslashreplace").decode(encoding))
    return 0


def _without_secrets(setting: settings.Setting) -> settings.Setting:
    """The address of a server may have a password in it."""
    is_address = setting.name in address.OF_SETTINGS or "://" in str(setting.value)
    if isinstance(setting.value, str) and is_address:
        return setting._replace(value=address.shown(setting.value))
    return setting


def _run(options: argparse.Namespace, words: Sequence[str]) -> int:
    """@param words: what follows Python in the command, to begin anew."""
    # Until the reactor has its own handlers: a stop during the imports, which are slow on a
    # small router, is a clean one, and there is no identity yet that could be read again.
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    notes = _load_settings_for_long(options)
    # autobahn imports each serializer that is installed. This one is not used here, and prints a
    # traceback, without an error, where NumPy is newer than it knows.
    sys.modules.setdefault("bjdata", None)  # type: ignore[arg-type]
    entered = False
    try:
        with pidfile.PidFile(Path(settings.RUNTIME_HOME_DIR)):
            entered = True
            from paradrop.daemon.router import run

            return run(notes)
    except (ParadropException, OSError) as error:
        # A daemon that runs already is no fault of what is on trial, unless that is where to look.
        on_trial = unconfirmed.read(unconfirmed.settings_file())
        if not (entered or "RUNTIME_HOME_DIR" in on_trial) or not _take_back(error):
            raise
    sys.stdout.flush()
    # Begin anew, as what has begun can't be undone here.
    os.execv(sys.executable, [sys.executable, *words])  # noqa: S606
