"""After a cut of the power at any moment, files are wholly the old or wholly the new ones."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from disk import Recorder, Tree, restore, snapshot, survivors

from paradrop.base import durable, identity, settings
from paradrop.base.nexus import NexusBase
from paradrop.base.output import out
from paradrop.base.statefile import StateFile


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The recorded calls are what counts; nothing has to be really on the disk."""
    monkeypatch.setattr(os, "fsync", lambda _: None)


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """In memory where it can be: thousands of disks are made."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as made:
        yield Path(made)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A configuration home that is not there yet; the logs are elsewhere."""
    monkeypatch.setenv("CONFIG_HOME_DIR", str(tmp_path / "root" / "etc"))
    monkeypatch.setenv("LOG_DIR", str(tmp_path / "logs"))
    monkeypatch.setenv("RUNTIME_HOME_DIR", str(tmp_path / "run"))
    (tmp_path / "root").mkdir()
    return tmp_path / "root"


@pytest.fixture
def start() -> Iterator[Callable[[], NexusBase]]:
    """What a daemon does when it starts."""

    def made() -> NexusBase:
        settings.loadSettings("unittest")
        return NexusBase(False, False)

    yield made
    out.endLogging()


def after_each_cut(
    recorder: Recorder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[str, Any]]:
    """
    Start the router again after each cut, and after each cut of that start as well.

    @return: what had been done before the (first) cut, and who the router is then.
    """
    recorder.check()
    seen: set[tuple[str, str]] = set()
    for done, tree in survivors(recorder):
        with Recorder(boot(tree, tmp_path, monkeypatch)) as again:
            who = identity_on_disk()
        again.check()
        yield done, who
        for _, twice in survivors(again):
            if (key := (done, str(sorted(twice.items())))) not in seen:
                seen.add(key)
                root = boot(twice, tmp_path, monkeypatch)
                yield done, identity_on_disk()
                assert leftovers(root) == []


def boot(tree: Tree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = tmp_path / "cut"
    shutil.rmtree(root, ignore_errors=True)
    restore(tree, root)
    monkeypatch.setenv("CONFIG_HOME_DIR", str(root / "etc"))
    return root


def identity_on_disk() -> Any:
    """Who the router is: its pdid, its router and its token; another key it had all along."""
    settings.loadSettings("unittest")
    contents, damaged = StateFile(settings.CONFIG_FILE).load()
    assert damaged == []
    private = Path(settings.KEY_DIR)
    assert private.stat().st_mode & 0o077 == 0
    assert all(path.stat().st_mode & 0o077 == 0 for path in private.iterdir())
    return contents["pdid"], contents["wampRouter"], identity.read_key("apitoken")


def leftovers(root: Path) -> list[str]:
    return [
        path.name
        for path in root.rglob("*")
        if path.name.startswith(durable.TEMPORARY) or path.name.endswith(".journal")
    ]


NOBODY = (None, "wss://paradrop.org/ws")
A = ("pd-a", "wss://a/ws", "token-a")
B = ("pd-b", "wss://b/ws", "token-b")


def test_a_router_is_always_who_it_was_or_who_it_is_to_be(
    home: Path, start: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From its first start over two identities to none. Each has the token of its own."""
    with Recorder(home) as recorder:
        core = start()
        recorder.mark("started")
        core.provision_with_token("pd-a", "token-a", wampRouter="wss://a/ws")
        recorder.mark("A")
        with core.transaction():
            core.saveKey("token-b", "apitoken")
            core.provision("pd-b", wampRouter="wss://b/ws")
        recorder.mark("B")
        core.deprovision()
        recorder.mark("deprovisioned")
    nobody = (*NOBODY, None)
    allowed = {
        "": {nobody},
        "started": {nobody, A},
        "A": {A, B},
        "B": {B, nobody},
        "deprovisioned": {nobody},
    }
    found: dict[str, set[Any]] = {}
    for done, who in after_each_cut(recorder, tmp_path, monkeypatch):
        assert who in allowed[done], done
        found.setdefault(done, set()).add(who)
    assert found == allowed


def test_the_command_is_as_safe_as_the_daemon(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from paradrop.daemon import main

    token = tmp_path / "token"
    words = ["--mode", "unittest", "--token-file", str(token)]
    with Recorder(home) as recorder:
        for name in "ab":
            token.write_text(f"token-{name}")
            router = ["--router", f"wss://{name}/ws"]
            assert main(["provision", "--pdid", f"pd-{name}", *router, *words]) == 0
            recorder.mark(name)
    allowed = {"": {(*NOBODY, None), A}, "a": {A, B}, "b": {B}}
    for done, who in after_each_cut(recorder, tmp_path, monkeypatch):
        assert who in allowed[done], done


def test_a_saved_state_is_the_old_or_the_new_one(
    home: Path, start: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    core = start()
    core.provision_with_token("pd-a", "token-a", wampRouter="wss://a/ws")
    with Recorder(home) as recorder:
        core.info.wampRouter = "wss://other/ws"
        recorder.mark("saved")
    other = ("pd-a", "wss://other/ws", "token-a")
    allowed = {"": {A, other}, "saved": {other}}
    found: dict[str, set[Any]] = {}
    for done, who in after_each_cut(recorder, tmp_path, monkeypatch):
        found.setdefault(done, set()).add(who)
    assert found == allowed


def test_a_saved_key_is_the_old_or_the_new_one(
    home: Path, start: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    core = start()
    with Recorder(home) as recorder:
        core.saveKey("first", "apitoken")
        recorder.mark("first")
        core.saveKey("second", "apitoken")
        recorder.mark("second")
    allowed = {"": {None, "first"}, "first": {"first", "second"}, "second": {"second"}}
    found: dict[str, set[Any]] = {}
    for done, who in after_each_cut(recorder, tmp_path, monkeypatch):
        found.setdefault(done, set()).add(who[2])
    assert found == allowed


def test_a_key_that_is_saved_after_it_was_removed_is_not_removed_again(
    home: Path, start: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    core = start()
    core.provision_with_token("pd-a", "token-a")
    with Recorder(home) as recorder:
        core.deprovision()
        core.saveKey("token-b", "apitoken")
        recorder.mark("saved")
    found = {who[2] for done, who in after_each_cut(recorder, tmp_path, monkeypatch) if done}
    assert found == {"token-b"}


def test_a_damaged_state_is_kept_whole_whatever_happens(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.loadSettings("unittest")
    identity.write_key("token", "apitoken")
    Path(settings.CONFIG_FILE).write_bytes(b"damaged: [")
    with Recorder(home) as recorder:
        StateFile(settings.CONFIG_FILE).load()
        recorder.mark("started")
    for _, tree in survivors(recorder):
        root = boot(tree, tmp_path, monkeypatch)
        settings.loadSettings("unittest")
        contents, _ = StateFile(settings.CONFIG_FILE).load()
        assert contents["pdid"] is None
        assert identity.read_key("apitoken") == "token"
        kept = [path.read_bytes() for path in (root / "etc").glob("config.invalid-*")]
        assert kept == [b"damaged: ["]


def test_an_old_state_is_migrated_or_as_it_was(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.loadSettings("unittest")
    Path(settings.CONFIG_FILE).write_text("pdid: pd-a\npdserver: s\nwampRouter: wss://a/ws\n")
    identity.write_key("token-a", "apitoken")
    with Recorder(home) as recorder:
        StateFile(settings.CONFIG_FILE).load()
    assert {who for _, who in after_each_cut(recorder, tmp_path, monkeypatch)} == {A}


def test_changed_settings_are_the_old_or_the_new_ones(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.loadSettings("unittest")
    path = Path(settings.CONFIG_HOME_DIR, "settings.ini")
    with Recorder(home) as recorder:
        settings.save_to_file(path, {"PORTAL_SERVER_PORT": 81, "LOCAL_DOMAIN": "first"})
        recorder.mark("first")
        settings.save_to_file(path, {"PORTAL_SERVER_PORT": 82, "LOCAL_DOMAIN": "second"})
        recorder.mark("second")
    recorder.check()
    default, first, second = (8080, "paradrop.io"), (81, "first"), (82, "second")
    found: dict[str, set[Any]] = {}
    for done, tree in survivors(recorder):
        boot(tree, tmp_path, monkeypatch)
        settings.loadSettings("unittest")
        pair = settings.PORTAL_SERVER_PORT, settings.LOCAL_DOMAIN
        found.setdefault(done, set()).add(pair)
    assert found == {"": {default, first}, "first": {first, second}, "second": {second}}


def test_several_files_change_together(tmp_path: Path) -> None:
    """Also in folders of their own, and where one goes."""
    root = tmp_path / "root"
    old: Tree = {"a": (0o600, b"old a"), "f": None, "f/b": (0o600, b"old b")}
    new: Tree = {"f": None, "f/b": (0o644, b"new b"), "f/c": (0o600, b"")}
    restore(old, root)
    with Recorder(root) as recorder:
        files = {root / "f/b": (b"new b", 0o644), root / "a": None, root / "f/c": (b"", 0o600)}
        durable.write_together(files, root / "journal")
        recorder.mark("done")
    recorder.check()
    found = set()
    for done, tree in survivors(recorder):
        with Recorder(root := boot_files(tree, tmp_path)) as again:
            assert durable.recover(root / "journal") is None
            for folder in (root, root / "f"):
                durable.sweep(folder)
        states = [snapshot(root)]
        for _, twice in survivors(again):
            root = boot_files(twice, tmp_path)
            durable.recover(root / "journal")
            for folder in (root, root / "f"):
                durable.sweep(folder)
            states.append(snapshot(root))
        for state in states:
            assert state in ((new,) if done else (old, new))
        assert len({str(state) for state in states}) == 1  # no cut of a recovery changes its end
        found.add(str(states[0]))
    assert len(found) == 2


def boot_files(tree: Tree, tmp_path: Path) -> Path:
    root = tmp_path / "cut"
    shutil.rmtree(root, ignore_errors=True)
    restore(tree, root)
    return root


class TestTheDisk:
    """The model forgets what it may: each of these would lose data."""

    def cuts(self, tmp_path: Path, change: Callable[[Path], None]) -> list[bytes | None]:
        path = tmp_path / "root" / "file"
        path.parent.mkdir()
        path.write_bytes(b"old")
        with Recorder(path.parent) as recorder:
            change(path)
            recorder.mark("done")
        recorder.check()
        found = [(mark, tree.get("file")) for mark, tree in survivors(recorder)]
        return [content and content[1] for mark, content in found if mark == "done"]

    def write(self, path: Path, data: bytes, sync: bool) -> None:
        descriptor = os.open(path, os.O_CREAT | os.O_WRONLY)
        os.write(descriptor, data)
        if sync:
            os.fsync(descriptor)
        os.close(descriptor)

    def test_a_file_that_is_not_synced_before_it_is_renamed(self, tmp_path: Path) -> None:
        def change(path: Path) -> None:
            self.write(path.with_name("new"), b"new", sync=False)
            path.with_name("new").replace(path)
            durable.sync_folder(path.parent)

        assert {b"new", b"", b"n", bytes(3)} <= {*self.cuts(tmp_path, change)}

    def test_a_folder_that_is_not_synced(self, tmp_path: Path) -> None:
        def change(path: Path) -> None:
            self.write(path.with_name("new"), b"new", sync=True)
            path.with_name("new").replace(path)

        assert {*self.cuts(tmp_path, change)} == {b"new", b"old"}

    def test_a_file_that_is_removed_and_made_anew(self, tmp_path: Path) -> None:
        def change(path: Path) -> None:
            path.unlink()
            self.write(path, b"new", sync=True)
            durable.sync_folder(path.parent)

        assert {*self.cuts(tmp_path, change)} == {b"new"}

    def test_a_file_that_is_written_in_place_is_not_let_pass(self, tmp_path: Path) -> None:
        with pytest.raises(AssertionError, match="in place"):
            self.cuts(tmp_path, lambda path: self.write(path, b"new", sync=True))

    def test_what_was_not_recorded_is_not_let_pass(self, tmp_path: Path) -> None:
        with Recorder(tmp_path) as recorder:
            (tmp_path / "file").write_bytes(b"by another way")
        with pytest.raises(AssertionError):
            recorder.check()
