"""TLS to the router is verified, and a refusal says why."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme
from sessions import Devices, drop

from harness.node import Node
from paradrop.base import settings
from paradrop.base.cxbr import BaseSession
from paradrop.base.exceptions import SettingsError
from paradrop.base.output import Level

pytestmark = pytest.mark.usefixtures("quick")


def begin(reactor: Any, url: str) -> Any:
    return reactor.begin(lambda: BaseSession.start(url, "tls", reconnect=False))


def test_a_certificate_of_another_authority_is_refused(
    node: Node, reactor: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trustme.CA().cert_pem.write_to_path(str(tmp_path / "other.pem"))
    monkeypatch.setattr(settings, "WAMP_CA_FILE", str(tmp_path / "other.pem"))
    with pytest.raises(Exception, match=r"certificate refused: .*verify failed"):
        begin(reactor, node.url()).wait(10)


def test_each_authority_of_a_file_is_trusted(
    node: Node, devices: Devices, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    others = [trustme.CA().cert_pem.bytes() for _ in range(2)]
    (tmp_path / "all.pem").write_bytes(b"# ours\n".join([others[0], node.ca_pem, others[1]]))
    monkeypatch.setattr(settings, "WAMP_CA_FILE", str(tmp_path / "all.pem"))
    assert devices.join(node.url()).is_attached()


def test_the_system_does_not_know_the_authority(
    node: Node, reactor: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings, "WAMP_CA_FILE", None)
    with pytest.raises(Exception, match=r"certificate refused"):
        begin(reactor, node.url()).wait(10)


class Server:
    """Speaks nothing but the handshake."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self.peers: list[Any] = []  # the certificates of those who came
        self._context = context
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                plain, _ = self._listener.accept()
            except OSError:
                return
            try:
                with self._context.wrap_socket(plain, server_side=True) as secure:
                    self.peers.append(secure.getpeercert())
                    secure.recv(1)
            except OSError:
                plain.close()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(5)


@pytest.fixture
def authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> trustme.CA:
    made = trustme.CA()
    made.cert_pem.write_to_path(str(tmp_path / "made.pem"))
    monkeypatch.setattr(settings, "WAMP_CA_FILE", str(tmp_path / "made.pem"))
    return made


@pytest.fixture
def serve() -> Iterator[Any]:
    servers: list[Server] = []

    def start(
        certificate: trustme.LeafCert,
        highest: ssl.TLSVersion | None = None,
        wanted: trustme.CA | None = None,
    ) -> Server:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        certificate.configure_cert(context)
        if highest is not None:
            context.minimum_version = context.maximum_version = highest
            context.set_ciphers("ALL:@SECLEVEL=0")
        if wanted is not None:
            wanted.configure_trust(context)
            context.verify_mode = ssl.CERT_REQUIRED
        servers.append(Server(context))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_certificate_for_another_name_is_refused(
    authority: trustme.CA, serve: Any, reactor: Any, host: str
) -> None:
    port = serve(authority.issue_cert("router.example", "10.9.8.7")).port
    with pytest.raises(Exception, match=r"certificate refused: it is not for"):
        begin(reactor, f"wss://{host}:{port}/ws").wait(10)


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
def test_tls_1_1_is_refused(authority: trustme.CA, serve: Any, reactor: Any) -> None:
    port = serve(authority.issue_cert("127.0.0.1"), ssl.TLSVersion.TLSv1_1).port
    with pytest.raises(Exception, match=r"TLS failed: .*protocol"):
        begin(reactor, f"wss://127.0.0.1:{port}/ws").wait(10)


@pytest.mark.parametrize("contents", [None, b"", b"no certificate"])
def test_a_file_of_authorities_that_cannot_be_used_is_said(
    reactor: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, contents: bytes | None
) -> None:
    path = tmp_path / "bad.pem"
    if contents is not None:
        path.write_bytes(contents)
    monkeypatch.setattr(settings, "WAMP_CA_FILE", str(path))
    with pytest.raises(SettingsError, match=r"WAMP_CA_FILE .*bad\.pem"):
        begin(reactor, "wss://127.0.0.1:1/ws").wait(10)


class TestOurOwnCertificate:
    @pytest.fixture
    def own(self, tmp_path: Path) -> trustme.LeafCert:
        return trustme.CA().issue_cert("router@example.org")

    @pytest.mark.parametrize("together", [True, False])
    def test_is_shown_to_a_router_that_asks(
        self,
        authority: trustme.CA,
        serve: Any,
        reactor: Any,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        together: bool,
    ) -> None:
        fleet = trustme.CA()
        own = fleet.issue_cert("r1.example")
        if together:
            own.private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "own.pem"))
        else:
            own.cert_chain_pems[0].write_to_path(str(tmp_path / "own.pem"))
            own.private_key_pem.write_to_path(str(tmp_path / "own.key"))
            monkeypatch.setattr(settings, "WAMP_CLIENT_KEY", str(tmp_path / "own.key"))
        monkeypatch.setattr(settings, "WAMP_CLIENT_CERT", str(tmp_path / "own.pem"))
        server = serve(authority.issue_cert("127.0.0.1"), wanted=fleet)
        with pytest.raises(Exception, match="lost"):
            begin(reactor, f"wss://127.0.0.1:{server.port}/ws").wait(10)
        assert server.peers[0]["subjectAltName"] == (("DNS", "r1.example"),)

    @pytest.mark.parametrize("contents", [None, b"", b"no certificate"])
    def test_that_cannot_be_used_is_said(
        self,
        reactor: Any,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        contents: bytes | None,
    ) -> None:
        path = tmp_path / "own.pem"
        if contents is not None:
            path.write_bytes(contents)
        monkeypatch.setattr(settings, "WAMP_CLIENT_CERT", str(path))
        with pytest.raises(SettingsError, match=r"WAMP_CLIENT_CERT .*own\.pem"):
            begin(reactor, "wss://127.0.0.1:1/ws").wait(10)

    def test_without_its_key_is_said(
        self, reactor: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own: trustme.LeafCert
    ) -> None:
        own.cert_chain_pems[0].write_to_path(str(tmp_path / "own.pem"))
        monkeypatch.setattr(settings, "WAMP_CLIENT_CERT", str(tmp_path / "own.pem"))
        with pytest.raises(SettingsError, match=r"WAMP_CLIENT_CERT .*own\.pem"):
            begin(reactor, "wss://127.0.0.1:1/ws").wait(10)


class TestUnverified:
    def test_joins_whoever_answers_and_says_so_at_every_connection(
        self, devices: Devices, records: Any, reactor: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(settings, "WAMP_CA_FILE", None)
        monkeypatch.setattr(settings, "WAMP_TLS_VERIFY", False)
        session = devices.join()
        reactor(drop, session)
        records.wait("wamp.joined", 2)
        said = [record for record in records if "WAMP_TLS_VERIFY" in record["message"]]
        assert len(said) == session.client.handshakes == 2
        assert {record["type"] for record in said} == {Level.SECURITY.value}

    def test_verified_nothing_is_said(self, devices: Devices, records: Any) -> None:
        devices.join()
        assert "WAMP_TLS_VERIFY" not in str(records)


def test_a_certificate_that_is_not_trusted_is_tried_slowly_and_said_once(
    devices: Devices, records: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trustme.CA().cert_pem.write_to_path(str(tmp_path / "other.pem"))
    monkeypatch.setattr(settings, "WAMP_CA_FILE", str(tmp_path / "other.pem"))
    devices.begin()
    retries = records.wait("wamp.retry", 4)
    assert [record["reason"] for record in records.events("wamp.refused")] == ["certificate"]
    assert all(retry["limit"] == 0.8 for retry in retries[1:])
