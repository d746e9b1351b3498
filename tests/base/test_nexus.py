"""State and keys: durable, private, and never half a thing."""

from __future__ import annotations

import copy
import os
import stat
from pathlib import Path
from typing import Any

import pytest
import yaml

from paradrop.base import identity, nexus, settings
from paradrop.base.exceptions import ParadropException
from paradrop.base.nexus import AttrWrapper, NexusBase
from paradrop.base.output import out


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CONFIG_HOME_DIR", str(tmp_path / "etc"))
    monkeypatch.setenv("RUNTIME_HOME_DIR", str(tmp_path / "run"))
    settings.loadSettings("unittest")
    return tmp_path / "etc"


@pytest.fixture
def made(reactor: Any) -> Any:
    """A nexus, made where the reactor runs."""
    yield lambda kind=NexusBase: reactor(kind, False, False)
    out.endLogging()


def on_disk() -> Any:
    return yaml.safe_load(Path(settings.CONFIG_FILE).read_text())


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
        assert any(record["extra"].get("event") == "state.invalid" for record in told)
        assert nexus.validateInfo(on_disk())

    def test_two_invalid_files_of_one_second_are_both_kept(self, home: Path) -> None:
        for number in range(2):
            (home / "config").write_text(f"- {number}")
            identity.read_info(home / "config")
        assert len(list(home.glob("config.invalid-*"))) == 2

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
        assert list(home.glob(".config*")) == []

    @pytest.mark.parametrize("missing", ["version", "pdid", "pdserver", "wampRouter"])
    def test_valid_is_a_mapping_with_all_of_it(self, missing: str) -> None:
        contents: dict[str, Any] = identity.default_info()
        assert nexus.validateInfo(contents)
        del contents[missing]
        assert not nexus.validateInfo(contents)
        assert not nexus.validateInfo(None)
        assert not nexus.validateInfo([*contents])


class TestProvisioningWithAToken:
    def test_writes_the_token_before_the_state(
        self, made: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        core = made()

        class PowerCut(Exception):
            pass

        def cut(*_: Any) -> None:
            raise PowerCut

        monkeypatch.setattr(identity, "write_yaml", cut)
        with pytest.raises(PowerCut):
            core.provision_with_token("r1", "secret")
        assert core.getKey("apitoken") == "secret"
        assert on_disk()["pdid"] is None

    def test_saves_all_of_it_at_once(self, made: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        core = made()
        saved: list[Any] = []
        write = identity.write_yaml
        monkeypatch.setattr(
            identity, "write_yaml", lambda *args: (saved.append(dict(args[0])), write(*args))
        )
        core.provision_with_token("r1", "secret", "https://s", "wss://r/ws")
        assert [(one["pdid"], one["wampRouter"]) for one in saved] == [("r1", "wss://r/ws")]
        assert on_disk() == core.info.contents


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

    @pytest.mark.parametrize("name", ["../a", "/etc/passwd", "a/b", "", ".", "..", "a\0b"])
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
            core.connect(FakeSession)

        reactor(go)
        assert FakeSession.left == 1
        assert core.session is None
        assert len(FakeSession.started) == 2

    def test_cancels_the_attempt_that_has_not_joined(self, made: Any, reactor: Any) -> None:
        core = made()
        ended: list[Any] = []

        def go() -> None:
            core.connect(FakeSession).addErrback(ended.append)
            core.connect(FakeSession)

        reactor(go)
        assert len(ended) == 1
        assert FakeSession.started[0].called
        assert not FakeSession.started[1].called


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
