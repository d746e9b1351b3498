"""
The state file, and keys that change with it, as one process of several knows them.

A daemon saves its state while `paradropd provision` gives the router another identity. So a save
is what this process has changed, applied to what is on the disk; and an identity is one thing, with
its token, that the process which has given it out last has given out.
"""

from __future__ import annotations

import copy
import itertools
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from paradrop.base import identity, settings
from paradrop.base.disk import unless_disk_takes_nothing
from paradrop.base.durable import (
    Content,
    locked,
    make_folder,
    put_aside,
    recover,
    sweep,
    write_durably,
    write_together,
)
from paradrop.base.exceptions import ParadropException

_IDENTITY = identity.FIELDS[1:]

Key = str | bytes | None
"""A key to be kept; None: to be removed."""


class Snapshot(NamedTuple):
    """A state as it was at a time; the later one of two has the higher number."""

    contents: dict[str, Any]
    number: int


class StateFile:
    """
    Reads the state file of a router once, and then writes it. Methods may be called by any thread.

    @param path: of the file. Its folder is that of the lock and of the journal as well.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._ours: dict[str, Any] | None = None  # as last read or written by this process
        self._disk: tuple[object, dict[str, Any]] | None = None
        self._numbers = itertools.count(1)
        self._stored = 0

    def load(self) -> tuple[dict[str, Any], list[Path]]:
        """
        Read the state. What a power cut has left half done is finished first; a missing file, or
        one that is not valid, becomes the default.

        On a disk that is full or read-only, the default, or a state that was migrated, is returned
        and not written.

        @return: the state, and the names under which damaged files were kept for diagnosis.
        @raise ParadropException: the file is of a later version; nothing was changed.
        @raise OSError: the file is there but cannot be read, or the default cannot be written.
        """
        make_folder(self.path.parent)
        with locked(self.path.parent):
            damaged = [self._recover()]
            sweep(self.path.parent)
            sweep(settings.KEY_DIR)
            try:
                contents, changed = self._parse()
            except FileNotFoundError:
                contents, changed = identity.default_info(), True
            except ValueError:
                with unless_disk_takes_nothing():
                    damaged.append(put_aside(self.path))
                contents, changed = identity.default_info(), True
            if changed:
                with unless_disk_takes_nothing():
                    identity.write_yaml(contents, self.path)
            self._know(contents, contents)
        return copy.deepcopy(contents), [path for path in damaged if path is not None]

    def snapshot(self, contents: Mapping[str, Any]) -> Snapshot:
        """Take a state for `store`, which may follow later, in another thread."""
        return Snapshot(copy.deepcopy(dict(contents)), next(self._numbers))

    def store(
        self,
        taken: Snapshot,
        keys: Mapping[str, Key] | None = None,
        provisioning: bool = False,
    ) -> None:
        """
        Bring a state to the disk, and keys with it, all in one step; unless a later state is
        there already. What other processes have changed meanwhile and this one has not, stays.

        @param keys: new keys by name.
        @param provisioning: the identity is this one, also if another process has changed it.
        @raise ParadropException: the name of a key is refused, or the file has become one of a
            later version; nothing was changed.
        @raise OSError: see `paradrop.base.durable.write_together`.
        @raise yaml.YAMLError: a value cannot be written as YAML; nothing was changed.
        """
        files: dict[Path, Content | None] = {}
        removed: dict[Path, Content | None] = {}
        for name, key in (keys or {}).items():
            path = identity.key_path(name)
            if key is None:
                removed[path] = None
            else:
                files[path] = identity.key_content(key)
        if keys:
            identity.open_key_folder()
        make_folder(self.path.parent)
        with locked(self.path.parent):
            if taken.number < self._stored and not keys:
                return
            self._recover()
            merged = self._merge(taken.contents, provisioning)
            # The token comes before the identity, and goes after it.
            files |= {self.path: (identity.dump_yaml(merged), identity.MODE)} | removed
            if len(files) == 1:
                write_durably(self.path, *files[self.path])  # type: ignore[misc]
            else:
                write_together(files, identity.journal_of(self.path))
            self._know(taken.contents, merged)
            self._stored = taken.number

    def _recover(self) -> Path | None:
        return recover(identity.journal_of(self.path))

    def _parse(self) -> tuple[dict[str, Any], bool]:
        data = self.path.read_bytes()
        try:
            return identity.parse_info(data)
        except ParadropException as error:
            raise ParadropException(f"{self.path} {error}") from None

    def _know(self, ours: dict[str, Any], disk: dict[str, Any]) -> None:
        self._ours = ours
        self._disk = (self._stamp(), disk)

    def _stamp(self) -> object:
        try:
            status = self.path.stat()
        except FileNotFoundError:
            return None
        return status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size

    def _theirs(self) -> dict[str, Any] | None:
        """What is on the disk; None if that is nothing that could be kept."""
        stamp = self._stamp()
        if self._disk is not None and self._disk[0] == stamp:
            return self._disk[1]
        try:
            return self._parse()[0]
        except (FileNotFoundError, ValueError):
            return None

    def _merge(self, new: dict[str, Any], provisioning: bool) -> dict[str, Any]:
        theirs, old = self._theirs(), self._ours
        if theirs is None or old is None:
            return new
        merged = {name: value for name, value in theirs.items() if name in new or name not in old}
        merged |= {
            name: value
            for name, value in new.items()
            if name not in old or not _same(old[name], value)
        }
        if provisioning:
            merged |= {name: new[name] for name in _IDENTITY}
        elif theirs["pdid"] != old["pdid"]:
            merged |= {name: theirs[name] for name in _IDENTITY}
        return merged


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, str | int | None):
        return type(one) is type(other) and bool(one == other)
    # As text, which does not mind values that refer to themselves.
    return identity.dump_yaml({"": one}) == identity.dump_yaml({"": other})
