"""
Who this router is, on its disk: the state file and the folder of keys.

Nothing here needs Twisted, so that a command run by hand starts at once on a slow router. Every
write is whole and durable (see `paradrop.base.durable`).
"""

import os
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from paradrop.base import settings
from paradrop.base.durable import sync_folder, write_durably
from paradrop.base.exceptions import ParadropException

VERSION = 1
"""Of the state file's format."""

PDID = re.compile(r"[A-Za-z0-9_-]{1,64}")
"""What an identity looks like. Without dots: a router owns the URIs that end in its own."""

TOKEN_KEY = "apitoken"  # noqa: S105 - the name of the key, not the key
"""Name of the key that authenticates the router to its WAMP router and to the server."""

_FIELDS = ("version", "pdid", "pdserver", "wampRouter")


def write_yaml(contents: Mapping[str, Any], path: str | os.PathLike[str]) -> None:
    """Replace a file by the YAML of a mapping.

    @raise OSError: the old file is still there, whole.
    """
    text = yaml.safe_dump(dict(contents), default_flow_style=False, sort_keys=True)
    write_durably(path, text.encode(), 0o640)


def default_info() -> dict[str, Any]:
    """The state of a router that nobody has provisioned yet."""
    return {
        "version": VERSION,
        "pdid": None,
        "pdserver": settings.PDSERVER,
        "wampRouter": settings.WAMP_ROUTER,
    }


def is_valid(contents: object) -> bool:
    """Whether what was read from a state file is a mapping with all that it must have."""
    return isinstance(contents, dict) and all(name in contents for name in _FIELDS)


def read_info(path: str | os.PathLike[str]) -> tuple[dict[str, Any], Path | None]:
    """
    Read the state file; a missing one, or one that is not valid, becomes the default.

    @return: the state, and the name under which an invalid file was kept for diagnosis, or None.
    @raise OSError: the file is there but cannot be read, or the default cannot be written.
    """
    file = Path(path)
    aside = None
    try:
        contents = yaml.safe_load(file.read_bytes())
        if is_valid(contents):
            return contents, None
        aside = _put_aside(file)
    except FileNotFoundError:
        pass
    except (yaml.YAMLError, ValueError):  # ValueError: not text at all
        aside = _put_aside(file)
    file.parent.mkdir(parents=True, exist_ok=True)
    contents = default_info()
    write_yaml(contents, file)
    return contents, aside


def _put_aside(file: Path) -> Path:
    stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime())
    aside = file.with_name(f"{file.name}.invalid-{stamp}")
    number = 1
    while aside.exists():  # a clock that stands still must not cost an earlier finding
        number += 1
        aside = file.with_name(f"{file.name}.invalid-{stamp}-{number}")
    file.replace(aside)
    sync_folder(file.parent)
    return aside


def key_path(name: str) -> Path:
    """
    @return: the file of a key.
    @raise ParadropException: the name is not that of a file directly in the key folder.
    """
    if not name or name in (".", "..") or "/" in name or "\0" in name:
        raise ParadropException(f"{name!r} is not the name of a key: use a plain file name")
    return Path(settings.KEY_DIR) / name


def write_key(key: str | bytes, name: str) -> None:
    """
    Keep a key, readable by its owner alone; one of the same name is replaced.

    @raise ParadropException: the name is refused.
    @raise OSError: an earlier key of that name is still there, whole.
    """
    path = key_path(name)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if path.parent.stat().st_mode & 0o077:
        path.parent.chmod(0o700)
    write_durably(path, key.encode() if isinstance(key, str) else key, 0o600)


def read_key(name: str) -> str | bytes | None:
    """
    @return: text where the file is UTF-8, else bytes; None where there is no such key.
    @raise ParadropException: the name is refused.
    """
    try:
        data = key_path(name).read_bytes()
    except FileNotFoundError:
        return None
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data


def store_identity(contents: Mapping[str, Any], token: str, path: str | os.PathLike[str]) -> None:
    """
    Make the router the one that `contents` describes: first its token, then all of its state in
    one step, so that a power cut in between never leaves it provisioned without a token.

    @raise OSError: the state is still the old one.
    """
    write_key(token, TOKEN_KEY)
    write_yaml(contents, path)
