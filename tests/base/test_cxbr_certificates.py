"""Why a certificate is refused, and what cures it, with real TLS."""

from __future__ import annotations

import ssl
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import logged
import pytest
from issue import CLIENT, Issued, issue, weak_key
from peers import Fault, Peer, frames, opens, over_tls, page, rest, says, to
from sessions import Devices

from harness.node import Node
from paradrop.base import settings
from paradrop.base.cxbr import BaseClientFactory
from paradrop.base.output import Level, out
from paradrop.base.states import State

pytestmark = pytest.mark.usefixtures("quick")

NOW = datetime.now(UTC)
YESTERDAY = NOW - timedelta(days=1)
HERE = "127.0.0.1"


@pytest.fixture(autouse=True)
def logging(tmp_path: Path) -> Iterator[None]:
    """What Twisted and autobahn log are records, too."""
    ended = logged.logging_ended()
    next(ended)
    out.startLogging(tmp_path / "logs", printToConsole=False)
    yield
    next(ended, None)


@pytest.fixture
def ca() -> Issued:
    return issue(subject="Our authority", authority=True)


@pytest.fixture
def trusted(ca: Issued, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of the authorities that are trusted."""
    path = tmp_path / "authorities.pem"
    path.write_bytes(ca.pem)
    monkeypatch.setattr(settings, "WAMP_CA_FILE", str(path))
    return path


@pytest.fixture
def serve() -> Iterator[Any]:
    peers: list[Peer] = []

    def start(fault: Fault) -> Peer:
        peers.append(Peer(fault))
        return peers[-1]

    yield start
    for peer in peers:
        peer.close()


@pytest.fixture
def long_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """A retry that is soon has been hastened."""
    monkeypatch.setattr(settings, "WAMP_INITIAL_DELAY", 3000)
    monkeypatch.setattr(settings, "WAMP_MAX_DELAY", 3000)


def refused(devices: Devices, records: Any, node: Node, port: int, count: int = 1) -> str:
    """@return: why the attempts to join failed, in one line that was logged once for each."""
    devices.begin(node.url(port=port))
    retries = records.wait("wamp.retry", count)
    assert len({retry["reason"] for retry in retries}) == 1
    warned = [record for record in records if record["type"] == Level.WARN.value]
    assert [record["extra"]["event"] for record in warned] == ["wamp.retry"] * len(warned)
    assert Level.ERR.value not in {record["type"] for record in records}
    assert "Traceback" not in str(list(records))
    reason: str = retries[0]["reason"]
    assert reason.isprintable()
    return reason


def router(own: Issued, **more: Any) -> Fault:
    return over_tls(own.context(**more), rest)


class TestTheReason:
    @pytest.mark.parametrize(
        ("leaf", "words"),
        [
            (
                {"end": YESTERDAY},
                ["expired", "clock", f"{NOW - timedelta(days=1):%F}"],
            ),
            ({"begin": NOW + timedelta(days=9)}, ["not yet valid", "clock", f"{NOW:%F}"]),
            ({"purpose": CLIENT}, ["purpose"]),
            ({"key": "weak"}, ["weak"]),
        ],
        ids=["expired", "not yet valid", "purpose", "weak"],
    )
    def test_a_certificate_of_an_authority_that_we_trust(
        self,
        devices: Devices,
        records: Any,
        node: Node,
        serve: Any,
        ca: Issued,
        trusted: Path,
        leaf: Any,
        words: list[str],
    ) -> None:
        if leaf.get("key"):
            leaf = {"key": weak_key()}
        own = issue(HERE, by=ca, **leaf)
        reason = refused(devices, records, node, serve(router(own)).port)
        for word in [*words, "certificate"]:
            assert word in reason

    def test_its_own_authority(
        self, devices: Devices, records: Any, node: Node, serve: Any, trusted: Path
    ) -> None:
        stranger = issue(subject="A stranger", authority=True)
        own = issue(HERE, by=stranger, subject="An impostor")
        reason = refused(devices, records, node, serve(router(own)).port)
        assert "unknown authority" in reason
        assert "CN=A stranger" in reason
        assert "CN=An impostor" in reason

    def test_itself(
        self, devices: Devices, records: Any, node: Node, serve: Any, trusted: Path
    ) -> None:
        reason = refused(devices, records, node, serve(router(issue(HERE))).port)
        assert "self-signed" in reason

    def test_an_authority_that_has_expired(
        self,
        devices: Devices,
        records: Any,
        node: Node,
        serve: Any,
        trusted: Path,
    ) -> None:
        old = issue(subject="Old", authority=True, end=NOW - timedelta(days=2))
        trusted.write_bytes(old.pem)
        own = issue(HERE, by=old)
        reason = refused(devices, records, node, serve(router(own)).port)
        assert "expired" in reason
        assert "CN=Old" in reason

    def test_an_intermediate_is_missing(
        self, devices: Devices, records: Any, node: Node, serve: Any, ca: Issued, trusted: Path
    ) -> None:
        between = issue(subject="Between", authority=True, by=ca)
        own = issue(HERE, by=between)
        own.chain = ()
        assert "missing" in refused(devices, records, node, serve(router(own)).port)

    def test_an_issuer_that_may_not_issue(
        self, devices: Devices, records: Any, node: Node, serve: Any, ca: Issued, trusted: Path
    ) -> None:
        own = issue(HERE, by=issue("x.example", by=ca))
        assert "authority" in refused(devices, records, node, serve(router(own)).port)

    def test_a_chain_that_is_longer_than_allowed(
        self, devices: Devices, records: Any, node: Node, serve: Any, trusted: Path
    ) -> None:
        root = issue(subject="Root", authority=True, path_length=0)
        trusted.write_bytes(root.pem)
        own = issue(HERE, by=issue(subject="Between", authority=True, by=root))
        assert "path length" in refused(devices, records, node, serve(router(own)).port)

    @pytest.mark.parametrize("host", [HERE, "localhost"])
    def test_other_names(
        self,
        devices: Devices,
        records: Any,
        node: Node,
        serve: Any,
        ca: Issued,
        trusted: Path,
        host: str,
    ) -> None:
        own = issue("router.example", "10.9.8.7", by=ca)
        devices.begin(f"wss://{host}:{serve(router(own)).port}/ws")
        reason = records.wait("wamp.retry")[0]["reason"]
        for word in (host, "router.example", "10.9.8.7"):
            assert word in reason

    def test_no_name(
        self, devices: Devices, records: Any, node: Node, serve: Any, ca: Issued, trusted: Path
    ) -> None:
        own = issue(by=ca, subject=HERE)
        assert "no host" in refused(devices, records, node, serve(router(own)).port)

    def test_no_tls_on_that_port(
        self, devices: Devices, records: Any, node: Node, serve: Any, trusted: Path
    ) -> None:
        reason = refused(
            devices, records, node, serve(says(b"HTTP/1.1 400 Bad Request\r\n\r\n")).port
        )
        assert "ws://" in reason

    def test_no_tls_on_that_port_of_a_real_router(
        self,
        devices: Devices,
        records: Any,
        node: Node,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(BaseClientFactory, "openTimeout", 1)  # it waits for more
        assert "ws://" in refused(devices, records, node, node.port)

    def test_tls_on_the_port_of_an_address_without(
        self, devices: Devices, records: Any, node: Node
    ) -> None:
        devices.begin(node.url(port=node.tls_port, tls=False))
        assert "wss://" in records.wait("wamp.retry")[0]["reason"]

    @pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
    def test_a_version_that_is_too_old(
        self, devices: Devices, records: Any, node: Node, serve: Any, ca: Issued, trusted: Path
    ) -> None:
        context = issue(HERE, by=ca).context()
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
        reason = refused(devices, records, node, serve(over_tls(context, rest)).port)
        assert "1.2" in reason

    def test_a_certificate_of_ours_is_wanted_with_tls_1_2(
        self, devices: Devices, records: Any, node: Node, serve: Any, ca: Issued, trusted: Path
    ) -> None:
        context = issue(HERE, by=ca).context(wanted=issue(subject="Fleet", authority=True))
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        reason = refused(devices, records, node, serve(over_tls(context, rest)).port)
        assert "WAMP_CLIENT_CERT" in reason


class TestRefused:
    """What the log and the state say, when it happens again."""

    @pytest.mark.parametrize(
        "leaf",
        [{"end": YESTERDAY}, {"by": issue(subject="Unknown", authority=True)}],
        ids=["expired", "unknown authority"],
    )
    def test_is_a_security_record(
        self,
        devices: Devices,
        records: Any,
        node: Node,
        serve: Any,
        ca: Issued,
        trusted: Path,
        leaf: Any,
    ) -> None:
        own = issue(HERE, **({"by": ca} | leaf))
        reason = refused(devices, records, node, serve(router(own)).port, 3)
        (record,) = [record for record in records if record["type"] == Level.SECURITY.value]
        assert record["extra"]["reason"] == "certificate"
        assert record["message"].count(reason) == 1
        assert devices.begun[0].client.state is State.AUTH_FAILED

    def test_by_the_clock_is_none(
        self, devices: Devices, records: Any, node: Node, serve: Any, ca: Issued, trusted: Path
    ) -> None:
        own = issue(HERE, by=ca, begin=NOW + timedelta(days=9))
        refused(devices, records, node, serve(router(own)).port, 4)
        assert Level.SECURITY.value not in {record["type"] for record in records}
        assert devices.begun[0].client.state is not State.AUTH_FAILED


class TestTheClock:
    def test_that_is_set_ends_the_wait(
        self,
        devices: Devices,
        records: Any,
        node: Node,
        serve: Any,
        ca: Issued,
        trusted: Path,
        long_waits: None,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        begin = datetime.now(UTC) + timedelta(seconds=5)
        own = issue(HERE, by=ca, begin=begin)
        joining = devices.begin(node.url(port=serve(over_tls(own.context(), to(node.port))).port))
        assert "not yet valid" in records.wait("wamp.retry")[0]["reason"]
        while datetime.now(UTC) < begin:
            time.sleep(0.1)
        assert len(records.events("wamp.retry")) == 1
        true_time = time.time
        monkeypatch.setattr(time, "time", lambda: true_time() + 3600)
        assert joining.wait(20).is_attached()

    def test_that_is_far_ahead_is_the_cause(
        self,
        devices: Devices,
        records: Any,
        node: Node,
        serve: Any,
        ca: Issued,
        trusted: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        true_time = time.time
        monkeypatch.setattr(time, "time", lambda: true_time() + 80 * 365 * 86400)
        own = issue(HERE, by=ca, end=YESTERDAY)
        reason = refused(devices, records, node, serve(router(own)).port, 3)
        assert "set the clock" in reason
        assert Level.SECURITY.value not in {record["type"] for record in records}


class TestReadAgain:
    def test_the_authorities(
        self,
        devices: Devices,
        records: Any,
        node: Node,
        trusted: Path,
        long_waits: None,
    ) -> None:
        joining = devices.begin(node.url())
        assert "unknown authority" in records.wait("wamp.retry")[0]["reason"]
        trusted.write_bytes(node.ca_pem)
        assert joining.wait(20).is_attached()

    def test_another_file(
        self,
        devices: Devices,
        records: Any,
        node: Node,
        trusted: Path,
        tmp_path: Path,
        long_waits: None,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        joining = devices.begin(node.url())
        records.wait("wamp.retry")
        (tmp_path / "right.pem").write_bytes(node.ca_pem)
        monkeypatch.setattr(settings, "WAMP_CA_FILE", str(tmp_path / "right.pem"))
        assert joining.wait(20).is_attached()

    def test_no_verification(
        self,
        devices: Devices,
        records: Any,
        node: Node,
        trusted: Path,
        long_waits: None,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        joining = devices.begin(node.url())
        records.wait("wamp.retry")
        monkeypatch.setattr(settings, "WAMP_TLS_VERIFY", False)
        assert joining.wait(20).is_attached()
        assert [r for r in records if "WAMP_TLS_VERIFY" in r["message"]] != []

    @pytest.mark.parametrize("damage", [None, b"", b"\xff\xfe no certificate", "folder"])
    def test_a_file_that_cannot_be_read_is_an_attempt_that_failed(
        self,
        devices: Devices,
        records: Any,
        node: Node,
        trusted: Path,
        damage: bytes | str | None,
    ) -> None:
        trusted.unlink()
        if damage == "folder":
            trusted.mkdir()
        elif isinstance(damage, bytes):
            trusted.write_bytes(damage)
        joining = devices.begin(node.url())
        for retry in records.wait("wamp.retry", 3):
            assert "WAMP_CA_FILE" in retry["reason"]
            assert str(trusted) in retry["reason"]
        if damage == "folder":
            trusted.rmdir()
        trusted.write_bytes(node.ca_pem)
        assert joining.wait(20).is_attached()
        assert Level.ERR.value not in {record["type"] for record in records}

    def test_our_own_certificate(
        self,
        devices: Devices,
        records: Any,
        node: Node,
        serve: Any,
        ca: Issued,
        trusted: Path,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        fleet = issue(subject="Fleet", authority=True)
        path = tmp_path / "own.pem"
        context = issue(HERE, by=ca).context(wanted=fleet)
        joining = devices.begin(node.url(port=serve(over_tls(context, to(node.port))).port))
        assert "WAMP_CLIENT_CERT" in records.wait("wamp.retry")[0]["reason"]
        assert records.wait("wamp.refused")[0]["reason"] == "own certificate"
        for wrong, word in (
            (issue("d", by=fleet, end=YESTERDAY), "expired"),
            (issue("d", by=issue(subject="Fleet 2", authority=True)), "authority"),
        ):
            path.write_bytes(wrong.own_pem)
            monkeypatch.setattr(settings, "WAMP_CLIENT_CERT", str(path))
            seen = len(records.events("wamp.retry"))
            assert word in records.wait("wamp.retry", seen + 2)[-1]["reason"]
        path.write_bytes(issue("d", by=fleet).own_pem)
        assert joining.wait(20).is_attached()


@pytest.mark.parametrize(
    ("fault", "word"),
    [
        (page("302 Found", "Location: https://portal.example/?a=b"), "portal.example"),
        (opens(None), "subprotocol"),
        (frames(bytes(9)), "fragment"),
    ],
    ids=["HTTP", "no subprotocol", "WebSocket"],
)
def test_a_fault_of_the_peer_behind_tls_is_one_line_too(
    devices: Devices,
    records: Any,
    node: Node,
    serve: Any,
    ca: Issued,
    trusted: Path,
    fault: Fault,
    word: str,
) -> None:
    own = issue(HERE, by=ca)
    played = serve(over_tls(own.context(), fault))
    assert word in refused(devices, records, node, played.port, 2)
