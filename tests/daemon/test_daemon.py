"""What the daemon promises its owner and its operator."""

from __future__ import annotations

import json
import math
import os
import signal
import stat
import time
from typing import Any

import pytest
from autobahn.wamp.exception import ApplicationError

import paradrop
from harness.errors import DeviceError
from harness.node import Node, Operator
from harness.node.uris import of_device

PROCEDURES = {"config", "logs", "status"}


@pytest.fixture
def joined(daemon: Any, node: Node, operator: Operator, pdid: str) -> Any:
    """A daemon that was provisioned by hand, started, and has joined."""
    daemon.provision(pdid, node.url(), node.enroll(pdid))
    daemon.start()
    operator.wait_joined(pdid)
    operator.status(pdid)
    return daemon


def errors(daemon: Any) -> list[dict[str, Any]]:
    """The errors that it logs, as soon as there are any."""
    daemon.wait("daemon.started")
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        if found := [one for one in daemon.records() if one["type"] == 6]:
            return found
        time.sleep(0.02)
    return []


def procedures(operator: Operator, pdid: str) -> set[str]:
    return {uri.split(".")[2] for uri in operator.registrations(pdid)}


class TestJoined:
    def test_answers_status(self, joined: Any, operator: Operator, pdid: str) -> None:
        status = operator.status(pdid)
        assert status["version"] == paradrop.__version__
        assert status["pdid"] == pdid
        assert status["sessions"] == 1
        assert status["wamp_state"] == "ready"
        assert [status["session"]] == operator.sessions(pdid)
        assert 0 < status["uptime"] < 60

    def test_beats(self, joined: Any, operator: Operator, pdid: str) -> None:
        first = operator.wait_event(pdid, "heartbeat")
        second = operator.wait_event(pdid, "heartbeat", since=first.at)
        assert first.args == (pdid,)
        assert second.kwargs["seq"] == first.kwargs["seq"] + 1
        assert second.kwargs["uptime"] > first.kwargs["uptime"]

    def test_hears_that_updates_are_pending(
        self, joined: Any, operator: Operator, pdid: str
    ) -> None:
        operator.publish(pdid, "updatesPending")
        joined.wait("updates.pending")

    def test_gives_its_log_as_it_is_in_the_file(
        self, joined: Any, operator: Operator, pdid: str
    ) -> None:
        given = operator.logs(pdid)
        assert given == joined.records()[: len(given)]
        assert {"daemon.started", "wamp.joined"} <= {one["extra"].get("event") for one in given}
        since = given[0]["timestamp"]
        assert operator.logs(pdid, since)[0] == given[1]

    def test_gives_its_log_in_pages(self, joined: Any, operator: Operator, pdid: str) -> None:
        page = operator.call(pdid, "logs", 0.0, None, 1)
        assert page["records"] == joined.records()[:1]
        following = operator.call(pdid, "logs", 0.0, page["cursor"], 1)
        assert following["records"] == joined.records()[1:2]
        with pytest.raises(DeviceError, match="cursor"):
            operator.call(pdid, "logs", 0.0, "nonsense", 1)

    def test_changes_settings_for_good(self, joined: Any, operator: Operator, pdid: str) -> None:
        assert operator.config(pdid)["PORTAL_SERVER_PORT"] == 8080
        assert operator.config(pdid, {"PORTAL_SERVER_PORT": 81})["PORTAL_SERVER_PORT"] == 81
        joined.child.terminate()
        joined.start()
        operator.wait_joined(pdid)
        assert operator.config(pdid)["PORTAL_SERVER_PORT"] == 81

    @pytest.mark.parametrize("change", [{"NO_SUCH": 1}, {"PORTAL_SERVER_PORT": "many"}, [1], "x"])
    def test_refuses_settings_that_are_none(
        self, joined: Any, operator: Operator, pdid: str, change: Any
    ) -> None:
        with pytest.raises(DeviceError) as caught:
            operator.config(pdid, change)
        assert isinstance(caught.value.__cause__, ApplicationError)
        assert caught.value.__cause__.error == "org.paradrop.error.invalid_setting"

    def test_stops_cleanly(self, joined: Any, operator: Operator, pdid: str) -> None:
        begun = time.monotonic()
        joined.child.send(signal.SIGTERM)
        assert joined.child.wait(10) == 0
        assert time.monotonic() - begun < 5
        assert operator.sessions(pdid) == []
        assert joined.records("daemon.stopped")
        assert joined.records("wamp.left")[0]["extra"]["reason"] == "left"
        assert not (joined.runtime / "paradropd.pid").exists()

    def test_stops_in_time_without_its_router(self, joined: Any, node: Node) -> None:
        assert joined.child is not None
        node.kill()
        try:
            joined.wait("wamp.retry")
            begun = time.monotonic()
            joined.child.send(signal.SIGTERM)
            assert joined.child.wait(10) == 0
            assert time.monotonic() - begun < 5
        finally:
            node.start()

    def test_is_all_back_after_the_router_was_killed(
        self, joined: Any, node: Node, operator: Operator, pdid: str
    ) -> None:
        before = operator.status(pdid)
        node.kill()
        node.start()
        operator.wait_joined(pdid, not_in=[before["session"]])
        after = operator.status(pdid)
        assert after["sessions"] == before["sessions"] + 1
        assert procedures(operator, pdid) == PROCEDURES
        assert operator.sessions(pdid) == [after["session"]]
        operator.wait_event(pdid, "heartbeat")
        operator.publish(pdid, "updatesPending")
        joined.wait("updates.pending")

    def test_another_one_does_not_start(self, joined: Any) -> None:
        other = joined.run()
        assert other.returncode == 1
        assert other.stderr.splitlines() == [
            f"paradropd: a daemon already runs (pid {joined.child.pid}, "
            f"{joined.runtime / 'paradropd.pid'})"
        ]

    def test_another_one_with_a_runtime_home_of_its_own_does_not_start(self, joined: Any) -> None:
        other = joined.run(
            f"RUNTIME_HOME_DIR:{joined.folder / 'other'}",
            environment={
                name: value
                for name, value in joined.environment.items()
                if name != "RUNTIME_HOME_DIR"
            },
        )
        assert other.returncode == 1
        assert other.stderr.splitlines()[-1] == (
            f"paradropd: a daemon already runs (pid {joined.child.pid}, "
            f"{joined.home / 'paradrop.lock'})"
        )

    def test_hung_up_before_a_state_that_it_does_not_know_it_stays_who_it_is(
        self, joined: Any, operator: Operator, pdid: str
    ) -> None:
        (joined.home / "config").write_text("version: 2\n")
        joined.hang_up()
        joined.wait("daemon.reload")
        assert operator.status(pdid)["pdid"] == pdid
        (told,) = errors(joined)
        assert "version 2" in told["message"]

    def test_hung_up_it_joins_anew(self, joined: Any, operator: Operator, pdid: str) -> None:
        (session,) = operator.sessions(pdid)
        joined.hang_up()
        operator.wait_joined(pdid, not_in=[session])
        operator.wait_left(pdid, session)
        assert operator.status(pdid)["sessions"] == 2

    def test_provisioned_again_it_becomes_the_other(
        self, joined: Any, node: Node, operator: Operator, pdid: str
    ) -> None:
        (session,) = operator.sessions(pdid)
        other = f"{pdid}-b"
        joined.provision(other, node.url(), node.enroll(other))
        operator.wait_joined(other)
        operator.wait_left(pdid, session)
        assert operator.status(other)["pdid"] == other
        assert joined.state["pdid"] == other
        assert operator.registrations(pdid) == []

    def test_revoked_it_says_so_once_and_waits(
        self, joined: Any, node: Node, operator: Operator, pdid: str
    ) -> None:
        node.revoke(pdid)
        joined.wait("wamp.refused")
        retry = joined.wait("wamp.retry", 2)[-1]["extra"]
        assert retry["delay"] > 40
        assert len(joined.records("wamp.refused")) == 1


def test_a_refused_token_is_a_security_record_and_cured_at_once(
    daemon: Any, node: Node, operator: Operator, pdid: str
) -> None:
    token = node.enroll(pdid)
    daemon.provision(pdid, node.url(), "wrong")
    daemon.start()
    (refused,) = daemon.wait("wamp.refused")
    assert refused["type"] == 7
    assert refused["pdid"] == pdid
    daemon.provision(pdid, node.url(), token)
    operator.wait_joined(pdid, timeout=10)


def test_a_lost_token_is_said_and_waits_for_provisioning(
    daemon: Any, node: Node, operator: Operator, pdid: str
) -> None:
    token = node.enroll(pdid)
    daemon.provision(pdid, node.url(), token)
    (daemon.home / "keys" / "apitoken").unlink()
    daemon.start()
    daemon.wait("daemon.unprovisioned")
    daemon.provision(pdid, node.url(), token)
    operator.wait_joined(pdid, timeout=10)


class TestSelfProvisioning:
    def write(self, daemon: Any, server: str, batch: str, key: str) -> None:
        path = daemon.home / "provision.yaml"
        path.write_text(f"server: {server}\nbatch: {batch}\nkey: {key}\n")
        path.chmod(0o600)

    def test_becomes_a_router_of_its_own(self, daemon: Any, node: Node, operator: Operator) -> None:
        batch = node.add_batch(node.url())
        self.write(daemon, node.url(), batch.id, batch.key)
        daemon.start()
        pdid = daemon.wait("daemon.provisioned")[0]["extra"]["pdid"]
        operator.wait_joined(pdid)
        assert operator.status(pdid)["pdid"] == pdid
        assert daemon.state["pdid"] == pdid
        assert daemon.state["wampRouter"] == node.url()
        token = daemon.home / "keys" / "apitoken"
        assert stat.S_IMODE(token.stat().st_mode) == 0o600
        log = (daemon.home / "logs" / "log").read_text()
        assert token.read_text() not in log
        assert batch.key not in log

    def test_waits_for_a_server_that_is_away(
        self, daemon: Any, node: Node, operator: Operator
    ) -> None:
        daemon.environment["WAMP_MAX_DELAY"] = "1"
        batch = node.add_batch(node.url())
        node.stop()
        try:
            self.write(daemon, node.url(), batch.id, batch.key)
            daemon.start()
            daemon.wait("wamp.retry", 2)
        finally:
            node.start()
        operator.wait_joined(daemon.wait("daemon.provisioned")[0]["extra"]["pdid"])

    def test_a_wrong_batch_key_is_a_security_record(
        self, daemon: Any, node: Node, operator: Operator
    ) -> None:
        batch = node.add_batch(node.url())
        self.write(daemon, node.url(), batch.id, "wrong")
        daemon.start()
        (refused,) = daemon.wait("wamp.refused")
        assert refused["type"] == 7
        assert daemon.wait("wamp.retry", 2)[-1]["extra"]["delay"] > 40
        self.write(daemon, node.url(), batch.id, batch.key)
        daemon.hang_up()
        operator.wait_joined(daemon.wait("daemon.provisioned")[0]["extra"]["pdid"])

    def test_an_answer_that_got_lost_costs_no_identity(
        self, daemon: Any, node: Node, operator: Operator
    ) -> None:
        batch = node.add_batch(node.url(), size=1)
        self.write(daemon, node.url(), batch.id, batch.key)
        daemon.start()
        pdid = daemon.wait("daemon.provisioned")[0]["extra"]["pdid"]
        daemon.child.terminate()
        (daemon.home / "config").unlink()
        (daemon.home / "keys" / "apitoken").unlink()
        daemon.start()
        assert daemon.wait("daemon.provisioned", 2)[1]["extra"]["pdid"] == pdid
        operator.wait_joined(pdid)

    @pytest.mark.parametrize("contents", ["", "- 1", "server: [", "server: wss://x/ws\n"])
    def test_a_file_that_lacks_something_is_said(self, daemon: Any, contents: str) -> None:
        (daemon.home / "provision.yaml").write_text(contents)
        daemon.start()
        told = [one for one in errors(daemon) if "provision.yaml" in one["message"]]
        assert len(told) == 1


class TestOddValues:
    """One odd value hides nothing else."""

    @pytest.mark.parametrize(
        ("extra", "sent"),
        [
            ({"name": os.fsdecode(b"caf\xe9")}, {"name": "caf\\udce9"}),
            ({"number": 2**64}, {"number": str(2**64)}),
            ({os.fsdecode(b"\xff"): -(2**70)}, {"\\udcff": str(-(2**70))}),
            ({"deep": [[[[None]]]]}, {"deep": [[[[None]]]]}),
            ({"text": "\0no base64"}, {"text": "\\x00no base64"}),
            ({"number": math.nan, "other": -math.inf}, {"number": "nan", "other": "-inf"}),
        ],
    )
    def test_in_a_record_of_the_log(
        self, joined: Any, operator: Operator, pdid: str, extra: Any, sent: Any
    ) -> None:
        record = joined.records()[-1] | {"message": os.fsdecode(b"\xe9"), "extra": extra}
        with (joined.home / "logs" / "log").open("a") as log:
            log.write(json.dumps(record) + "\n")
        operator.publish(pdid, "updatesPending")
        joined.wait("updates.pending")
        given = operator.logs(pdid)
        (found,) = [one for one in given if one["message"] == "\\udce9"]
        assert found["extra"] == sent
        assert given[-1]["extra"]["event"] == "updates.pending"

    def test_in_a_line_of_an_earlier_version(
        self, joined: Any, operator: Operator, pdid: str
    ) -> None:
        joined.wait("wamp.joined")
        digits, deep = "9" * 5000, "[" * 500 + "]" * 500
        with (joined.home / "logs" / "log").open("a") as log:
            log.write(f'{{"timestamp": 2e9, "message": "old", "x": {digits}, "y": {deep}}}\n')
            log.write('{"timestamp": 2e9, "message": "next"}\n')
        *_, old, after = operator.logs(pdid)
        assert (old["message"], old["x"], after["message"]) == ("old", digits, "next")

    def test_a_record_that_no_message_holds_is_cut(
        self, joined: Any, operator: Operator, pdid: str
    ) -> None:
        record = joined.records()[-1] | {"message": "x" * 20_000_000, "extra": {"event": "large"}}
        with (joined.home / "logs" / "log").open("a") as log:
            log.write(json.dumps(record) + "\n")
        (found,) = [one for one in operator.logs(pdid) if one["extra"].get("event") == "large"]
        assert found["extra"]["cut"] > 20_000_000
        assert found["message"].startswith("xxx")
        assert len(found["message"]) < 1_000_000

    def test_in_a_setting(self, daemon: Any, node: Node, operator: Operator, pdid: str) -> None:
        daemon.environment["LOCAL_DOMAIN"] = os.fsdecode(b"caf\xe9")
        daemon.provision(pdid, node.url(), node.enroll(pdid))
        daemon.start()
        operator.wait_joined(pdid)
        operator.status(pdid)
        assert operator.config(pdid)["LOCAL_DOMAIN"] == "caf\\udce9"


def test_wrong_arguments_are_a_line_and_cost_no_session(
    daemon: Any, node: Node, operator: Operator, pdid: str
) -> None:
    daemon.provision(pdid, node.url(), node.enroll(pdid))
    daemon.start()
    operator.status(pdid, timeout=30)
    before = operator.sessions(pdid)

    def send(what: str, name: str, *args: Any, **kwargs: Any) -> str:
        session = operator._client.session(time.monotonic() + 10)
        send = getattr(session, what)
        try:
            operator._client.run(lambda: send(of_device(name, pdid), *args, **kwargs), 10)
        except ApplicationError as error:
            return f"{error.error}: {error.args[0]}"
        return ""

    assert "missing a required argument: 'pdid'" in send("call", "status")
    assert "unexpected keyword argument 'x'" in send("call", "logs", pdid, x=1)
    assert "invalid_argument" in send("call", "logs", pdid, None)
    assert "5 is not a setting" in send("call", "config", pdid, {5: 1})
    send("publish", "updatesPending")
    send("publish", "updatesPending", pdid, {5: 1})
    daemon.wait("updates.pending")
    assert send("call", "status", pdid, {5: 1}) == ""
    assert operator.sessions(pdid) == before
    assert not [one for one in daemon.records() if one["type"] >= 6]
    for line in daemon.console.read_text().splitlines():
        assert "ApplicationError(" not in line
        assert line.count("missing a required") <= 1
