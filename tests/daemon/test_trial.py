"""A change that costs the router its session is taken back by the router itself."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.task import Clock

from harness.errors import DeviceError
from harness.node import Node, Operator
from paradrop.base import settings
from paradrop.base.output import out
from paradrop.daemon import configuration, unconfirmed
from paradrop.daemon.pidfile import PidFile
from paradrop.daemon.trial import Trial


@pytest.fixture
def joined(daemon: Any, node: Node, operator: Operator, pdid: str) -> Any:
    (daemon.home / "settings.ini").write_text(f"[base]\nwamp_ca_file = {daemon.folder}/ca.pem\n")
    del daemon.environment["WAMP_CA_FILE"]
    daemon.provision(pdid, node.url(), node.enroll(pdid))
    daemon.start()
    operator.wait_joined(pdid)
    operator.status(pdid)
    return daemon


@pytest.fixture
def foreign(node: Node, tmp_path: Path) -> Path:
    """The certificate of an authority that has not signed the router's."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import Encoding

    key = ec.generate_private_key(ec.SECP256R1())
    own = x509.load_pem_x509_certificate(node.ca_pem)
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(own.subject)
        .issuer_name(own.subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path / "foreign.pem"
    path.write_bytes(made.public_bytes(Encoding.PEM))
    return path


def is_back(daemon: Any, operator: Operator, pdid: str, name: str, before: object) -> None:
    (reverted,) = daemon.wait("config.reverted", timeout=120)
    assert reverted["extra"]["settings"] == [name]

    def joined_since() -> bool:
        events = [one["extra"].get("event") for one in daemon.records()]
        return "wamp.joined" in events[events.index("config.reverted") :]

    deadline = time.monotonic() + 30
    while not joined_since():
        assert time.monotonic() < deadline, "it did not join again"
        time.sleep(0.02)
    assert operator.config(pdid)[name] == before
    assert not (daemon.home / unconfirmed.NAME).exists()


def end(daemon: Any, operator: Operator, pdid: str) -> None:
    """Kill the daemon; the router has noticed when this returns."""
    sessions = operator.sessions(pdid)
    daemon.child.kill()
    for session in sessions:
        operator.wait_left(pdid, session)


class TestAChangeThatCostsTheSession:
    def test_of_an_authority_that_is_another(
        self, joined: Any, operator: Operator, pdid: str, foreign: Path
    ) -> None:
        before = (joined.home / "settings.ini").read_text()
        operator.config(pdid, {"WAMP_CA_FILE": str(foreign)})
        is_back(joined, operator, pdid, "WAMP_CA_FILE", f"{joined.folder}/ca.pem")
        assert (joined.home / "settings.ini").read_text().strip() == before.strip()

    @pytest.mark.parametrize(
        ("name", "value"), [("WAMP_CA_FILE", "/nonexistent"), ("WAMP_CLIENT_CERT", "/nonexistent")]
    )
    def test_of_a_file_that_is_not_there(
        self, joined: Any, operator: Operator, pdid: str, name: str, value: str
    ) -> None:
        before = operator.config(pdid)[name]
        operator.config(pdid, {name: value})
        is_back(joined, operator, pdid, name, before)

    def test_of_where_the_keys_are(self, joined: Any, operator: Operator, pdid: str) -> None:
        before = operator.config(pdid)["KEY_DIR"]
        operator.config(pdid, {"KEY_DIR": str(joined.folder / "elsewhere")})
        is_back(joined, operator, pdid, "KEY_DIR", before)

    def test_is_taken_back_after_a_power_cut_as_well(
        self, joined: Any, operator: Operator, pdid: str, foreign: Path
    ) -> None:
        operator.config(pdid, {"WAMP_CA_FILE": str(foreign)})
        joined.child.kill()
        assert joined.records("config.reverted") == []
        joined.start()
        is_back(joined, operator, pdid, "WAMP_CA_FILE", f"{joined.folder}/ca.pem")

    @pytest.mark.parametrize("name", ["LOG_DIR", "MISC_DIR", "RUNTIME_HOME_DIR"])
    def test_that_keeps_the_daemon_from_starting(
        self, joined: Any, operator: Operator, pdid: str, name: str
    ) -> None:
        del joined.environment["RUNTIME_HOME_DIR"]
        end(joined, operator, pdid)
        (joined.folder / "file").touch()
        own = f"\nruntime_home_dir = {joined.runtime}\n"
        with (joined.home / "settings.ini").open("a") as file:
            file.write(own)
        joined.start()
        operator.wait_joined(pdid)
        before = operator.config(pdid)[name]
        operator.config(pdid, {name: str(joined.folder / "file" / "below")})
        joined.child.kill()
        joined.start()
        is_back(joined, operator, pdid, name, before)


def value_of(operator: Operator, pdid: str, name: str) -> Any:
    """@return: the value of a setting; None while the daemon starts again."""
    try:
        return operator.config(pdid)[name]
    except DeviceError:
        return None


def wait_until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


@pytest.mark.parametrize("name", ["CONFIG_FILE", "RUNTIME_HOME_DIR"])
def test_a_start_that_fails_for_what_is_on_trial_begins_anew_without_it(
    joined: Any, operator: Operator, pdid: str, name: str
) -> None:
    del joined.environment["RUNTIME_HOME_DIR"]
    end(joined, operator, pdid)
    with (joined.home / "settings.ini").open("a") as file:
        file.write(f"\nruntime_home_dir = {joined.runtime}\n")
    joined.start()
    operator.wait_joined(pdid)
    before = operator.config(pdid)[name]
    elsewhere = joined.folder / "elsewhere"
    elsewhere.mkdir()
    value = elsewhere if name == "RUNTIME_HOME_DIR" else elsewhere / "config"
    shutil.copy(joined.home / "config", elsewhere / "config")
    operator.config(pdid, {name: str(value)})
    joined.child.kill()
    (elsewhere / "config").write_text("version: 99\n")  # as a later version of it leaves it
    with PidFile(elsewhere):  # as another daemon does
        joined.start()
        wait_until(lambda: value_of(operator, pdid, name) == before, "the setting of before")
    assert "changed settings are taken back" in joined.console.read_text()


def test_a_second_daemon_takes_nothing_back(joined: Any, operator: Operator, pdid: str) -> None:
    operator.config(pdid, {"WAMP_PING_INTERVAL": 2, "WAMP_PING_TIMEOUT": 3})
    done = joined.run()
    assert done.returncode == 1
    assert "already runs" in done.stderr
    assert (joined.home / unconfirmed.NAME).exists()


@pytest.mark.parametrize(
    "text", ['{"no such": "x"}', '{"WAMP_PING_INTERVAL": "5\\n[other]"}', '{"wamp": "1"}']
)
def test_what_cannot_be_of_a_setting_is_not_taken_back(home: Path, text: str) -> None:
    file = home / "settings.ini"
    file.write_text("[base]\nlog_max_days = 3\n")
    (home / unconfirmed.NAME).write_text(text)
    assert unconfirmed.take_back(file) == []
    assert file.read_text() == "[base]\nlog_max_days = 3\n"


def test_a_change_that_does_not_is_confirmed(joined: Any, operator: Operator, pdid: str) -> None:
    operator.config(pdid, {"WAMP_PING_INTERVAL": 2, "WAMP_PING_TIMEOUT": 3})
    joined.wait("wamp.joined", 2)
    assert (joined.home / unconfirmed.NAME).exists()
    (confirmed,) = joined.wait("config.confirmed", timeout=40)
    assert confirmed["extra"]["settings"] == ["WAMP_PING_INTERVAL", "WAMP_PING_TIMEOUT"]
    assert not (joined.home / unconfirmed.NAME).exists()
    assert operator.config(pdid)["WAMP_PING_INTERVAL"] == 2
    assert joined.records("config.reverted") == []


def test_another_change_costs_no_session(joined: Any, operator: Operator, pdid: str) -> None:
    (session,) = operator.sessions(pdid)
    operator.config(pdid, {"HEARTBEAT_INTERVAL": 0.3})
    assert operator.status(pdid)["session"] == session
    assert not (joined.home / unconfirmed.NAME).exists()


@pytest.mark.parametrize(("name", "value"), [("WAMP_PING_INTERVAL", -8), ("WAMP_PING_TIMEOUT", -1)])
def test_a_number_out_of_its_range_is_refused(
    joined: Any, operator: Operator, pdid: str, name: str, value: int
) -> None:
    with pytest.raises(DeviceError, match=f"{name} has to be 0, or from 0.1 to 3600, and {value}"):
        operator.config(pdid, {name: value})
    assert operator.config(pdid)[name] > 0
    assert not (joined.home / unconfirmed.NAME).exists()


def test_a_number_that_an_earlier_version_has_taken_keeps_no_daemon_from_its_work(
    joined: Any, operator: Operator, pdid: str
) -> None:
    end(joined, operator, pdid)
    with (joined.home / "settings.ini").open("a") as file:
        file.write("wamp_ping_interval = -8\nwamp_max_delay = 0.1\nlog_max_bytes = -1\n")
    joined.start()
    operator.wait_joined(pdid)
    told = {one["extra"]["fault"] for one in joined.wait("settings.ignored", 3)}
    path = f"{joined.home}/settings.ini"
    assert (
        f"{path}, line 3: WAMP_PING_INTERVAL has to be 0, or from 0.1 to 3600, and -8 is not"
        in told
    )
    assert operator.config(pdid)["WAMP_PING_INTERVAL"] == 8
    assert operator.config(pdid)["WAMP_MAX_DELAY"] == 60
    operator.config(pdid, {"WAMP_PING_INTERVAL": 4})  # what is wrong beside it is not in the way
    assert "wamp_ping_interval = 4" in (joined.home / "settings.ini").read_text()


class TestTheClock:
    """How long a change is on trial."""

    @pytest.fixture(autouse=True)
    def file(self, home: Path) -> Path:
        return home / "settings.ini"

    @pytest.fixture
    def clock(self) -> Clock:
        return Clock()

    @pytest.fixture
    def trial(self, clock: Clock) -> Trial:
        self.connections = 0

        def again() -> None:
            self.connections += 1

        return Trial(clock, again)

    @pytest.fixture
    def events(self) -> Iterator[list[str]]:
        found: list[str] = []

        def take(record: dict[str, Any]) -> None:
            found.append(record["extra"].get("event", ""))

        out.subscribe(take)
        yield found
        out.unsubscribe(take)

    def change(self, trial: Trial, clock: Clock, **changes: object) -> None:
        trial.changed(configuration.change(changes))
        clock.advance(0)

    def test_without_a_session(self, trial: Trial, clock: Clock, file: Path) -> None:
        self.change(trial, clock, WAMP_PING_INTERVAL=3)
        assert (self.connections, settings.WAMP_PING_INTERVAL) == (1, 3)
        clock.advance(Trial.JOIN_WITHIN)
        clock.advance(0)
        assert (self.connections, settings.WAMP_PING_INTERVAL) == (2, 8)
        assert unconfirmed.read(file) == {}
        assert clock.getDelayedCalls() == []

    def test_with_sessions_that_do_not_last(self, trial: Trial, clock: Clock) -> None:
        self.change(trial, clock, WAMP_PING_TIMEOUT=0.1)
        for _ in range(Trial.LOSSES):
            trial.ready()
            clock.advance(5)
            trial.lost("ping timeout")
        assert settings.WAMP_PING_TIMEOUT == 4

    def test_with_a_session_that_lasts(self, trial: Trial, clock: Clock, file: Path) -> None:
        self.change(trial, clock, WAMP_PING_INTERVAL=20)
        trial.ready()
        clock.advance(20)  # not even one ping was answered yet
        assert unconfirmed.read(file) == {"WAMP_PING_INTERVAL": None}
        clock.advance(20)
        assert unconfirmed.read(file) == {}
        clock.advance(1000)
        assert settings.WAMP_PING_INTERVAL == 20

    def test_changes_of_changes_go_back_to_what_was_confirmed(
        self, trial: Trial, clock: Clock
    ) -> None:
        self.change(trial, clock, WAMP_PING_INTERVAL=2)
        self.change(trial, clock, WAMP_PING_INTERVAL=3, LOCAL_DOMAIN="here")
        trial.fail("no way")
        assert (settings.WAMP_PING_INTERVAL, settings.LOCAL_DOMAIN) == (8, "here")
        settings.reload()
        assert (settings.WAMP_PING_INTERVAL, settings.LOCAL_DOMAIN) == (8, "here")

    def test_what_acts_at_a_start_waits_for_one(
        self, trial: Trial, clock: Clock, file: Path, tmp_path: Path
    ) -> None:
        self.change(trial, clock, LOG_DIR=str(tmp_path))
        clock.advance(10_000)
        assert self.connections == 0
        assert unconfirmed.read(file) == {"LOG_DIR": None}
        self.change(trial, clock, WAMP_PING_INTERVAL=2)
        trial.ready()
        clock.advance(100)
        assert unconfirmed.read(file) == {"LOG_DIR": None}
        trial.start()
        trial.ready()
        clock.advance(100)
        assert unconfirmed.read(file) == {}

    def test_a_refused_change_leaves_nothing(self, trial: Trial, file: Path) -> None:
        with pytest.raises(settings.SettingsError):
            configuration.change({"WAMP_PING_INTERVAL": 2, "WAMP_PING_TIMEOUT": -2})
        assert unconfirmed.read(file) == {}
        assert not file.exists()

    def test_a_damaged_note_is_kept_aside(self, file: Path) -> None:
        for text in ("[1]", "{", '{"A": 1}'):
            file.with_name(unconfirmed.NAME).write_text(text)
            assert unconfirmed.read(file) == {}
        assert len(list(file.parent.glob(f"{unconfirmed.NAME}.invalid-*"))) == 3

    def test_what_was_taken_back_half_is_taken_back_again(self, file: Path) -> None:
        file.write_text("[base]\nwamp_ping_interval = 5\n[other]\na = b\n")
        note = file.with_name(unconfirmed.NAME)
        note.write_text(json.dumps({"WAMP_PING_INTERVAL": "5", "WAMP_PING_TIMEOUT": None}))
        assert unconfirmed.take_back(file) == ["WAMP_PING_INTERVAL", "WAMP_PING_TIMEOUT"]
        assert "wamp_ping_interval = 5" in file.read_text()
        assert not note.exists()
