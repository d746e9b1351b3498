"""
A disk that forgets, at a cut of the power, what was not synced.

`Recorder` writes down what a program does to the files below a folder, operation by operation.
`survivors` says what the folder may look like after a cut at any place between these operations
(and within a write): a file has what was synced, and of what was written since any part; a folder
has the names of its last sync, and of the changes since any, in any combination. That is less than
any journalling file system promises.
"""

from __future__ import annotations

import itertools
import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

Tree = dict[str, tuple[int, bytes] | None]
"""Mode and data of each file by its path below the folder; None for a folder."""

Operation = tuple[Any, ...]


@dataclass
class Node:
    """A file or a folder: what of it is on the disk, and what has been done since."""

    folder: bool
    mode: int = 0
    data: bytes = b""
    writes: bytes = b""
    modes: list[int] = field(default_factory=list)
    names: dict[str, int] = field(default_factory=dict)
    changes: list[tuple[str | None, str | None, int]] = field(default_factory=list)

    def sync(self) -> None:
        self.data, self.writes = self.data + self.writes, b""
        self.mode, self.modes = ([self.mode, *self.modes])[-1], []
        self.names, self.changes = changed(self.names, self.changes), []


def changed(
    names: dict[str, int], changes: Sequence[tuple[str | None, str | None, int]]
) -> dict[str, int]:
    names = dict(names)
    for old, new, number in changes:
        if old is not None:
            names.pop(old, None)
        if new is not None:
            names[new] = number
    return names


class Recorder:
    """
    The operations below `root`, from `__enter__` to `__exit__`. Nothing is really synced: the
    tests are quicker without, and know as much.

    @ivar operations: what was done, and the marks.
    """

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()
        self.before = snapshot(root)
        self.operations: list[Operation] = []
        self._open: dict[int, str] = {}
        self._patch = pytest.MonkeyPatch()

    def mark(self, name: str) -> None:
        """From here on, `survivors` gives this name with what it finds."""
        self.operations.append(("mark", name))

    def __enter__(self) -> Recorder:
        real = {name: getattr(os, name) for name in ("open", "write", "close")}

        def opened(path: Any, flags: int, mode: int = 0o777, **more: Any) -> int:
            new = bool(flags & os.O_CREAT) and not Path(path).exists()
            descriptor: int = real["open"](path, flags, mode, **more)
            if (below := self._below(path)) is not None:
                self._open[descriptor] = below
                if new:
                    self._did("create", below, stat.S_IMODE(os.fstat(descriptor).st_mode))
                elif flags & (os.O_WRONLY | os.O_RDWR):
                    assert below.endswith(".lock"), f"{below} is written in place"
                    del self._open[descriptor]
            return descriptor

        def written(descriptor: int, data: Any) -> int:
            count: int = real["write"](descriptor, data)
            if descriptor in self._open:
                self._did("write", self._open[descriptor], bytes(data[:count]))
            return count

        def closed(descriptor: int) -> None:
            self._open.pop(descriptor, None)
            real["close"](descriptor)

        def synced(descriptor: int) -> None:
            if descriptor in self._open:
                self._did("sync", self._open[descriptor])

        replacements: dict[str, Any] = {
            "open": opened,
            "write": written,
            "close": closed,
            "fsync": synced,
            "fchmod": self._by_descriptor("fchmod"),
            "chmod": self._by_path("chmod"),
            "mkdir": self._by_path("mkdir"),
            "rename": self._by_path("rename"),
            "replace": self._by_path("rename"),
            "unlink": self._by_path("unlink"),
            "remove": self._by_path("unlink"),
        }
        for name, function in replacements.items():
            self._patch.setattr(os, name, function)
        return self

    def __exit__(self, *_: Any) -> None:
        self._patch.undo()

    def check(self) -> None:
        """Everything that was done was recorded: the record leads to what is there."""
        disk = Disk(self.before)
        for operation in self.operations:
            disk.do(operation)
        for node in disk.nodes:
            node.sync()
        (only,) = disk.survivors()
        assert only == snapshot(self.root)

    def _did(self, *operation: Any) -> None:
        self.operations.append(operation)

    def _below(self, path: Any) -> str | None:
        real = Path(path).parent.resolve() / Path(path).name
        relative = os.path.relpath(real, self.root)
        return None if relative.startswith("..") else relative

    def _by_path(self, name: str) -> Any:
        real = getattr(os, name)

        def call(path: Any, *arguments: Any, **more: Any) -> None:
            real(path, *arguments, **more)
            below = self._below(path)
            if below is None:
                return
            if name == "rename":
                target = self._below(arguments[0])
                assert target is not None
                self._did(name, below, target)
            elif name in ("mkdir", "chmod"):
                self._did(name, below, stat.S_IMODE(Path(path).stat().st_mode))
            else:
                self._did(name, below)

        return call

    def _by_descriptor(self, name: str) -> Any:
        real = getattr(os, name)

        def call(descriptor: int, mode: int) -> None:
            real(descriptor, mode)
            if descriptor in self._open:
                self._did("chmod", self._open[descriptor], mode)

        return call


class Disk:
    """What is on a disk, and what is only on its way there."""

    def __init__(self, tree: Tree) -> None:
        self.nodes = [Node(folder=True)]
        for path, content in sorted(tree.items()):
            node = Node(folder=content is None)
            if content is not None:
                node.mode, node.data = content
            self._add(path, node)
        for node in self.nodes:
            node.sync()

    def do(self, operation: Operation) -> None:
        kind, *details = operation
        if kind == "mark":
            return
        path = details[0]
        if kind in ("create", "mkdir"):
            self._add(path, Node(folder=kind == "mkdir", mode=details[1]))
        elif kind == "write":
            self._node(path).writes += details[1]
        elif kind == "chmod":
            self._node(path).modes.append(details[1])
        elif kind == "sync":
            self._node(path).sync()
        else:
            folder, name = os.path.split(path)
            node = self._node(folder)
            number = changed(node.names, node.changes)[name]
            new = None
            if kind == "rename":
                other, new = os.path.split(details[1])
                assert other == folder, "a rename from one folder to another is not modelled"
            node.changes.append((name, new, number))

    def survivors(self) -> Iterator[Tree]:
        """What may be there if the power is cut now."""
        open_folders = [node for node in self.nodes if node.folder and node.changes]
        open_files = [
            node for node in self.nodes if not node.folder and (node.writes or node.modes)
        ]
        for chosen in itertools.product(*(list(subsets(node.changes)) for node in open_folders)):
            names = {
                id(node): changed(node.names, changes)
                for node, changes in zip(open_folders, chosen, strict=True)
            }
            for contents in itertools.product(*(torn(node) for node in open_files)):
                files = {
                    id(node): content for node, content in zip(open_files, contents, strict=True)
                }
                yield dict(self._walk(0, "", names, files))

    def _walk(
        self,
        number: int,
        path: str,
        names: dict[int, dict[str, int]],
        files: dict[int, tuple[int, bytes]],
    ) -> Iterator[tuple[str, tuple[int, bytes] | None]]:
        node = self.nodes[number]
        if not node.folder:
            yield path, files.get(id(node), (node.mode, node.data))
            return
        if path:
            yield path, None
        for name, inner in names.get(id(node), node.names).items():
            yield from self._walk(inner, f"{path}/{name}" if path else name, names, files)

    def _add(self, path: str, node: Node) -> None:
        folder, name = os.path.split(path)
        self._node(folder).changes.append((None, name, len(self.nodes)))
        self.nodes.append(node)

    def _node(self, path: str) -> Node:
        node = self.nodes[0]
        for name in filter(None, "" if path == "." else path.split("/")):
            node = self.nodes[changed(node.names, node.changes)[name]]
        return node


def survivors(recorder: Recorder) -> Iterator[tuple[str, Tree]]:
    """
    Every way in which the folder may look after a cut, once for each mark.

    @return: the last mark before the cut ("" if there was none), and the folder.
    """
    disk = Disk(recorder.before)
    mark = ""
    seen: set[Any] = set()
    for operation in [("mark", ""), *recorder.operations]:
        if operation[0] == "mark":
            mark = operation[1]
        disk.do(operation)
        for tree in disk.survivors():
            key = (mark, tuple(sorted(tree.items(), key=lambda item: item[0])))
            if key not in seen:
                seen.add(key)
                yield mark, tree


def torn(node: Node) -> list[tuple[int, bytes]]:
    """What may be left of a file that is not synced."""
    half = len(node.writes) // 2
    datas = {node.data, node.data + node.writes}
    if node.writes:
        datas |= {
            node.data + node.writes[:1],
            node.data + node.writes[:half],
            node.data + bytes(len(node.writes)),
            node.data + node.writes[:half] + bytes(len(node.writes) - half),
        }
    return [(mode, data) for mode in {node.mode, *node.modes} for data in sorted(datas)]


def subsets(changes: Sequence[Any]) -> Iterator[Sequence[Any]]:
    for length in range(len(changes) + 1):
        yield from itertools.combinations(changes, length)


def snapshot(root: Path) -> Tree:
    """What is below a folder."""
    found: Tree = {}
    for path in sorted(root.rglob("*")):
        below = str(path.relative_to(root))
        if path.is_dir():
            found[below] = None
        else:
            found[below] = (stat.S_IMODE(path.stat().st_mode), path.read_bytes())
    return found


def restore(tree: Tree, root: Path) -> None:
    """Make `root`, which must not exist, look like this."""
    root.mkdir(parents=True)
    for path, content in sorted(tree.items()):
        if content is None:
            (root / path).mkdir()
        else:
            (root / path).write_bytes(content[1])
            (root / path).chmod(content[0])
