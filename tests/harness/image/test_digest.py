"""A key covers all of what a cached thing is made from, and nothing else."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import textwrap
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

import harness
from harness.image import digest, python

PROJECT = Path(harness.__file__).parents[1]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A small package: code, data in a folder below, a program, and links."""
    made = tmp_path / "package"
    (made / "data").mkdir(parents=True)
    (made / "code.py").write_text("x = 1\n")
    (made / "data/list").write_text("one\n")
    (made / "data/empty").touch()
    (made / "data/program").write_text("#!/bin/sh\n")
    (made / "data/program").chmod(0o755)
    (made / "link").symlink_to("data/list")
    (made / "nowhere").symlink_to("missing")
    return made


CHANGES: dict[str, Callable[[Path], object]] = {
    "code": lambda at: (at / "code.py").write_text("x = 2\n"),
    "data": lambda at: (at / "data/list").write_text("two\n"),
    "a byte at the end": lambda at: (at / "data/empty").write_text("\n"),
    "another file": lambda at: (at / "data/more").touch(),
    "a hidden file": lambda at: (at / ".hidden").touch(),
    "one file less": lambda at: (at / "data/empty").unlink(),
    "another name": lambda at: (at / "code.py").rename(at / "coda.py"),
    "another folder": lambda at: (at / "data/list").rename(at / "list"),
    "not executable": lambda at: (at / "data/program").chmod(0o644),
    "executable": lambda at: (at / "code.py").chmod(0o755),
    "a link that leads elsewhere": lambda at: relink(at / "link", "code.py"),
    "a link to nothing that leads elsewhere": lambda at: relink(at / "nowhere", "gone"),
    "a link in place of a file": lambda at: relink(at / "data/empty", "list"),
    "a file in place of a link": lambda at: replace(at / "link", "one\n"),
    "a link to a folder": lambda at: (at / "folder").symlink_to("data"),
}

NOTHING: dict[str, Callable[[Path], object]] = {
    "touched": lambda at: os.utime(at / "code.py", (0, 0)),
    "read-only for others": lambda at: (at / "code.py").chmod(0o600),
    "byte code": lambda at: fill(at / "__pycache__/code.cpython-311.pyc"),
    "byte code beside it": lambda at: fill(at / "code.pyc"),
    "an editor's backup": lambda at: fill(at / "data/list~"),
    "another editor's backup": lambda at: fill(at / "code.py.bak"),
    "an editor's swap file": lambda at: fill(at / "data/.list.swp"),
    "an editor's lock": lambda at: (at / ".#code.py").symlink_to("somebody@somewhere.1:2"),
    "an editor's rescue": lambda at: fill(at / "#code.py#"),
    "what a merge left": lambda at: fill(at / "code.py.orig"),
}


def relink(path: Path, target: str) -> None:
    path.unlink()
    path.symlink_to(target)


def replace(path: Path, text: str) -> None:
    path.unlink()
    path.write_text(text)


def fill(path: Path) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text("whatever")


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_each_change_makes_another_hash(folder: Path, change: Callable[[Path], object]) -> None:
    before = digest.tree(folder)
    change(folder)
    assert digest.tree(folder) != before


@pytest.mark.parametrize("change", NOTHING.values(), ids=NOTHING)
def test_what_does_not_count_makes_no_other_hash(
    folder: Path, change: Callable[[Path], object]
) -> None:
    before = digest.tree(folder)
    change(folder)
    assert digest.tree(folder) == before


def test_where_a_folder_is_does_not_count(folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "ümlaut" / "b"
    copy.parent.mkdir()
    umask = os.umask(0o077)
    try:
        shutil.copytree(folder, copy, symlinks=True, copy_function=shutil.copy)
    finally:
        os.umask(umask)
    assert digest.tree(copy) == digest.tree(folder)


def test_two_paths_are_not_one(folder: Path) -> None:
    one, two = folder / "code.py", folder / "data/list"
    assert len({digest.tree(one, two), digest.tree(two, one), digest.tree(one), ""}) == 4
    assert digest.tree(folder / "not there") != digest.tree(one)


def test_a_fifo_is_not_read(folder: Path) -> None:
    os.mkfifo(folder / "fifo")
    assert digest.tree(folder)


def test_facts_are_told_apart() -> None:
    keys = [digest.key(a=("b", "c"), d=()), digest.key(a=("b",), d=("c",)), digest.key(a="b\0c")]
    keys += [digest.key(a=1), digest.key(a="1"), digest.key(b=1), digest.key(a="\udce9")]
    assert len(set(keys)) == len(keys)
    assert digest.key(a=1, b=2) == digest.key(b=2, a=1)


KEYS = """
import json, sys
from pathlib import Path
from types import SimpleNamespace

from harness.device import accel, file, golden
from harness.image import ARCHITECTURES, box, bundle, tools
from harness.image.build import library_key, root_key

checkout = Path(sys.argv[1])
lock = checkout / "requirements/device.lock"
own = checkout / "requirements/debian-device.txt"
x86, arm = ARCHITECTURES["x86_64"], ARCHITECTURES["armhf"]
image = SimpleNamespace(key="image", architecture=x86)
firmware = SimpleNamespace(path=lock, files=(), architecture=x86)
tools.find = lambda *_: "qemu"
tools.version = lambda _: "1"


def keys():
    return {
        "root": root_key(x86, lock),
        "root of armhf": root_key(arm, own),
        "library": library_key(checkout),
        "golden": golden.place("x86_64", ["fact"]).name,
        "box": box.key_of(image),
        "bundle": bundle.key_of(x86, (3, 11), checkout, lock),
        "firmware": file._key(firmware),
        "accelerator": accel.key_of("qemu", lock),
    }


before = keys()
noticed = {"": before}
for path in (Path(line) for line in sys.stdin.read().splitlines()):
    kept = path.read_bytes()
    path.write_bytes(kept + b"\\n# changed\\n")
    noticed[str(path.relative_to(checkout))] = [
        name for name, key in keys().items() if key != before[name]
    ]
    path.write_bytes(kept)
assert keys() == before
json.dump(noticed, sys.stdout)
"""

IMAGE = {"root", "root of armhf", "library", "golden", "box", "bundle", "firmware"}
DEVICE = {"golden", "firmware", "accelerator"}
LIBRARY = {"library", "bundle"}


def copied(target: Path) -> Path:
    left_out = shutil.ignore_patterns("__pycache__")
    for name in ("harness", "paradrop", "requirements"):
        shutil.copytree(PROJECT / name, target / name, ignore=left_out, symlinks=True)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(PROJECT / name, target / name)
    return target


def asked(checkout: Path, paths: list[Path], **environment: str) -> dict[str, list[str]]:
    done = subprocess.run(
        [sys.executable, "-P", "-c", textwrap.dedent(KEYS), str(checkout)],
        input="\n".join(map(str, paths)),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(checkout), "PYTHONDONTWRITEBYTECODE": "1"}
        | environment,
    )
    found: dict[str, list[str]] = json.loads(done.stdout)
    return found


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copied(tmp_path_factory.mktemp("checkout"))


def test_each_file_of_a_package_is_in_the_keys_of_what_it_makes(checkout: Path) -> None:
    """Every file that there is, also one that is added later."""
    folders = {"harness/image": IMAGE, "harness/device": DEVICE, "paradrop": LIBRARY}
    wanted = {
        str(path.relative_to(checkout)): keys
        for folder, keys in folders.items()
        for path in (checkout / folder).rglob("*")
        if path.is_file() and not path.is_symlink()
    }
    wanted |= {name: LIBRARY for name in ("pyproject.toml", "README.md", "LICENSE")}
    wanted["requirements/device.lock"] = {"root", "bundle", "firmware", "accelerator"}
    wanted["requirements/debian-device.txt"] = {"root of armhf"}
    wanted |= {f"harness/{name}": set() for name in ("cli.py", "report/html.py")}
    assert len(wanted) > 100
    noticed = asked(checkout, [checkout / name for name in wanted])
    del noticed[""]
    assert {name: set(keys) for name, keys in noticed.items()} == wanted


def test_keys_are_the_same_for_everybody(checkout: Path, tmp_path: Path) -> None:
    elsewhere = copied(tmp_path / "ein anderer Ort")
    first = asked(checkout, [])
    assert asked(elsewhere, [], LC_ALL="C", PYTHONHASHSEED="1", TZ="Asia/Tokyo") == first
    umask = os.umask(0o077)
    try:
        assert asked(elsewhere, []) == first
    finally:
        os.umask(umask)


def test_a_process_with_old_code_shares_no_key_with_new_code(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(digest._LOADED, folder, digest.tree(folder))
    old = digest.code(folder)
    (folder / "code.py").write_text("x = 2\n")
    mixed = digest.code(folder)
    monkeypatch.setitem(digest._LOADED, folder, digest.tree(folder))  # as another process sees it
    assert len({old, mixed, digest.code(folder)}) == 3


def test_what_editors_leave_is_not_in_the_wheel(tmp_path: Path) -> None:
    checkout = copied(tmp_path / "checkout")
    names = ("nexus.py~", ".nexus.py.swp", "#nexus.py#", "nexus.py.bak", "nexus.py.orig")
    for name in names:
        (checkout / "paradrop/base" / name).write_text("not the code")
    wheel = python.wheel_of(checkout, tmp_path)
    python.unpack(wheel, tmp_path / "root")
    unpacked = tmp_path / "root" / python.PACKAGES / "paradrop/base"
    assert (unpacked / "nexus.py").exists()
    assert not [name for name in names if (unpacked / name).exists()]
    settings = tomllib.loads((PROJECT / "pyproject.toml").read_text())
    left_out = settings["tool"]["hatch"]["build"]["targets"]["wheel"]["exclude"]
    assert {name.removeprefix("\\") for name in left_out} | {"__pycache__", "*.pyc"} == set(
        digest.LEFTOVERS
    )
