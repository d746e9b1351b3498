"""What a router can do to those who want to join: a real one, else one that misbehaves."""

from __future__ import annotations

import contextlib
import json
import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest
from autobahn.twisted.websocket import WebSocketServerFactory, WebSocketServerProtocol
from peers import WELCOME, Peer, frame, handshake, messages, rest
from sessions import Device, Devices

from harness.device.relay import Relay
from harness.node import Node
from paradrop.base import settings
from paradrop.base.cxbr import BaseClientFactory, State

pytestmark = pytest.mark.usefixtures("quick")

HELLO = 1
GOODBYE = [6, {"message": "over"}, "wamp.close.close_realm"]


class Misbehaving(WebSocketServerProtocol):
    """A WAMP router as far as it has to be one."""

    answers: list[Any]

    def onConnect(self, request: Any) -> str:
        return "wamp.2.json"

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        if json.loads(payload)[0] == HELLO:
            for answer in self.answers:
                self.sendMessage(json.dumps(answer).encode())


@pytest.fixture
def serve(reactor: Any) -> Iterator[Any]:
    from twisted.internet import reactor as twisted

    listening: list[Any] = []

    def start(*answers: Any) -> str:
        factory = WebSocketServerFactory("ws://127.0.0.1", protocols=["wamp.2.json"])
        factory.protocol = type("Serving", (Misbehaving,), {"answers": list(answers)})
        listening.append(twisted.listenTCP(0, factory, interface="127.0.0.1"))
        return f"ws://127.0.0.1:{listening[-1].getHost().port}/ws"

    yield lambda *answers: reactor(start, *answers)
    for port in listening:
        reactor(port.stopListening)


class Open(Device):
    """Wants to join as nobody in particular."""

    def onConnect(self) -> None:
        self.extra["made"].append(self)
        self.join(self.config.realm)


def begin(devices: Devices, url: str, **more: Any) -> Any:
    extra = {"made": devices.sessions, "token": ""}

    def start() -> Any:
        started = Open.start(url, "d", extra=extra, **more)
        devices.begun.append(started)
        return started

    return devices.reactor.begin(start)


def test_a_join_that_is_never_answered(
    devices: Devices, serve: Any, records: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(BaseClientFactory, "joinTimeout", 0.5)
    begin(devices, serve())
    retries = records.wait("wamp.retry", 2)
    assert "not joined within 0.5 s" in retries[1]["reason"]


def test_a_realm_that_is_closed(devices: Devices, serve: Any, records: Any, core: Any) -> None:
    begin(devices, serve(WELCOME, GOODBYE))
    retries = records.wait("wamp.retry", 3)
    assert all("wamp.close.close_realm" in retry["reason"] for retry in retries)
    assert [retry["limit"] for retry in retries[:3]] == [0.1, 0.2, 0.4]  # none of them lasted


def test_a_realm_that_there_is_not(
    devices: Devices, node: Node, records: Any, reactor: Any
) -> None:
    def start() -> Any:
        extra = {"made": devices.sessions, "token": node.enroll("nowhere")}
        started = Device.start(node.url(), "nowhere", realm="nowhere", extra=extra)
        devices.begun.append(started)
        return started

    reactor.begin(start)
    (refused,) = records.wait("wamp.refused")
    assert refused["reason"].rpartition(".")[2] in ("no_such_realm", "not_authorized")
    records.wait("wamp.retry", 4)
    assert len(records.events("wamp.refused")) == 1
    assert devices.begun[-1].client.state is State.AUTH_FAILED


def test_a_websocket_handshake_that_is_never_answered(
    devices: Devices, records: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(BaseClientFactory, "openTimeout", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        begin(devices, f"ws://127.0.0.1:{silent.getsockname()[1]}/ws")
        assert "handshake" in records.wait("wamp.retry", 2)[1]["reason"].lower()


def ends_after(seconds: float) -> Any:
    """Lets a session join, and ends it a while later."""

    def fault(connection: socket.socket) -> None:
        handshake(connection)
        connection.recv(65536)
        connection.sendall(frame(json.dumps(WELCOME).encode()))
        time.sleep(seconds)
        connection.sendall(frame(json.dumps(GOODBYE).encode()))
        rest(connection)

    return fault


@pytest.mark.parametrize("fault", [messages(WELCOME), ends_after(0.5)], ids=["silent", "ends"])
def test_a_router_that_ends_every_session_is_joined_ever_more_rarely(
    devices: Devices, records: Any, monkeypatch: pytest.MonkeyPatch, fault: Any
) -> None:
    """Also where that takes longer than a session has to last."""
    monkeypatch.setattr(BaseClientFactory, "LASTING", 0.3)
    monkeypatch.setattr(settings, "WAMP_PING_INTERVAL", 2)
    monkeypatch.setattr(settings, "WAMP_PING_TIMEOUT", 2)
    with contextlib.closing(Peer(fault)) as peer:
        begin(devices, f"ws://127.0.0.1:{peer.port}/ws")
        retries = records.wait("wamp.retry", 4)
    assert len(records.events("wamp.joined")) >= 4
    assert [retry["limit"] for retry in retries[:4]] == [0.1, 0.2, 0.4, 0.8]


def test_a_link_that_dies_after_a_good_while_starts_the_waits_anew(
    devices: Devices, node: Node, relay: Relay, records: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(BaseClientFactory, "LASTING", 0.3)
    monkeypatch.setattr(settings, "WAMP_PING_INTERVAL", 1)
    monkeypatch.setattr(settings, "WAMP_PING_TIMEOUT", 2)
    relay.target = 1
    joining = devices.begin(node.url(port=relay.port))
    records.wait("wamp.retry", 5)
    relay.target = node.tls_port
    session = joining.wait(20)
    connection = session._transport
    joined = connection.heard
    deadline = time.monotonic() + 20
    while connection.heard < joined + 1:  # it answers pings
        assert time.monotonic() < deadline
        time.sleep(0.05)
    failed = len(records.events("wamp.retry"))
    relay.switch(False)
    assert records.wait("wamp.retry", failed + 1)[failed]["limit"] == 0.1
