"""The settings as the operator sees and changes them."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from paradrop.base import identity, settings
from paradrop.base.exceptions import ParadropException, SettingsError
from paradrop.daemon import trial, unconfirmed


def current() -> dict[str, Any]:
    """The value of every setting by its name."""
    return {
        name: value
        for name, value in settings.iterate_module_attributes(settings)
        if name.isupper()
    }


def change(changes: Mapping[str, object]) -> set[str]:
    """
    Keep new values for the next start, and use them from now on.

    What the environment sets is used until the next start only: there it wins. Of what can cost
    the session, the values before are kept as well (see `paradrop.daemon.unconfirmed`).

    @return: the settings that are on trial now.
    @raise SettingsError: an unknown name or a value that the setting can't have; nothing was
        changed.
    """
    if not isinstance(changes, Mapping):
        raise SettingsError("changes are a mapping of names to values")
    if "CONFIG_HOME_DIR" in changes:
        raise SettingsError("CONFIG_HOME_DIR can't be changed here: the file is found in it")
    _check_state_file(changes.get("CONFIG_FILE"))
    file = unconfirmed.settings_file()
    tried = {
        name
        for name in (trial.OF_A_CONNECTION | trial.OF_A_START).intersection(changes)
        if changes[name] != getattr(settings, name)
    }
    try:
        known = unconfirmed.read(file)
        if tried:
            unconfirmed.remember(file, tried)
        try:
            settings.save_to_file(file, changes, ignored=[])
        except (SettingsError, OSError):
            with suppress(OSError):
                unconfirmed.confirm(file, tried - known.keys())
            raise
    except OSError as error:
        raise SettingsError(f"{file} cannot be written: {error}") from error
    for name, value in changes.items():
        setattr(settings, name, value)
    return tried


def _check_state_file(path: object) -> None:
    """A file that is there is taken for the state of the router; one that is none would be put
    aside. @raise SettingsError: it is none."""
    if not isinstance(path, str):
        return
    try:
        identity.parse_info(Path(path).read_bytes())
    except FileNotFoundError:
        return
    except (ParadropException, OSError, ValueError) as error:
        raise SettingsError(f"CONFIG_FILE: {path} is no state of a router: {error}") from None
