"""A router is found by either family of addresses, whatever one of them is worth."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from issue import issue
from names import Names, installed
from peers import Peer, over_tls, request, rest, to
from sessions import Devices

from harness.node import Node
from paradrop.base import settings
from paradrop.base.cxbr import BaseClientFactory
from paradrop.base.exceptions import ParadropException
from paradrop.base.probe import Probe

pytestmark = pytest.mark.usefixtures("quick")

V4, V6 = "127.0.0.1", "::1"


ZONE = """
import socket, subprocess, threading
subprocess.run("ip link set lo up; ip addr add fe80::77/64 dev lo nodad", shell=True, check=True)
from twisted.internet import reactor
from paradrop.base.cxbr import BaseSession

server = socket.create_server(("::", 8080), family=socket.AF_INET6)

def serve():
    connection, _ = server.accept()
    asked = connection.recv(65536).decode()
    print(asked.partition("Host: ")[2].partition("\\r")[0])
    reactor.callFromThread(reactor.stop)

threading.Thread(target=serve, daemon=True).start()
BaseSession.start("ws://[fe80::77%25lo]:8080/ws", "d").addErrback(lambda _: None)
reactor.callLater(20, reactor.stop)
reactor.run()
"""


def has_ipv6() -> bool:
    with contextlib.suppress(OSError), socket.create_server((V6, 0), family=socket.AF_INET6):
        return True
    return False


ipv6 = pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")


@pytest.fixture
def names(reactor: Any) -> Iterator[Names]:
    with installed(Names(), reactor) as made:
        yield made


@pytest.fixture
def listen() -> Iterator[Any]:
    peers: list[Peer] = []

    def start(fault: Any, host: str = V4, port: int = 0) -> Peer:
        peers.append(Peer(fault, host, port))
        return peers[-1]

    yield start
    for peer in peers:
        peer.close()


@pytest.fixture
def taken() -> list[str]:
    """The values of the header `Host` of all requests."""
    return []


@pytest.fixture
def hears(taken: list[str]) -> Any:
    """Hangs up on whoever asks, and keeps the header."""

    def fault(connection: socket.socket) -> None:
        for line in request(connection).decode().split("\r\n"):
            if line.lower().startswith("host:"):
                taken.append(line.partition(":")[2].strip())

    return fault


@pytest.fixture
def black_hole() -> Iterator[Any]:
    """Makes ports that never answer: their queue of connections is full."""
    opened: list[socket.socket] = []

    def make(host: str, port: int) -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        server = socket.create_server((host, port), family=family, backlog=0)
        opened.append(server)
        for _ in range(8):
            filler = socket.socket(family)
            opened.append(filler)
            filler.settimeout(0.2)
            try:
                filler.connect((host, port))
            except TimeoutError:
                return
        pytest.skip("here, a queue of connections has no end")

    yield make
    for one in opened:
        one.close()


@ipv6
class TestBothFamilies:
    @pytest.mark.parametrize(
        ("addresses", "alive"),
        [([V6], V6), ([V4], V4), ([V6, V4], V6), ([V6, V4], V4), ([V4, V6], V6), ([V4, V6], V4)],
    )
    def test_the_one_that_answers_is_used(
        self,
        devices: Devices,
        node: Node,
        names: Names,
        listen: Any,
        addresses: list[str],
        alive: str,
    ) -> None:
        names["router.test"] = addresses
        port = listen(to(node.port), alive).port
        session = devices.join(f"ws://router.test:{port}/ws")
        assert session.client.handshakes == 1

    @pytest.mark.parametrize(("dead", "alive"), [(V6, V4), (V4, V6)])
    def test_one_that_is_silent_does_not_hold_up_the_other(
        self,
        devices: Devices,
        node: Node,
        names: Names,
        listen: Any,
        records: Any,
        black_hole: Any,
        dead: str,
        alive: str,
    ) -> None:
        names["router.test"] = [dead, alive]
        port = listen(to(node.port), alive).port
        black_hole(dead, port)
        devices.join(f"ws://router.test:{port}/ws")
        assert records.events("wamp.retry") == []

    def test_both_dead_are_both_named(
        self, devices: Devices, names: Names, records: Any, reactor: Any
    ) -> None:
        names["router.test"] = [V6, V4]
        devices.begin("ws://router.test:1/ws")
        for retry in records.wait("wamp.retry", 3):
            assert "[::1]:1" in retry["reason"]
            assert "127.0.0.1:1" in retry["reason"]
            assert retry["reason"].count("refused") == 2

    def test_one_dead_and_one_silent_are_both_named(
        self,
        devices: Devices,
        names: Names,
        records: Any,
        listen: Any,
        black_hole: Any,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(BaseClientFactory, "connectTimeout", 1)
        names["router.test"] = [V6, V4]
        unused = listen(rest)
        unused.close()
        black_hole(V6, unused.port)
        devices.begin(f"ws://router.test:{unused.port}/ws")
        reason = records.wait("wamp.retry")[0]["reason"]
        assert f"127.0.0.1:{unused.port}: Connection refused" in reason
        assert f"no answer from [::1]:{unused.port}" in reason
        assert "within 1 s" in reason

    def test_only_one_connection_is_used_where_both_answer(
        self, devices: Devices, node: Node, names: Names, listen: Any
    ) -> None:
        names["router.test"] = [V6, V4]
        first = listen(to(node.port), V6)
        second = listen(to(node.port), V4, first.port)
        session = devices.join(f"ws://router.test:{first.port}/ws")
        assert (first.served, second.served) == (1, 0)
        assert session.client.handshakes == 1

    def test_a_session_moves_to_the_family_that_is_left(
        self, devices: Devices, node: Node, names: Names, listen: Any, records: Any
    ) -> None:
        names["router.test"] = [V6, V4]
        first = listen(to(node.port), V6)
        listen(to(node.port), V4, first.port)
        devices.join(f"ws://router.test:{first.port}/ws")
        first.close()
        records.wait("wamp.joined", 2)

    def test_a_router_that_is_back_is_found(
        self,
        devices: Devices,
        node: Node,
        names: Names,
        listen: Any,
        records: Any,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(settings, "WAMP_INITIAL_DELAY", 4000)
        monkeypatch.setattr(settings, "WAMP_MAX_DELAY", 4000)
        monkeypatch.setattr(Probe, "LEAST", 0.1)
        monkeypatch.setattr(Probe, "MOST", 0.2)
        names["router.test"] = [V6]
        away = listen(rest, V6)
        away.close()
        joining = devices.begin(f"ws://router.test:{away.port}/ws")
        records.wait("wamp.retry")
        listen(to(node.port), V6, away.port)
        assert joining.wait(20).is_attached()

    def test_over_tls(
        self,
        devices: Devices,
        node: Node,
        names: Names,
        listen: Any,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        ca = issue(subject="Authority", authority=True)
        (tmp_path / "ours.pem").write_bytes(ca.pem)
        monkeypatch.setattr(settings, "WAMP_CA_FILE", str(tmp_path / "ours.pem"))
        names["router.test"] = [V4, V6]
        own = issue("router.test", by=ca)
        port = listen(over_tls(own.context(), to(node.port)), V6).port
        assert devices.join(f"wss://router.test:{port}/ws").is_attached()


@ipv6
class TestAnAddressInTheURL:
    def test_has_brackets_in_the_header(
        self, devices: Devices, listen: Any, records: Any, hears: Any, taken: list[str]
    ) -> None:
        port = listen(hears, V6).port
        devices.begin(f"ws://[::1]:{port}/ws")
        records.wait("wamp.retry")
        assert taken[0] == f"[::1]:{port}"

    def test_is_joined(self, devices: Devices, node: Node, listen: Any) -> None:
        port = listen(to(node.port), V6).port
        assert devices.join(f"ws://[::1]:{port}/ws").is_attached()

    @pytest.mark.parametrize("written", ["[::1]", "[0:0:0:0:0:0:0:1]"])
    def test_is_verified(
        self,
        devices: Devices,
        node: Node,
        listen: Any,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        written: str,
    ) -> None:
        ca = issue(subject="Authority", authority=True)
        (tmp_path / "ours.pem").write_bytes(ca.pem)
        monkeypatch.setattr(settings, "WAMP_CA_FILE", str(tmp_path / "ours.pem"))
        own = issue("::1", by=ca)
        port = listen(over_tls(own.context(), to(node.port)), V6).port
        assert devices.join(f"wss://{written}:{port}/ws").is_attached()

    def test_of_another_certificate_is_refused(
        self,
        devices: Devices,
        listen: Any,
        records: Any,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        ca = issue(subject="Authority", authority=True)
        (tmp_path / "ours.pem").write_bytes(ca.pem)
        monkeypatch.setattr(settings, "WAMP_CA_FILE", str(tmp_path / "ours.pem"))
        port = listen(over_tls(issue("::2", by=ca).context(), rest), V6).port
        devices.begin(f"wss://[::1]:{port}/ws")
        assert "it is not for ::1, but for ::2" in records.wait("wamp.retry")[0]["reason"]

    def test_with_a_zone_that_there_is_not(self, devices: Devices, records: Any) -> None:
        devices.begin("ws://[fe80::1%25nowhere0]:1/ws")
        assert "fe80::1%nowhere0" in records.wait("wamp.retry", 2)[1]["reason"]

    @pytest.mark.skipif(
        subprocess.run(["unshare", "-rn", "true"], check=False).returncode != 0,
        reason="this system does not let us make a network namespace",
    )
    def test_with_a_zone_is_connected_to_and_the_header_is_without_it(self) -> None:
        ended = subprocess.run(
            ["unshare", "-rn", sys.executable, "-c", ZONE],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert ended.stdout.startswith("[fe80::77]:8080\n"), ended.stderr

    def test_of_ipv4_is_as_it_was(
        self, devices: Devices, listen: Any, records: Any, hears: Any, taken: list[str]
    ) -> None:
        port = listen(hears).port
        devices.begin(f"ws://127.0.0.1:{port}/ws")
        records.wait("wamp.retry")
        assert taken[0] == f"127.0.0.1:{port}"


class TestTheLookup:
    def test_that_fails_names_the_name_and_is_made_again(
        self, devices: Devices, node: Node, names: Names, records: Any
    ) -> None:
        joining = devices.begin(f"ws://router.test:{node.port}/ws")
        for retry in records.wait("wamp.retry", 2):
            assert "router.test" in retry["reason"]
        names["router.test"] = [V4]
        assert joining.wait(20).is_attached()

    def test_that_is_never_answered_has_a_limit(
        self,
        devices: Devices,
        node: Node,
        names: Names,
        records: Any,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(BaseClientFactory, "connectTimeout", 0.3)
        names.silent = True
        joining = devices.begin(f"ws://router.test:{node.port}/ws")
        for retry in records.wait("wamp.retry", 2):
            assert "lookup of router.test within 0.3 s" in retry["reason"]
        names["router.test"] = [V4]
        names.silent = False
        assert joining.wait(20).is_attached()

    def test_of_the_system_is_used_by_default(self, devices: Devices, node: Node) -> None:
        assert devices.join(f"ws://localhost:{node.port}/ws").is_attached()

    def test_of_a_name_that_does_not_exist(self, devices: Devices, records: Any) -> None:
        devices.begin("ws://nowhere.invalid/ws")
        assert "nowhere.invalid" in records.wait("wamp.retry")[0]["reason"]

    def test_of_a_name_in_other_letters(
        self,
        devices: Devices,
        node: Node,
        names: Names,
        listen: Any,
        records: Any,
        hears: Any,
        taken: list[str],
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        ca = issue(subject="Authority", authority=True)
        (tmp_path / "ours.pem").write_bytes(ca.pem)
        monkeypatch.setattr(settings, "WAMP_CA_FILE", str(tmp_path / "ours.pem"))
        encoded = "xn--strae-oqa.test"
        names[encoded] = [V4]
        context = issue(encoded, by=ca).context()
        played = listen(over_tls(context, hears))
        joining = devices.begin(f"wss://Straße.test:{played.port}/ws")
        records.wait("wamp.retry")
        assert taken[0] == f"{encoded}:{played.port}"
        played.play(over_tls(context, to(node.port)))
        assert joining.wait(20).is_attached()

    @pytest.mark.parametrize("name", ["a\N{SNOWMAN}..test", "a..test", "a" * 64 + ".test"])
    def test_of_what_is_no_name(self, devices: Devices, name: str) -> None:
        with pytest.raises(ParadropException, match="usable address"):
            devices.begin(f"wss://{name}/ws").wait(10)

    def test_of_a_name_with_a_final_dot(
        self,
        devices: Devices,
        node: Node,
        names: Names,
        listen: Any,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        ca = issue(subject="Authority", authority=True)
        (tmp_path / "ours.pem").write_bytes(ca.pem)
        monkeypatch.setattr(settings, "WAMP_CA_FILE", str(tmp_path / "ours.pem"))
        names["router_1.test."] = [V4]
        own = issue("router_1.test", by=ca)
        port = listen(over_tls(own.context(), to(node.port))).port
        assert devices.join(f"wss://router_1.test.:{port}/ws").is_attached()


class TestLeaving:
    def test_ends_a_race(
        self,
        devices: Devices,
        names: Names,
        listen: Any,
        black_hole: Any,
        reactor: Any,
    ) -> None:
        names["router.test"] = [V4, "127.0.0.2"]
        unused = listen(rest)
        unused.close()
        black_hole(V4, unused.port)
        black_hole("127.0.0.2", unused.port)
        devices.begin(f"ws://router.test:{unused.port}/ws")
        client = reactor(lambda: devices.begun[0].client)
        reactor(lambda: client.goodbye(), timeout=3)
        assert client.connector.state == "disconnected"

    def test_ends_a_lookup(self, devices: Devices, names: Names, reactor: Any) -> None:
        names.silent = True
        devices.begin("ws://router.test/ws")
        client = reactor(lambda: devices.begun[0].client)
        reactor(lambda: client.goodbye(), timeout=3)
        assert client.connector.state == "disconnected"
