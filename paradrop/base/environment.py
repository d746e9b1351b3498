"""What the environment says. A variable that is empty is not set (as in POSIX's `${NAME:-}`)."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

from paradrop.base.exceptions import SettingsError


def variable(name: str) -> str | None:
    """@return: the value of a variable; None if it is not set, or empty, or only white space."""
    text = os.environ.get(name, "")
    return text if text.strip() else None


def user_home() -> Path:
    """
    The home of the user: that of `HOME`, else that of the account.

    @raise SettingsError: there is neither.
    """
    home = variable("HOME")
    if home is not None:
        return Path(home)
    try:
        return Path(pwd.getpwuid(os.getuid()).pw_dir)
    except KeyError as error:
        raise SettingsError(
            f"HOME is not set, and user {os.getuid()} has no account: set HOME or CONFIG_HOME_DIR"
        ) from error
