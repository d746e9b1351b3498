"""A peer's fault costs one attempt, and is one line; afterwards a real router is joined."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import logged
import pytest
from peers import (
    WELCOME,
    Fault,
    Peer,
    answers,
    endless,
    frame,
    frames,
    messages,
    opens,
    page,
    says,
)
from sessions import Devices

from harness.node import Node
from paradrop.base.output import Level, out

pytestmark = pytest.mark.usefixtures("quick")

ABORT, GOODBYE = 3, 6
PLAYED = WELCOME[1]  # the id of a session that is none

HTTP: dict[str, tuple[Fault, list[str]]] = {
    "301": (
        page("301 Moved", "Location: https://h.example/?a=xyzzy"),
        ["301", "https://h.example/"],
    ),
    "302": (
        page("302 Found", "Location: http://portal.example/login?token=xyzzy"),
        ["302", "login"],
    ),
    "307": (page("307 Temporary Redirect", "Location: /other#xyzzy"), ["307", "/other"]),
    "200": (page("200 OK"), ["200"]),
    "401": (page("401 Unauthorized", 'WWW-Authenticate: Basic realm="x"'), ["401"]),
    "403": (page("403 Forbidden"), ["403"]),
    "404": (page("404 Not Found"), ["404"]),
    "502": (page("502 Bad Gateway"), ["502"]),
    "503": (page("503 Service Unavailable", "Retry-After: 120"), ["503", "120"]),
    "no phrase": (page("404"), ["404"]),
    "HTTP/1.0": (answers(b"HTTP/1.0 200 OK\r\n\r\n"), ["200"]),
    "no status": (answers(b"HTTP/1.1\r\n\r\n"), ["HTTP/1.1"]),
    "odd status": (answers(b"HTTP/1.1 abc def\r\n\r\n"), ["abc"]),
    "not UTF-8": (answers(b"HTTP/1.1 200 \xff\xfe\r\nX: \xff\r\n\r\n"), []),
    "no end": (endless(b"HTTP/1.1 200 OK\r\n", b"X-Filler: " + b"y" * 4000 + b"\r\n"), ["headers"]),
    "10 MB of header": (answers(b"HTTP/1.1 200 OK\r\nX: " + b"y" * 10_000_000), ["headers"]),
    "10 MB of header, ended": (
        answers(b"HTTP/1.1 200 OK\r\nX: " + b"y" * 10_000_000 + b"\r\n\r\n"),
        ["headers"],
    ),
    "cut off": (says(b"HTTP/1.1 101 Swit"), []),
    "closed": (says(b""), ["closed"]),
    "escape codes": (page("404 \x1b[31mred\x07"), ["404"]),
}

OTHERS: dict[str, tuple[Fault, list[str]]] = {
    "zeroes": (answers(bytes(1000)), ["no HTTP"]),
    "garbage": (answers(bytes(range(255, 0, -1))), ["no HTTP"]),
    "SSH": (says(b"SSH-2.0-OpenSSH_9.2\r\n"), ["no HTTP", "SSH"]),
    "a proxy's text": (answers(b"ERROR: access denied by policy\r\n\r\n"), ["access denied"]),
    "TLS": (answers(b"\x15\x03\x01\x00\x02\x02\x46"), ["TLS", "wss://"]),
}

WEBSOCKET: dict[str, tuple[Fault, list[str]]] = {
    "accept": (opens(Sec_WebSocket_Accept="AAAA"), ["Sec-WebSocket-Accept"]),
    "no accept": (opens(Sec_WebSocket_Accept=""), ["Sec-WebSocket-Accept"]),
    "no upgrade": (opens(Upgrade=""), ["Upgrade"]),
    "subprotocol": (opens("wamp.9.telegraph"), ["wamp.9.telegraph"]),
    "no subprotocol": (opens(None), ["subprotocol"]),
    "an extension": (opens(Sec_WebSocket_Extensions="x-sorcery"), ["x-sorcery"]),
    "zeroes": (frames(bytes(100)), []),
    "a masked frame": (frames(b"\x81\x81abcdx"), ["mask"]),
    "reserved bits": (frames(frame(b"x", first=0xF1)), ["RSV"]),
    "an unknown opcode": (frames(frame(b"x", opcode=7)), ["opcode"]),
    "a long ping": (frames(frame(bytes(200), opcode=9)), ["control frame"]),
    "text that is not UTF-8": (frames(frame(b"\xff\xfe")), ["UTF-8"]),
    "a bad close code": (frames(frame(b"\x00\x05", opcode=8)), ["close code"]),
    "a close": (frames(frame(b"\x03\xf3too busy", opcode=8)), ["1011", "too busy"]),
}

WAMP: dict[str, tuple[Fault, list[str]]] = {
    "no JSON": (messages("nonsense"), ["WAMP"]),
    "nothing": (messages(""), ["WAMP"]),
    "no list": (messages({}), ["WAMP"]),
    "an empty list": (messages([]), ["WAMP"]),
    "an unknown type": (messages([999, {}]), ["999"]),
    "a type that is none": (messages([None]), ["WAMP"]),
    "a binary message": (frames(frame(bytes(20), opcode=2)), ["WAMP"]),
    "half a WELCOME": (messages([2]), ["WAMP"]),
    "a WELCOME with odd details": (messages([2, "x", {}]), ["WAMP"]),
    "a WELCOME with odd roles": (messages([2, 7, {"roles": {"broker": 5}}]), ["WAMP"]),
    "GOODBYE before WELCOME": (
        messages([GOODBYE, {}, "wamp.close.x"]),
        ["GOODBYE", "close.x"],
    ),
    "WELCOME twice": (messages(WELCOME, WELCOME), ["Welcome"]),
    "ABORT after WELCOME": (
        messages(WELCOME, [ABORT, {"message": "enough"}, "a.b"]),
        ["a.b", "enough"],
    ),
    "an event before WELCOME": (messages([36, 1, 2, {}]), ["Event"]),
    "a result that was not asked for": (messages(WELCOME, [50, 99, {}]), ["WAMP"]),
    "ABORT with an odd reason": (messages([ABORT, {}, 5]), ["WAMP"]),
    "ABORT with no URI": (messages([ABORT, {}, "not a uri at all!"]), []),
    "ABORT with an odd text": (messages([ABORT, {"message": 7}, "a.b"]), ["WAMP"]),
    "ABORT of many lines": (
        messages([ABORT, {"message": "a\nb\x1b[31mc\r"}, "a.b"]),
        ["a.b"],
    ),
    "ABORT of a megabyte": (messages([ABORT, {"message": "y" * 60000}, "a.b"]), ["a.b"]),
    "CHALLENGE of a kind unknown": (messages([4, "sphinx", {}]), []),
}

FAULTS = {
    f"{kind}, {name}": fault
    for kind, faults in {
        "HTTP": HTTP,
        "others": OTHERS,
        "WebSocket": WEBSOCKET,
        "WAMP": WAMP,
    }.items()
    for name, fault in faults.items()
}


@pytest.fixture(autouse=True)
def logging(tmp_path: Path) -> Iterator[None]:
    """What Twisted and autobahn log are records, too."""
    ended = logged.logging_ended()
    next(ended)
    out.startLogging(tmp_path / "logs", printToConsole=False)
    yield
    next(ended, None)


@pytest.fixture
def peer() -> Iterator[Any]:
    peers: list[Peer] = []

    def make(fault: Fault) -> Peer:
        peers.append(Peer(fault))
        return peers[-1]

    yield make
    for one in peers:
        one.close()


@pytest.mark.parametrize("name", FAULTS)
def test_is_one_line_and_a_real_router_is_joined_afterwards(
    devices: Devices, node: Node, records: Any, peer: Any, name: str
) -> None:
    fault, words = FAULTS[name]
    played = peer(fault)
    joining = devices.begin(node.url(port=played.port, tls=False))
    retries = records.wait("wamp.retry", 2)
    played.lead_to(node.port)
    while (joined := records.wait("wamp.joined"))[-1]["session"] == PLAYED:
        records.wait("wamp.joined", len(joined) + 1)

    assert joining.wait(5)
    for retry in retries[:2]:
        for word in words:
            assert word in retry["reason"]
    told = [record for record in records if record["extra"].get("event") != "wamp.joined"]
    assert "xyzzy" not in str(told)
    for record in told:
        refused = record["extra"].get("event") == "wamp.refused"
        assert record["type"] < Level.ERR.value or refused, record
        assert "Traceback" not in json.dumps(record)
        assert record["message"].isprintable()
        assert len(record["message"]) < 1500
        assert record["type"] != Level.WARN.value or record["extra"]["event"] == "wamp.retry"
