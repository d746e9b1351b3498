"""
Changed settings that have not shown yet that the router can still be reached with them.

A file beside `settings.ini` has what that file said before, until the change is confirmed. Whatever
happens to the power, a change is confirmed, or it can be taken back.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from paradrop.base import settings
from paradrop.base.durable import locked, put_aside, sync_folder, write_durably
from paradrop.base.inifile import IniFile

NAME = "settings.unconfirmed"
SECTION = "base"


def settings_file() -> Path:
    """Where the settings of the operator are."""
    return Path(settings.CONFIG_HOME_DIR) / "settings.ini"


Texts = dict[str, str | None]
"""What a file says of settings; None: nothing."""


def read(file: Path) -> Texts:
    """
    @param file: `settings.ini`.
    @return: of each setting that was changed and is not confirmed, what the file said before.
    """
    path = file.with_name(NAME)
    try:
        found = json.loads(path.read_bytes())
        if isinstance(found, dict) and all(_is_of_a_setting(*one) for one in found.items()):
            return found
    except OSError:
        return {}
    except (ValueError, RecursionError):
        pass
    with suppress(OSError):
        put_aside(path)
    return {}


def _is_of_a_setting(name: str, text: object) -> bool:
    """Whether it can stand in `settings.ini`; another hand, or a fault of the disk, may have been
    at the file."""
    return name.isidentifier() and name.isupper() and (text is None or _is_line(text))


def _is_line(text: object) -> bool:
    return isinstance(text, str) and text.isprintable()


def remember(file: Path, names: Iterable[str]) -> None:
    """
    Keep what `settings.ini` says of settings that are about to be changed. What was said before an
    earlier change that is not confirmed yet stays what it was.

    @raise OSError: it can't be kept.
    """
    before = IniFile.read(file)
    _write(file, {name: before.get(SECTION, name.lower()) for name in names} | read(file))


def confirm(file: Path, names: Iterable[str]) -> None:
    """
    Forget what was said before: the changes stay.

    @raise OSError: they are not confirmed.
    """
    confirmed = set(names)
    _write(file, {name: text for name, text in read(file).items() if name not in confirmed})


def take_back(file: Path, names: Iterable[str] | None = None) -> list[str]:
    """
    Have `settings.ini` say again what it said before.

    @param names: the settings; None for all that are not confirmed.
    @return: those that were taken back.
    @raise OSError: nothing is taken back.
    @raise SettingsError: the file is none any more; nothing is taken back.
    """
    texts = read(file)
    wanted = sorted(texts if names is None else texts.keys() & set(names))
    if wanted:
        with locked(file.parent):
            contents = IniFile.read(file)
            for name in wanted:
                contents.put(SECTION, name.lower(), texts[name])
            mode = file.stat().st_mode & 0o777 if file.exists() else 0o600
            write_durably(file, contents.text().encode(), mode)
        confirm(file, wanted)  # after a power cut in between, all of this is done once more
    return wanted


def reverted(names: list[str], reason: str) -> tuple[str, dict[str, Any]]:
    """@return: text and extra of the record that says so."""
    return (
        f"changed settings are taken back: {', '.join(names)}: {reason}",
        {"event": "config.reverted", "settings": names, "reason": reason},
    )


def _write(file: Path, texts: Texts) -> None:
    path = file.with_name(NAME)
    if texts:
        write_durably(path, json.dumps(texts).encode(), 0o600)
    elif path.exists():
        path.unlink()
        sync_folder(path.parent)
