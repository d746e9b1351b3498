"""State and keys: durable, private, and never half a thing."""

from __future__ import annotations

import copy
import datetime
import itertools
import os
import stat
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from paradrop.base import identity, nexus, settings
from paradrop.base.exceptions import ParadropException
from paradrop.base.nexus import AttrWrapper, NexusBase
from paradrop.base.output import Level, out
from paradrop.base.statefile import StateFile

pytestmark = pytest.mark.usefixtures("home")


@pytest.fixture
def made(reactor: Any) -> Any:
    """A nexus, made where the reactor runs."""
    yield lambda kind=NexusBase: reactor(kind, False, False)
    out.endLogging()


def on_disk() -> Any:
    return yaml.safe_load(Path(settings.CONFIG_FILE).read_text())


def files_in(home: Path) -> dict[str, bytes]:
    return {
        path.name: path.read_bytes()
        for folder in (home, home / "keys")
        for path in folder.iterdir()
        if path.is_file()
    }


class TestAttrWrapper:
    def test_keeps_attributes_in_contents(self) -> None:
        attributes = AttrWrapper()
        attributes.a = 1
        assert attributes.a == 1
        assert attributes.contents == {"a": 1}

    def test_a_missing_name_is_a_missing_attribute(self) -> None:
        attributes = AttrWrapper()
        assert not hasattr(attributes, "a")
        assert getattr(attributes, "a", 7) == 7
        assert copy.deepcopy(attributes).contents == {}

    def test_shows_what_it_has(self) -> None:
        attributes = AttrWrapper()
        attributes.a = 1
        assert repr(attributes) == "{'a': 1}"

    def test_locked_it_cannot_be_written(self) -> None:
        attributes = AttrWrapper()
        attributes.a = 1
        attributes._lock()
        with pytest.raises(AttributeError):
            attributes.a = 2
        with pytest.raises(AttributeError):
            attributes.b = 2
        assert attributes.contents == {"a": 1}

    def test_tells_of_each_write_after_it(self) -> None:
        attributes = AttrWrapper()
        told: list[Any] = []
        attributes.setOnChange(lambda key, value: told.append((key, value, attributes.a)))
        attributes.a = 1
        assert told == [("a", 1, 1)]


class TestState:
    def test_a_missing_file_becomes_the_default(self, made: Any) -> None:
        core = made()
        assert not core.provisioned()
        assert on_disk() == {
            "version": 1,
            "pdid": None,
            "pdserver": settings.PDSERVER,
            "wampRouter": settings.WAMP_ROUTER,
        }

    def test_writing_an_attribute_saves(self, made: Any) -> None:
        made().info.pdserver = "https://other"
        assert on_disk()["pdserver"] == "https://other"

    def test_what_was_saved_is_read_again(self, made: Any) -> None:
        made().provision("r1", "https://server", "wss://router/ws")
        again = made()
        assert again.provisioned()
        assert again.PDID == "r1"
        assert again.info.wampRouter == "wss://router/ws"

    def test_the_defaults_of_provision_are_those_of_the_settings_now(
        self, made: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        core = made()
        monkeypatch.setattr(settings, "WAMP_ROUTER", "wss://later/ws")
        core.provision("r1")
        assert on_disk()["wampRouter"] == "wss://later/ws"

    @pytest.mark.parametrize("damage", [b"", b"\xff\x00", b"a: [", b"- 1", b"pdid: r1\n"])
    def test_an_invalid_file_is_kept_aside_and_reported(
        self, made: Any, home: Path, damage: bytes
    ) -> None:
        (home / "config").write_bytes(damage)
        told: list[Any] = []
        out.subscribe(told.append)
        core = made()
        out.unsubscribe(told.append)
        assert not core.provisioned()
        aside = list(home.glob("config.invalid-*"))
        assert [path.read_bytes() for path in aside] == [damage]
        (report,) = [one for one in told if one["extra"].get("event") == "state.invalid"]
        assert report["type"] == Level.SECURITY.value
        assert report["extra"]["kept"] == str(aside[0])
        assert nexus.validateInfo(on_disk())

    @pytest.mark.parametrize("wrong", [{"version": "1"}, {"version": -1}, {"pdid": ["r1"]}])
    def test_a_value_of_another_type_is_damage(
        self, made: Any, home: Path, wrong: dict[str, Any]
    ) -> None:
        (home / "config").write_text(yaml.safe_dump(identity.default_info() | wrong))
        made()
        assert len(list(home.glob("config.invalid-*"))) == 1

    def test_a_damaged_file_costs_no_key(self, made: Any, home: Path) -> None:
        made().provision_with_token("r1", "token")
        (home / "config").write_bytes(b"\0" * 100)
        core = made()
        assert not core.provisioned()
        assert core.getKey("apitoken") == "token"

    def test_a_subclass_may_save_in_its_own_way(self, made: Any) -> None:
        class Mine(NexusBase):
            def save(self) -> None:  # type: ignore[override]
                self.saved = True

        core = made(Mine)
        core.info.more = 1
        assert core.saved

    def test_a_subclass_with_a_version_of_its_own_can_be_started_again(self, made: Any) -> None:
        class Mine(NexusBase):
            VERSION = 7

        made(Mine).provision("r1")
        assert made(Mine).provisioned()

    def test_goes_where_the_settings_say_now(
        self, made: Any, home: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        core = made()
        core.provision("r1")
        monkeypatch.setattr(settings, "CONFIG_FILE", str(home / "elsewhere" / "config"))
        core.save()
        assert on_disk()["pdid"] == "r1"

    def test_the_functions_of_the_module_write_a_state(self, home: Path) -> None:
        nexus.createDefaultInfo(home / "config")
        assert on_disk() == identity.default_info()
        nexus.writeYaml({"a": [1]}, home / "config")
        assert on_disk() == {"a": [1]}

    def test_resolveinfo_reads_any_file_for_anybody(self, home: Path) -> None:
        somebody: Any = SimpleNamespace(info=AttrWrapper())
        nexus.createDefaultInfo(home / "other")
        nexus.resolveInfo(somebody, home / "other")
        assert somebody.info.contents == identity.default_info()
        assert not (home / "config").exists()

    def test_two_damaged_files_of_one_second_are_both_kept(self, made: Any, home: Path) -> None:
        for number in range(2):
            (home / "config").write_text(f"- {number}")
            made()
        assert len(list(home.glob("config.invalid-*"))) == 2

    def test_what_else_is_in_the_file_survives(self, made: Any, home: Path) -> None:
        more = {"owner": {"name": "Ä", "since": datetime.date(2024, 2, 29)}, 5: [1.5, None, b"\0"]}
        (home / "config").write_text(yaml.safe_dump(identity.default_info() | more))
        core = made()
        core.info.wampRouter = "wss://other/ws"
        assert {name: on_disk()[name] for name in more} == more
        core.provision_with_token("r1", "token")
        core.deprovision()
        assert {name: on_disk()[name] for name in more} == more

    @pytest.mark.parametrize("version", [{}, {"version": 0}])
    def test_an_old_version_is_migrated(
        self, made: Any, home: Path, version: dict[str, int]
    ) -> None:
        old = {"pdid": "r1", "pdserver": "https://s", "wampRouter": "wss://r/ws", "more": 1}
        (home / "config").write_text(yaml.safe_dump(old | version))
        assert made().info.contents == old | {"version": 1}
        assert on_disk() == old | {"version": 1}

    def test_a_later_version_is_said_and_left_alone(self, made: Any, home: Path) -> None:
        made()
        later = b"version: 2\nwho: somebody\n"
        (home / "config").write_bytes(later)
        with pytest.raises(ParadropException, match=r"config is of version 2, .* up to 1"):
            made()
        assert (home / "config").read_bytes() == later
        assert list(home.glob("config.*")) == []

    def test_a_later_version_that_comes_meanwhile_is_left_alone(
        self, made: Any, home: Path
    ) -> None:
        core = made()
        (home / "config").write_text("version: 2\n")
        with pytest.raises(ParadropException, match="version 2"):
            core.save()
        with pytest.raises(ParadropException, match="version 2"):
            core.reload()
        assert on_disk() == {"version": 2}

    def test_a_save_changes_nothing_of_what_it_saves(self, made: Any, home: Path) -> None:
        core = made()
        core.info.list = [{"a": 1}]
        before = copy.deepcopy(core.info.contents)
        core.save()
        core.provision_with_token("r1", "token")
        core.reload()
        assert core.info.contents == before | {"pdid": "r1"}
        contents = {"pdid": None, "b": [b"c"]}
        nexus.writeYaml(contents, home / "other")
        assert contents == {"pdid": None, "b": [b"c"]}

    def test_a_save_that_fails_leaves_the_old_state(
        self, made: Any, home: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        core = made()
        core.provision("r1")

        def full(descriptor: int) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space"):
            core.provision("r2")
        assert on_disk()["pdid"] == "r1"
        assert core.info.pdid == "r1"
        assert [path.name for path in home.iterdir() if path.name.startswith(".")] == []

    @pytest.mark.parametrize("missing", ["version", "pdid", "pdserver", "wampRouter"])
    def test_valid_is_a_mapping_with_all_of_it(self, missing: str) -> None:
        contents: dict[str, Any] = identity.default_info()
        assert nexus.validateInfo(contents)
        del contents[missing]
        assert not nexus.validateInfo(contents)
        assert not nexus.validateInfo(None)
        assert not nexus.validateInfo([*contents])


class TestTransaction:
    """What a cut of the power leaves of it is in test_power_cuts.py."""

    def test_is_seen_at_once_and_written_at_its_end(self, made: Any) -> None:
        core = made()
        with core.transaction():
            core.info.more = 1
            core.provision("r1", "https://s", "wss://r/ws")
            core.saveKey("secret", "apitoken")
            assert core.provisioned()
            assert core.PDID == out.pdid == "r1"
            assert core.getKey("apitoken") == "secret"
            assert on_disk() == identity.default_info()
            assert identity.read_key("apitoken") is None
        assert on_disk() == core.info.contents
        assert (on_disk()["pdid"], on_disk()["more"]) == ("r1", 1)
        assert identity.read_key("apitoken") == "secret"

    def test_that_fails_changes_nothing(self, made: Any) -> None:
        core = made()
        core.provision_with_token("r1", "first")
        before = on_disk()
        with pytest.raises(KeyError), core.transaction():
            core.provision("r2")
            core.saveKey("second", "apitoken")
            raise KeyError
        assert on_disk() == before == core.info.contents
        assert core.getKey("apitoken") == "first"
        assert core.PDID == out.pdid == "r1"

    @pytest.mark.parametrize("refused", range(6))
    def test_that_the_disk_refuses_changes_nothing(
        self, made: Any, home: Path, monkeypatch: pytest.MonkeyPatch, refused: int
    ) -> None:
        """At whichever sync, up to the one that is the step itself."""
        core = made()
        core.provision_with_token("r1", "first")
        before, files = on_disk(), files_in(home)
        real, calls = os.fsync, itertools.count()

        def fsync(descriptor: int) -> None:
            if next(calls) == refused:
                raise OSError(28, "No space left on device")
            real(descriptor)

        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", fsync)
            with pytest.raises(OSError, match="No space"):
                core.provision_with_token("r2", "second")
        assert core.info.contents == before
        assert files_in(home) == files

    def test_that_the_disk_breaks_off_is_finished_later(
        self, made: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        core = made()
        core.provision_with_token("r1", "first")
        replace = os.replace
        broken: list[Any] = []

        def fails_at_the_state(source: Any, target: Any) -> None:
            if Path(target) == Path(settings.CONFIG_FILE):
                broken.append(target)
                raise OSError(5, "Input/output error")
            replace(source, target)

        with monkeypatch.context() as patch:
            patch.setattr(os, "replace", fails_at_the_state)
            with pytest.raises(OSError, match="Input/output"):
                core.provision_with_token("r2", "second")
        assert broken
        core.info.more = 1  # of the router that it was, and still is in memory
        assert (on_disk()["pdid"], on_disk()["more"]) == ("r2", 1)
        assert core.getKey("apitoken") == "second"
        core.reload()
        assert core.info.pdid == "r2"

    def test_that_breaks_off_does_not_bring_back_an_older_key_later(
        self, made: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        core = made()
        replace = os.replace

        def fails_at_the_token(source: Any, target: Any) -> None:
            if Path(target).name == "apitoken":
                raise OSError(5, "Input/output error")
            replace(source, target)

        with monkeypatch.context() as patch:
            patch.setattr(os, "replace", fails_at_the_token)
            with pytest.raises(OSError, match="Input/output"):
                core.provision_with_token("r2", "second")
        core.saveKey("third", "apitoken")
        core.reload()
        assert (core.info.pdid, core.getKey("apitoken")) == ("r2", "third")

    def test_within_another_is_part_of_it(self, made: Any) -> None:
        core = made()
        with pytest.raises(KeyError), core.transaction():
            with core.transaction():
                core.provision("r1")
            assert on_disk()["pdid"] is None
            raise KeyError
        assert not core.provisioned()

    def test_gives_keys_as_they_will_be_given(self, made: Any) -> None:
        core = made()
        core.saveKey("old", "gone")
        with core.transaction():
            core.saveKey(b"text", "a")
            core.saveKey(b"\xff", "b")
            core.deprovision()
            before = [core.getKey(name) for name in ("a", "b", "apitoken", "gone")]
        assert before == ["text", b"\xff", None, "old"]
        assert before == [core.getKey(name) for name in ("a", "b", "apitoken", "gone")]

    def test_refuses_the_name_of_a_key_where_it_is_given(self, made: Any) -> None:
        core = made()
        with core.transaction(), pytest.raises(ParadropException):
            core.saveKey("x", "../x")

    def test_takes_the_identity_and_its_token_away(self, made: Any) -> None:
        core = made()
        core.provision_with_token("r1", "secret", "https://s", "wss://r/ws")
        core.saveKey("other", "other")
        core.deprovision()
        assert not core.provisioned()
        assert on_disk() == identity.default_info() == core.info.contents
        assert core.getKey("apitoken") is None
        assert core.getKey("other") == "other"
        assert (core.PDID, out.pdid) == (None, "UNSET")
        core.deprovision()


class TestTwoWriters:
    """A daemon, and the command that gives it another identity."""

    def provision(self, pdid: str) -> None:
        state = StateFile(settings.CONFIG_FILE)
        contents, _ = state.load()
        state.store(
            state.snapshot(contents | {"pdid": pdid, "by": "command"}),
            {"apitoken": f"token of {pdid}"},
            provisioning=True,
        )

    def test_a_save_does_not_take_an_identity_back(self, made: Any) -> None:
        core = made()
        core.provision_with_token("a", "token of a")
        core.info.old = 1
        self.provision("b")
        for value in range(2):  # with and without having seen it
            core.info.mine = value
            assert on_disk()["pdid"] == "b"
            assert on_disk()["mine"] == value
            assert on_disk()["by"] == "command"
        assert core.getKey("apitoken") == "token of b"
        assert core.info.pdid == "a"
        core.reload()
        assert core.info.contents == on_disk()
        assert core.info.pdid == "b"

    def test_a_change_within_a_value_is_a_change(self, made: Any) -> None:
        core = made()
        core.info.list = [1]
        core.reload()
        self.provision("b")
        core.info.contents["list"].append(2)
        core.save()
        assert on_disk()["list"] == [1, 2]
        assert on_disk()["by"] == "command"

    def test_an_identity_is_one_thing(self, made: Any) -> None:
        core = made()
        core.provision("a", "https://a", "wss://a/ws")
        self.provision("b")
        core.info.wampRouter = "wss://another-of-a/ws"
        assert (on_disk()["pdid"], on_disk()["wampRouter"]) == ("b", "wss://a/ws")

    def test_who_provisions_last_has_provisioned(self, made: Any) -> None:
        core = made()
        core.provision_with_token("a", "token of a")
        self.provision("b")
        core.provision_with_token("a", "new token of a")
        assert on_disk()["pdid"] == "a"
        assert core.getKey("apitoken") == "new token of a"

    def test_what_one_removes_the_other_does_not_bring_back(self, made: Any) -> None:
        core = made()
        core.info.mine = core.info.other = [1.5]
        self.provision("b")
        del core.info.contents["mine"]
        core.save()
        assert "mine" not in on_disk()
        assert on_disk()["other"] == [1.5]

    def test_a_file_that_vanishes_or_is_damaged_is_written_whole(
        self, made: Any, home: Path
    ) -> None:
        core = made()
        (home / "config").unlink()
        core.save()
        assert on_disk() == core.info.contents
        (home / "config").write_bytes(b"[")
        core.save()
        assert on_disk() == core.info.contents

    def test_a_snapshot_is_of_its_time(self, home: Path) -> None:
        state = StateFile(home / "config")
        contents, _ = state.load()
        contents["list"] = [1]
        taken = state.snapshot(contents)
        contents["list"].append(2)
        state.store(taken)
        assert on_disk()["list"] == [1]

    def test_a_snapshot_that_was_overtaken_is_not_written(self, home: Path) -> None:
        state = StateFile(home / "config")
        contents, _ = state.load()
        older = state.snapshot(contents | {"n": 1})
        state.store(state.snapshot(contents | {"n": 2}))
        state.store(older)
        assert on_disk()["n"] == 2


class TestKeys:
    def test_are_private(self, made: Any, home: Path) -> None:
        (home / "keys").chmod(0o755)
        made().saveKey("text", "apitoken")
        assert stat.S_IMODE((home / "keys").stat().st_mode) == 0o700
        assert stat.S_IMODE((home / "keys" / "apitoken").stat().st_mode) == 0o600

    def test_are_text_where_they_can_be(self, made: Any) -> None:
        core = made()
        core.saveKey(b"text", "a")
        core.saveKey(b"\xff\xfe", "b")
        core.saveKey("ä", "a")
        assert core.getKey("a") == "ä"
        assert core.getKey("b") == b"\xff\xfe"
        assert core.getKey("c") is None

    def test_are_in_no_record(self, made: Any, home: Path, records: Any) -> None:
        core = made()
        core.saveKey("kept-by-caller", "a")
        with core.transaction():
            core.saveKey(b"kept-in-transaction", "b")
        (home / "keys" / "c").write_text("found-in-folder")
        assert core.getKey("c") == "found-in-folder"
        out.info("kept-by-caller, kept-in-transaction and found-in-folder")
        text = str(records)
        for secret in ("kept-by-caller", "kept-in-transaction", "found-in-folder"):
            assert secret not in text

    @pytest.mark.parametrize("name", ["../a", "/etc/passwd", "a/b", "", ".", "..", "a\0b", ".~a"])
    def test_names_that_leave_the_folder_are_refused(self, made: Any, name: str) -> None:
        core = made()
        with pytest.raises(ParadropException):
            core.saveKey("x", name)
        with pytest.raises(ParadropException):
            core.getKey(name)


class FakeSession:
    """Counts; what real sessions do is tested with a real router."""

    started: list[Any]
    left = 0

    @classmethod
    def start(cls, *args: Any, **kwargs: Any) -> Any:
        from twisted.internet.defer import Deferred

        begun: Any = Deferred()
        cls.started.append(begun)
        return begun

    def leave(self) -> None:
        type(self).left += 1
        if self.closing is not None:
            raise self.closing

    closing: Exception | None = None


class TestConnect:
    @pytest.fixture(autouse=True)
    def sessions(self) -> None:
        FakeSession.started, FakeSession.left = [], 0

    def test_closes_the_session_there_was(self, made: Any, reactor: Any) -> None:
        core = made()
        first = FakeSession()

        def go() -> None:
            core.connect(FakeSession)
            FakeSession.started[0].callback(first)
            assert core.session is first
            core.connect(FakeSession).addErrback(lambda _: None)  # cancelled at the end

        reactor(go)
        assert FakeSession.left == 1
        assert core.session is None
        assert len(FakeSession.started) == 2

    def test_cancels_the_attempt_that_has_not_joined(self, made: Any, reactor: Any) -> None:
        core = made()
        ended: list[Any] = []

        def go() -> None:
            core.connect(FakeSession).addErrback(ended.append)
            core.connect(FakeSession).addErrback(lambda _: None)  # cancelled at the end

        reactor(go)
        assert len(ended) == 1
        assert FakeSession.started[0].called
        assert not FakeSession.started[1].called

    def test_a_session_that_does_not_close_well_is_no_obstacle(
        self, made: Any, reactor: Any, records: Any
    ) -> None:
        core = made()
        core.session = FakeSession()
        core.session.closing = OSError("broken")
        reactor(core.disconnect)
        assert core.session is None
        assert any("did not close well: broken" in one["message"] for one in records)

    def test_given_up_before_the_old_session_is_closed_it_does_not_start(
        self, made: Any, reactor: Any
    ) -> None:
        from twisted.internet.defer import Deferred

        core = made()
        closed: Any = Deferred()
        ended: list[Any] = []

        def go() -> None:
            core.session = SimpleNamespace(leave=lambda: closed)
            core.connect(FakeSession).addErrback(ended.append)
            core.disconnect()
            closed.callback(None)

        reactor(go)
        assert FakeSession.started == []
        assert len(ended) == 1


def test_onstart_is_called_once_the_nexus_is_complete(made: Any, reactor: Any) -> None:
    seen: list[Any] = []

    class Mine(NexusBase):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args)
            self.late = True

        def onStart(self) -> None:
            seen.append(self.late)

    made(Mine)
    reactor(lambda: None)
    reactor(lambda: None)
    assert seen == [True]


class TestWhatNobodyCanBe:
    @pytest.mark.parametrize("pdid", ["", " ", "a b", "a\nb", "\ud800", "a#b", 5, None])
    def test_a_pdid(self, made: Any, pdid: Any) -> None:
        core = made()
        core.provision("r1")
        with pytest.raises(ParadropException, match="is no pdid"):
            core.provision(pdid)
        assert core.info.pdid == "r1"

    @pytest.mark.parametrize("token", ["", " ", "two\nlines", "\ud800", b"", b"\xff"])
    def test_with_a_token(self, made: Any, token: Any) -> None:
        core = made()
        with pytest.raises(ParadropException, match="is none"):
            core.provision_with_token("r1", token)
        assert not core.provisioned()
