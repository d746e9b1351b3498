"""Whatever is in the state file, the router starts, keeps its keys, and loses nothing of use."""

from __future__ import annotations

import datetime
import os
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, example, given
from hypothesis import settings as profile
from hypothesis import strategies as st

from paradrop.base import durable, identity, settings
from paradrop.base.exceptions import ParadropException
from paradrop.base.statefile import StateFile

same_folder = profile(
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], deadline=None
)

scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.binary(max_size=8)
    | st.dates()
    | st.datetimes(timezones=st.none() | st.just(datetime.UTC))
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(scalars, inner, max_size=3),
    max_leaves=8,
)
fields = st.fixed_dictionaries(
    {},
    optional={
        "version": st.sampled_from([0, 1, 2, -1, True, "1", None, 1.0]),
        "pdid": st.none() | st.text() | values,
        "pdserver": st.none() | st.text() | values,
        "wampRouter": st.none() | st.text() | values,
    },
)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CONFIG_HOME_DIR", str(tmp_path / "etc"))
    monkeypatch.setenv("RUNTIME_HOME_DIR", str(tmp_path / "run"))
    monkeypatch.setattr("os.fsync", lambda _: None)
    settings.loadSettings("unittest")
    return tmp_path / "etc"


def text(value: Any) -> str:
    """By which also what is not equal to itself can be compared."""
    dumped: str = yaml.safe_dump(value)
    return dumped


def read(home: Path, content: bytes) -> None:
    """Start with any content of the file, and check all that holds for all of them."""
    for old in home.glob("config*"):
        old.unlink()
    file = home / "config"
    file.write_bytes(content)
    identity.write_key("token", "apitoken")
    reason = None
    try:
        contents, damaged = StateFile(file).load()
    except ParadropException as error:
        reason = str(error)
    assert identity.read_key("apitoken") == "token"
    if reason is not None:
        assert reason.startswith(f"{file} is of version ")
        assert file.read_bytes() == content
        assert list(home.glob("config.*")) == []
        return
    assert identity.is_valid(contents)
    assert contents["version"] == identity.VERSION
    assert text(yaml.safe_load(file.read_bytes())) == text(contents)
    assert [path.read_bytes() for path in damaged] == ([content] if damaged else [])
    if damaged:
        assert contents == identity.default_info()
    else:
        assert text(contents) == text(yaml.safe_load(content) | {"version": 1})
    again, nothing = StateFile(file).load()
    assert (text(again), nothing) == (text(contents), [])


@same_folder
@given(st.binary())
@example(b"!!int ''")
@example(b"!!timestamp x")
@example(b"[" * 5000)
@example(b"a: &a [*a]")
@example(b"version: 1\npdid: x\npdserver: s\nwampRouter: w\nself: &a [*a]")
@example(b"version: 1\npdid: x\npdserver: s\nwampRouter: w\nnan: .nan\nsurrogate: '\\uD800'")
@example(b'version: 1\npdid: x\npdserver: s\nwampRouter: w\nsurrogate: "\\uD800"')
@example(b"version: 1\npdid: x\npdserver: s\nwampRouter: w\ndeep: " + b"[" * 90 + b"]" * 90)
@example(b"1" * 5000)
def test_any_bytes(home: Path, content: bytes) -> None:
    read(home, content)


def test_any_depth(home: Path) -> None:
    """Some can be read, but not written again."""
    state = b"version: 1\npdid: x\npdserver: s\nwampRouter: w\ndeep: "
    for depth in range(20, 420, 10):
        (home / "config").write_bytes(state + b"[" * depth + b"]" * depth)
        contents, damaged = StateFile(home / "config").load()
        assert bool(damaged) == ("deep" not in contents)
        assert depth > 100 or not damaged


@same_folder
@given(values)
def test_any_yaml(home: Path, value: Any) -> None:
    read(home, yaml.safe_dump(value).encode())


@same_folder
@given(st.dictionaries(scalars, values, max_size=3), fields)
def test_any_state(home: Path, more: dict[Any, Any], known: dict[str, Any]) -> None:
    read(home, yaml.safe_dump(more | known).encode())


@same_folder
@given(st.dictionaries(scalars, values, max_size=3), st.text(max_size=8), values)
def test_what_else_is_in_a_state_survives_a_save(
    home: Path, more: dict[Any, Any], name: str, value: Any
) -> None:
    file = home / "config"
    file.write_bytes(yaml.safe_dump(more | identity.default_info()).encode())
    state = StateFile(file)
    contents, _ = state.load()
    added = {f"new {name}": value}
    state.store(state.snapshot(contents | added))
    found = yaml.safe_load(file.read_bytes())
    assert text(found) == text(more | identity.default_info() | added)


@same_folder
@given(
    st.dictionaries(st.sampled_from("abc"), values),
    st.dictionaries(st.sampled_from("abc"), values),
    st.dictionaries(st.sampled_from("abc"), values),
)
def test_of_two_processes_each_has_its_own_changes(
    home: Path, start: dict[str, Any], one: dict[str, Any], other: dict[str, Any]
) -> None:
    """What both have changed is as the later one wants it."""
    default = identity.default_info()
    file = home / "config"
    identity.write_yaml(default | start, file)
    first, second = StateFile(file), StateFile(file)
    first.load()
    second.load()
    first.store(first.snapshot(default | one))
    second.store(second.snapshot(default | other))
    found = yaml.safe_load(file.read_bytes())
    for name in "abc":
        untouched = text(other.get(name, "-")) == text(start.get(name, "-"))
        wanted = one if untouched else other
        assert text(found.get(name, "-")) == text(wanted.get(name, "-"))


@same_folder
@given(st.binary(max_size=60) | values.map(lambda value: str(value).encode()))
@example(b"[" * 5000)
@example(b'{"version": 1, "renames": [["a"]]}')
@example(b'{"version": 1, "renames": [[5, "a"]]}')
@example(b'{"version": 2, "renames": []}')
@example(b'{"version": 1, "renames": []}')
def test_any_journal(home: Path, content: bytes) -> None:
    """One that cannot be read is kept, and costs nothing else."""
    for old in home.glob("config*"):
        old.unlink()
    identity.write_yaml(identity.default_info() | {"pdid": "r1"}, home / "config")
    journal = home / "config.journal"
    journal.write_bytes(content)
    contents, damaged = StateFile(home / "config").load()
    assert contents["pdid"] == "r1"
    assert [path.read_bytes() for path in damaged] in ([content], [])
    assert damaged or content == b'{"version": 1, "renames": []}'
    assert not journal.exists()


class TestTheFolder:
    def test_is_swept_of_what_a_cut_has_left(self, home: Path) -> None:
        for folder in (home, home / "keys"):
            (folder / ".~0123").write_text("half a secr")
            (folder / ".~folder").mkdir()
            (folder / ".hidden").touch()
        StateFile(home / "config").load()
        for folder in (home, home / "keys"):
            names = [path.name for path in folder.iterdir() if path.name.startswith(".")]
            assert sorted(names) == [".hidden", ".~folder"]

    def test_keeps_what_is_being_written(self, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        seen: list[str] = []

        def sweep(_: int) -> None:
            durable.sweep(home)
            seen.extend(path.name for path in home.glob(".~*"))

        with monkeypatch.context() as patch:
            patch.setattr("os.fsync", sweep)
            durable.write_durably(home / "file", b"data")
        assert len(seen) == 1
        assert (home / "file").read_bytes() == b"data"

    def test_may_be_swept_before_a_file_in_it_is_locked(
        self, home: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        opened, made = os.open, []

        def swept(path: Any, flags: int, *mode: int) -> int:
            descriptor = opened(path, flags, *mode)
            if flags & os.O_EXCL and not made:
                made.append(path)
                path.unlink()
            return descriptor

        with monkeypatch.context() as patch:
            patch.setattr(os, "open", swept)
            durable.write_durably(home / "file", b"data")
        assert made
        assert (home / "file").read_bytes() == b"data"

    def test_that_is_not_there_is_not_swept(self, tmp_path: Path) -> None:
        durable.sweep(tmp_path / "nowhere")

    def test_is_locked_while_it_is_written(self, home: Path) -> None:
        state = StateFile(home / "config")
        contents, _ = state.load()
        with (
            durable.locked(home),
            pytest.raises(TimeoutError, match=f"{home} has been locked for 0.05 s"),
            durable.locked(home, 0.05),
        ):
            pass
        state.store(state.snapshot(contents))
        with durable.locked(home / "nowhere"):
            pass
