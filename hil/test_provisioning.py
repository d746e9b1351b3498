"""A router gets its identity once, keeps it whatever happens, and gives it up when told to."""

from __future__ import annotations

import secrets

import pytest
import trustme

from paradrop.base.output import Level


def assert_not_hammered(log, refused):
    """The first retry after the record `refused` is at the longest delay already."""
    retry = log.wait_for("wamp.retry", where=lambda r: r["timestamp"] >= refused["timestamp"])
    assert retry["extra"]["delay"] > 30


@pytest.mark.smoke
def test_by_itself_from_a_batch(bench, blank, operator):
    """A device with a batch key fetches its identity and joins as itself."""
    pdid = bench.provision_itself(blank)
    bench.assert_healthy(pdid)
    assert operator.status(pdid)["pdid"] == pdid


def test_once_and_for_all(bench, blank, operator, log):
    """A device that has provisioned itself does not do so again when it starts anew."""
    pdid = bench.provision_itself(blank)
    before = operator.sessions(pdid)
    blank.daemon("restart")
    operator.wait_joined(pdid, not_in=before)
    bench.assert_healthy(pdid)
    assert len(log.records("daemon.provisioned")) == 1


def test_by_hand(bench, blank, node, operator):
    """An administrator's command gives a running device its identity."""
    pdid = f"pd-{secrets.token_hex(4)}"
    blank.provision(pdid, bench.router_url(blank), node.enroll(pdid))
    operator.wait_joined(pdid)
    bench.assert_healthy(pdid)


@pytest.mark.needs("power")
def test_identity_survives_a_power_cut(bench, blank, node, operator):
    """A device whose power is cut as soon as it has been provisioned is itself afterwards."""
    pdid = f"pd-{secrets.token_hex(4)}"
    blank.daemon("stop")  # its log is synced every second, and all else with it
    blank.provision(pdid, bench.router_url(blank), node.enroll(pdid))
    blank.power.cycle()
    operator.wait_joined(pdid)
    bench.assert_healthy(pdid)


def test_wrong_batch_key(bench, blank, node, log):
    """A wrong batch key is a security record, and nobody is hammered."""
    batch = node.add_batch(bench.router_url(blank))
    bench.give_batch(blank, batch, key="not-the-key")
    refused = log.wait_for("wamp.refused")
    assert refused["type"] == Level.SECURITY.value
    assert_not_hammered(log, refused)


def test_batch_used_up(bench, blank, node, log):
    """A batch gives out no more identities than it has, however often it is asked."""
    batch = node.add_batch(bench.router_url(blank), size=0)
    bench.give_batch(blank, batch)
    log.wait_for("wamp.retry", where=lambda r: r["extra"]["attempt"] == 3)
    assert not log.records("wamp.joined")
    assert not log.records("daemon.provisioned")
    blank.fail(f"test -e {blank.config_home}/keys/apitoken")


def test_wrong_token_and_then_the_right_one(bench, blank, node, operator, log):
    """A wrong token is a security record, and not hammered; the right one works at once."""
    pdid = f"pd-{secrets.token_hex(4)}"
    token = node.enroll(pdid)
    blank.provision(pdid, bench.router_url(blank), "not-the-token")
    refused = log.wait_for("wamp.refused")
    assert refused["type"] == Level.SECURITY.value
    assert_not_hammered(log, refused)
    assert operator.sessions(pdid) == []
    blank.provision(pdid, bench.router_url(blank), token)
    operator.wait_joined(pdid, timeout=20)


def test_a_refusal_is_said_once(bench, blank, operator, log):
    """However often a device is refused, one record says so."""
    identity = bench.provision(blank)
    operator.config(identity.pdid, {"WAMP_MAX_DELAY": 3})  # to see several in a short time
    url = bench.router_url(blank)
    blank.provision(identity.pdid, url, "not-the-token")
    log.wait_for("wamp.retry", where=lambda r: r["extra"]["attempt"] == 5)
    assert len(log.records("wamp.refused")) == 1
    blank.provision(identity.pdid, url, identity.token)
    operator.wait_joined(identity.pdid)
    operator.config(identity.pdid, {"WAMP_MAX_DELAY": 60})


def test_revoked(bench, blank, node, operator, log):
    """A revoked device loses its session, and does not ask for another all the time."""
    identity = bench.provision(blank)
    node.revoke(identity.pdid)
    assert_not_hammered(log, log.wait_for("wamp.refused"))
    assert operator.sessions(identity.pdid) == []


def test_another_identity(bench, blank, node, operator):
    """A device that is provisioned again is the new one, and no longer the old one."""
    old = bench.provision_itself(blank)
    (session,) = operator.sessions(old)
    new = f"pd-{secrets.token_hex(4)}"
    blank.provision(new, bench.router_url(blank), node.enroll(new))
    operator.wait_left(old, session, timeout=20)
    bench.assert_healthy(new)
    assert operator.sessions(old) == []


def test_router_with_a_strangers_certificate(bench, blank, operator, node, log):
    """A router whose certificate nobody vouches for gets neither a session nor the token."""
    identity = bench.provision(blank)
    (session,) = operator.sessions(identity.pdid)
    trusted = blank.config_home / "ca.pem"
    blank.write(trusted, trustme.CA().cert_pem.bytes(), owner=blank.daemon_user)
    try:
        blank.reload()
        log.wait_for("wamp.retry", where=lambda r: "certificate" in r["extra"]["reason"])
        operator.wait_left(identity.pdid, session)
        assert operator.sessions(identity.pdid) == []
        assert len(log.records("wamp.joined")) == 1
    finally:
        blank.write(trusted, node.ca_pem, owner=blank.daemon_user)


def test_no_secret_in_the_log(bench, blank, node, operator, log):
    """Neither the batch key nor the token ever appears in the log, nor after the next start."""
    batch = node.add_batch(bench.router_url(blank))
    bench.give_batch(blank, batch)
    pdid = log.wait_for("daemon.provisioned")["extra"]["pdid"]
    before = [operator.wait_joined(pdid)]
    blank.daemon("restart")
    operator.wait_joined(pdid, not_in=before)
    bench.assert_healthy(pdid)
    token = blank.read(blank.config_home / "keys" / "apitoken").decode().strip()
    text = "\n".join(log.lines())
    assert "daemon.stopped" in text
    secret = {"token": token, "batch key": batch.key}
    assert [name for name in secret if secret[name] in text] == []  # and none in the report
