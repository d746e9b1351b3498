"""The settings as the operator sees and changes them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from paradrop.base import settings
from paradrop.base.exceptions import SettingsError


def current() -> dict[str, Any]:
    """The value of every setting by its name."""
    return {
        name: value
        for name, value in settings.iterate_module_attributes(settings)
        if name.isupper()
    }


def change(changes: Mapping[str, object]) -> None:
    """
    Keep new values for the next start, and use them from now on.

    What the environment sets is used until the next start only: there it wins.

    @raise SettingsError: an unknown name or a wrong type; nothing was changed.
    """
    if not isinstance(changes, Mapping):
        raise SettingsError("changes are a mapping of names to values")
    file = Path(settings.CONFIG_HOME_DIR) / "settings.ini"
    try:
        settings.save_to_file(file, changes)
    except OSError as error:
        raise SettingsError(f"{file} cannot be written: {error}") from error
    for name, value in changes.items():
        setattr(settings, name, value)
