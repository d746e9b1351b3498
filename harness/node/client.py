"""One WAMP session at a time, rejoined whenever it is lost; the half that lives in the reactor."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import crochet
from autobahn.twisted.wamp import ApplicationSession
from autobahn.twisted.websocket import (
    WampWebSocketClientFactory,
    WampWebSocketClientProtocol,
    connectWS,
)
from autobahn.wamp.auth import create_authenticator
from autobahn.wamp.exception import ApplicationError
from autobahn.wamp.serializer import CBORSerializer
from autobahn.wamp.types import Challenge, CloseDetails, SessionDetails
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.protocol import ReconnectingClientFactory

from harness.errors import InfrastructureError
from harness.node.uris import REALM
from paradrop.base.coroutines import result_of

RETRY = 0.2  # seconds between attempts to join
_KEPT = 10_000  # events of a topic

# What other clients do that a waiting caller may be waiting for.
_ON_JOIN = "wamp.session.on_join"
_META = (
    _ON_JOIN,
    "wamp.session.on_leave",
    "wamp.registration.on_register",
    "wamp.registration.on_unregister",
)


@dataclass(frozen=True)
class Event:
    """A publication that was received.

    @ivar at: when, in seconds of `time.monotonic`.
    """

    topic: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    at: float


class Client:
    """Keeps a session joined and tells waiting threads of every change.

    @param url: of the router, without TLS.
    @ivar unreadable: what was wrong with the last message that could not be read; else empty.
    """

    def __init__(
        self,
        url: str,
        authid: str,
        secret: str,
        watcher: Callable[[str, Any], None] | None = None,
    ) -> None:
        self.url = url
        self._authid = authid
        self._secret = secret
        self._changed = threading.Condition()
        self._changes = 0
        self._session: ApplicationSession | None = None
        self._joined_at = 0.0
        self._refused = ""
        self.unreadable = ""
        self._events: dict[str, deque[Event]] = {}
        self._joins: deque[tuple[float, dict[str, Any]]] = deque(maxlen=_KEPT)
        self._watcher = watcher
        # as Any: autobahn's and Twisted's factories are not typed
        self._factory: Any = _Factory(self)
        self._connector: Any = None

    def start(self) -> None:
        """Begin to join."""

        def connect() -> None:
            self._connector = connectWS(self._factory)

        self.run(connect, 10)

    def close(self) -> None:
        """Leave, and stop rejoining; gone when it returns."""

        def disconnect() -> None:
            self._factory.stopTrying()
            if self._connector is not None:
                self._connector.disconnect()

        self.run(disconnect, 10)
        with self._changed:
            self._changed.wait_for(lambda: self._session is None, 5)

    @property
    def changes(self) -> int:
        """Grows with every join, leave, registration and event that the client hears of."""
        with self._changed:
            return self._changes

    def wait_change(self, seen: int, deadline: float) -> bool:
        """Wait until `changes` is no more `seen`.

        @return: False when the deadline (of `time.monotonic`) came first.
        """
        with self._changed:
            return self._changed.wait_for(
                lambda: self._changes != seen, max(0.0, deadline - time.monotonic())
            )

    def session(self, deadline: float, since: float = 0.0) -> ApplicationSession:
        """The joined session, waited for until the deadline.

        @param since: only one that joined later than this (of `time.monotonic`) will do.
        @raise InfrastructureError: there is none.
        """
        with self._changed:
            self._changed.wait_for(
                lambda: self._session is not None and self._joined_at > since,
                max(0.0, deadline - time.monotonic()),
            )
            if self._session is None or self._joined_at <= since:
                raise InfrastructureError(
                    f"{self._authid} has not joined the router at {self.url}", hint=self._refused
                )
            return self._session

    def run(self, function: Callable[[], Any], timeout: float) -> Any:
        """Call `function` in the reactor and wait for what it, or its Deferred, gives.

        @raise crochet.TimeoutError: after `timeout` seconds; the Deferred is cancelled.
        """

        def start() -> Deferred[Any]:
            return result_of(function)

        result = crochet.run_in_reactor(start)()
        try:
            return result.wait(max(0.0, timeout))
        except BaseException:  # a signal, too, may have ended the wait
            result.cancel()
            raise

    def subscribe(self, topic: str, deadline: float) -> None:
        """Keep the events of `topic` from now on, over every rejoin.

        @raise crochet.TimeoutError, autobahn.wamp.exception.Error: it is not subscribed.
        """
        session = self.session(deadline)
        with self._changed:
            if topic in self._events:
                return
            self._events[topic] = deque(maxlen=_KEPT)
        try:
            self.run(lambda: self._listen(session, topic), max(1.0, deadline - time.monotonic()))
        except BaseException:
            with self._changed:
                self._events.pop(topic, None)
            raise

    def events(self, topic: str) -> list[Event]:
        """What came on a topic that was subscribed, oldest first."""
        with self._changed:
            return list(self._events[topic])

    def joins(self, authid: str) -> list[tuple[float, int]]:
        """The sessions of an authid, in the order in which they joined, with the time of that (of
        `time.monotonic`). Those that joined while this client had no session are not among them.
        """
        with self._changed:
            joins = list(self._joins)
        return [(at, details["session"]) for at, details in joins if details["authid"] == authid]

    def _listen(self, session: ApplicationSession, topic: str) -> Any:
        def received(*args: Any, **kwargs: Any) -> None:
            event = Event(topic, args, kwargs, time.monotonic())
            with self._changed:
                self._events[topic].append(event)
            self._notify()

        return session.subscribe(received, topic)

    def _notify(self) -> None:
        with self._changed:
            self._changes += 1
            self._changed.notify_all()

    async def _joined(self, session: ApplicationSession) -> None:
        def heard(topic: str) -> Callable[..., None]:
            def handler(*args: Any, **_: Any) -> None:
                if topic == _ON_JOIN and args:
                    with self._changed:
                        self._joins.append((time.monotonic(), args[0]))
                if self._watcher is not None:
                    self._watcher(topic, args[0] if args else None)
                self._notify()

            return handler

        for topic in _META:
            await session.subscribe(heard(topic), topic)
        if self._watcher is not None:
            await self._tell_present(session, self._watcher)
        with self._changed:
            topics = list(self._events)
        for topic in topics:
            await self._listen(session, topic)
        with self._changed:
            self._session = session
            self._joined_at = time.monotonic()
        self._notify()

    @staticmethod
    async def _tell_present(
        session: ApplicationSession, watcher: Callable[[str, Any], None]
    ) -> None:
        """Tell the watcher of those who joined before we could hear it."""
        for number in await session.call("wamp.session.list"):
            try:
                details = await session.call("wamp.session.get", number)
            except ApplicationError:  # gone again
                continue
            watcher(_ON_JOIN, details)

    def _left(self, session: ApplicationSession, reason: str) -> None:
        with self._changed:
            if self._session is session:
                self._session = None
            self._refused = reason
        self._notify()


class _Session(ApplicationSession):
    def __init__(self, client: Client) -> None:
        super().__init__()
        self._client = client

    def onConnect(self) -> None:
        self.join(REALM, ["wampcra"], self._client._authid)

    def onChallenge(self, challenge: Challenge) -> str:
        authenticator = create_authenticator(
            "wampcra", authid=self._client._authid, secret=self._client._secret
        )
        signature: str = authenticator.on_challenge(self, challenge)
        return signature

    def onJoin(self, details: SessionDetails) -> None:
        joining = ensureDeferred(self._client._joined(self))
        joining.addErrback(lambda failure: self.disconnect())

    def onLeave(self, details: CloseDetails) -> None:
        self._client._left(self, f"{details.reason} {details.message or ''}".strip())
        super().onLeave(details)

    def onDisconnect(self) -> None:
        self._client._left(self, "the connection was lost")
        super().onDisconnect()


class _Protocol(WampWebSocketClientProtocol):
    """Tells what can't be read: the connection is given up for that, and it is a peer's fault."""

    def _bailout(self, code: int, reason: str | None = None) -> None:
        self.factory.client.unreadable = reason or f"status {code}"
        super()._bailout(code, reason)


class _Factory(WampWebSocketClientFactory, ReconnectingClientFactory):
    """Tries again at a steady pace: the router is on this machine and a test is waiting."""

    initialDelay = delay = maxDelay = RETRY  # type: ignore[assignment]
    factor = 1.0
    jitter = 0.0
    noisy = False
    protocol = _Protocol

    def __init__(self, client: Client) -> None:
        self.client = client
        super().__init__(  # type: ignore[no-untyped-call]
            lambda: _Session(client), url=client.url, serializers=[CBORSerializer()]
        )
        self.setProtocolOptions(  # type: ignore[no-untyped-call]
            openHandshakeTimeout=5, autoPingInterval=5, autoPingTimeout=5
        )
