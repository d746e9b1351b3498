"""Round trips of a call: `BaseSession.call` against a bare session of autobahn.

Both join the same real router over TLS with the same serializer, as the same device, and call the
same procedure of a third session, in turns.
"""

from __future__ import annotations

import time
from collections.abc import Generator
from statistics import median
from typing import Any

from autobahn.twisted.wamp import ApplicationSessionFactory
from autobahn.twisted.websocket import WampWebSocketClientFactory, connectWS
from autobahn.wamp.serializer import CBORSerializer, JsonSerializer, MsgPackSerializer
from autobahn.wamp.types import ComponentConfig
from twisted.internet.defer import Deferred, gatherResults, inlineCallbacks

from benchmarks.table import Row
from benchmarks.wamp import PDID, Bare, Ours, in_reactor, router
from paradrop.base import tls

ROUNDS = 75
CALLS = 64
"""Short turns, and many of them: what else the machine does then hits both sides alike."""

IN_FLIGHT = 32
PAYLOAD = {"uptime": 12345.678, "sessions": 3, "name": "a router", "load": [0.1, 0.2, 0.3]}


class Asking(Ours):
    def ask(self) -> Deferred[Any]:
        return self.call("org.paradrop.echo", PAYLOAD)


class Theirs(Bare):
    def onJoin(self, details: Any) -> None:
        self.config.extra["joined"].callback(self)

    def ask(self) -> Deferred[Any]:
        return self.call(f"org.paradrop.echo.{PDID}", PDID, PAYLOAD)  # type: ignore[no-any-return]


def _bare(url: str, token: str, serializer: Any = MsgPackSerializer) -> Deferred[Any]:
    joined: Deferred[Any] = Deferred()
    config = ComponentConfig(realm="paradrop", extra={"token": token, "joined": joined})
    sessions: Any = ApplicationSessionFactory(config)
    sessions.session = Theirs
    client = WampWebSocketClientFactory(sessions, url=url, serializers=[serializer()])
    client.setProtocolOptions(tcpNoDelay=True)
    connectWS(client, tls.client_options(client.host))
    return joined


@inlineCallbacks
def _one_at_a_time(session: Any) -> Generator[Any, Any, float]:
    started = time.perf_counter()
    for _ in range(CALLS):
        yield session.ask()
    return CALLS / (time.perf_counter() - started)


@inlineCallbacks
def _in_flight(session: Any) -> Generator[Any, Any, float]:
    started = time.perf_counter()
    for _ in range(CALLS // IN_FLIGHT * 3):
        yield gatherResults([session.ask() for _ in range(IN_FLIGHT)])
    return CALLS // IN_FLIGHT * 3 * IN_FLIGHT / (time.perf_counter() - started)


def _compare(measure: Any, ours: Any, theirs: Any) -> tuple[float, float, float]:
    """@return: calls a second of both, and the median of the ratios of neighbours."""
    pairs = []
    for number in range(ROUNDS):
        order = (ours, theirs) if number % 2 else (theirs, ours)
        found = {session: in_reactor(measure, session) for session in order}
        pairs.append((found[ours], found[theirs]))
    mine, others = zip(*pairs, strict=True)
    return median(mine), median(others), median(a / b for a, b in pairs)


def run() -> list[Row]:
    """@return: the figures; a second each way of calling."""
    with router() as (node, token):
        callee = in_reactor(lambda: Asking.start(node.url(), PDID, extra=token))
        in_reactor(callee.register, lambda pdid, value: value, "org.paradrop.echo")
        ours = in_reactor(lambda: Asking.start(node.url(), PDID, extra=token))
        theirs = in_reactor(_bare, node.url(), token)
        rows = []
        for what, measure, least in (
            ("calls, one at a time", _one_at_a_time, 0.97),
            (f"calls, {IN_FLIGHT} in flight", _in_flight, None),
        ):
            mine, others, ratio = _compare(measure, ours, theirs)
            rows.append(Row(what, mine, others, "/s", ratio, least, "bare autobahn session"))
        msgpack = theirs
        for serializer in (CBORSerializer, JsonSerializer):
            other = in_reactor(_bare, node.url(), token, serializer)
            mine, others, ratio = _compare(_one_at_a_time, msgpack, other)
            name = serializer.__name__.removesuffix("Serializer")
            rows.append(Row("calls with MsgPack", mine, others, "/s", ratio, None, f"with {name}"))
            in_reactor(lambda session=other: session.leave())
        for session in (callee, ours, theirs):
            in_reactor(session.leave)
    return rows
