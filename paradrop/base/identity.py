"""
Who this router is, on its disk: what its state looks like, and the folder of keys.

Nothing here needs Twisted, so that a command run by hand starts at once on a slow router. Every
write is whole and durable (see `paradrop.base.durable`).
"""

import copy
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml

from paradrop.base import settings, yamlfile
from paradrop.base.durable import TEMPORARY, locked, make_folder, recover, write_durably
from paradrop.base.exceptions import ParadropException

VERSION = 1
"""Of the state file's format."""

PDID = re.compile(r"[A-Za-z0-9_-]{1,64}")
"""What an identity looks like. Without dots: a router owns the URIs that end in its own."""

TOKEN_KEY = "apitoken"  # noqa: S105 - the name of the key, not the key
"""Name of the key that authenticates the router to its WAMP router and to the server."""

FIELDS = ("version", "pdid", "pdserver", "wampRouter")
"""What a state has at least; what else it has is kept."""

MODE = 0o640
"""Permission bits of the state file."""

MIGRATIONS: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {
    0: lambda contents: contents,  # had no version, and all that version 1 has
}
"""What makes a state of each version one of the next."""


def check_pdid(pdid: object) -> str:
    """
    @return: the pdid. One that is given to a router by hand or by a server looks like `PDID`; a
        program may use others, as far as a URI of WAMP can end in them.
    @raise ParadropException: it can't be one.
    """
    if not isinstance(pdid, str) or not pdid.isprintable() or not pdid or set(pdid) & set(" #"):
        raise ParadropException(f"{pdid!r:.80} is no pdid")
    return pdid


def is_token(token: str | bytes) -> bool:
    """Whether it can be an API token: some printable text, without spaces around it."""
    try:
        text = token.decode() if isinstance(token, bytes) else token
    except UnicodeDecodeError:
        return False
    return bool(text) and text.isprintable() and text == text.strip()


def dump_yaml(contents: Mapping[str, Any]) -> bytes:
    """@raise yaml.YAMLError: there is a value that YAML has no form for."""
    text: str = yaml.safe_dump(dict(contents), default_flow_style=False, sort_keys=True)
    return text.encode()


def write_yaml(contents: Mapping[str, Any], path: str | os.PathLike[str]) -> None:
    """Replace a file by the YAML of a mapping.

    @raise OSError: the old file is still there, whole.
    """
    write_durably(path, dump_yaml(contents), MODE)


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
    return isinstance(contents, dict) and all(name in contents for name in FIELDS)


def parse_info(data: bytes) -> tuple[dict[str, Any], bool]:
    """
    @param data: of a state file.
    @return: the state in this version, and whether it was of an older one.
    @raise ValueError: it is not valid.
    @raise ParadropException: it is of a later version than this program knows.
    """
    contents: Any = yamlfile.load(data)
    if not isinstance(contents, dict):
        raise ValueError("not a mapping")
    try:
        dump_yaml(copy.deepcopy(contents))
    except RecursionError as error:
        raise ValueError("too deep to be written again") from error
    version = contents.get("version", 0)
    if type(version) is not int or version < 0:
        raise ValueError("version is not the number of a version")
    if version > VERSION:
        raise ParadropException(
            f"is of version {version}, and this program knows versions up to {VERSION}: "
            "it is left as it is; run a newer paradrop"
        )
    for step in range(version, VERSION):
        contents = MIGRATIONS[step](contents) | {"version": step + 1}
    for name in FIELDS:
        if name not in contents:
            raise ValueError(f"lacks {name}")
    for name in FIELDS[1:]:
        if not isinstance(contents[name], str | None):
            raise ValueError(f"{name} is not text")
    return contents, version < VERSION


def journal_of(path: str | os.PathLike[str]) -> Path:
    """@return: where changes of the state file and keys together are written first."""
    return Path(f"{os.fspath(path)}.journal")


def key_path(name: str) -> Path:
    """
    @return: the file of a key.
    @raise ParadropException: the name is not that of a file directly in the key folder, or that
        of a temporary file.
    """
    unusable = not name or name in (".", "..") or "/" in name or "\0" in name
    if unusable or name.startswith(TEMPORARY):
        raise ParadropException(f"{name!r} is not the name of a key: use a plain file name")
    return Path(settings.KEY_DIR) / name


def open_key_folder() -> None:
    """Make the key folder, and close it to others.

    @raise OSError: it cannot be made or closed.
    """
    folder = Path(settings.KEY_DIR)
    make_folder(folder, 0o700)
    if folder.stat().st_mode & 0o077:
        folder.chmod(0o700)


def key_content(key: str | bytes) -> tuple[bytes, int]:
    """@return: data and permission bits of the file of a key."""
    return key.encode() if isinstance(key, str) else bytes(key), 0o600


def write_key(key: str | bytes, name: str) -> None:
    """
    Keep a key, readable by its owner alone; one of the same name is replaced.

    @raise ParadropException: the name is refused.
    @raise OSError: an earlier key of that name is still there, whole.
    """
    path = key_path(name)
    open_key_folder()
    with locked(Path(settings.CONFIG_FILE).parent):
        recover(journal_of(settings.CONFIG_FILE))  # or an older key would come back later
        write_durably(path, *key_content(key))


def read_key(name: str) -> str | bytes | None:
    """
    @return: text where the file is UTF-8, else bytes; None where there is no such key.
    @raise ParadropException: the name is refused.
    """
    try:
        return key_value(key_path(name).read_bytes())
    except FileNotFoundError:
        return None


def key_value(data: bytes) -> str | bytes:
    """@return: what is in the file of a key, as text where it is UTF-8."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data
