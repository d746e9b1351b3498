"""
The connection to a WAMP router: tried until it is joined, and again whenever it is lost.

`paradrop.base.cxbr` has the sessions that run over it.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from autobahn.twisted.websocket import WampWebSocketClientFactory, WampWebSocketClientProtocol
from autobahn.wamp.exception import ApplicationError
from autobahn.wamp.serializer import JsonSerializer, MsgPackSerializer
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.error import ConnectionAborted, ConnectionDone
from twisted.internet.protocol import ReconnectingClientFactory, connectionDone
from twisted.python.failure import Failure

from paradrop.base import settings, tls
from paradrop.base.exceptions import ParadropException
from paradrop.base.output import out

REFUSALS = frozenset(
    {
        "not_authorized",
        "authentication_failed",
        "authentication_denied",
        "authentication_required",
        "no_auth_method",
        "no_matching_auth_method",
        "no_such_principal",
        "no_such_role",
    }
)
"""Last words of the URIs with which a router aborts a join because of who we (do not) prove to be
(WAMP specification, "Abort and Goodbye reasons"; authenticators name their own)."""


class _ClientProtocol(WampWebSocketClientProtocol):
    """Tells its factory why the connection ended: the connector only sees a TCP connection that
    closed, also where the certificate was refused."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.factory.protocolLost(self, reason)
        super().connectionLost(reason)


class BaseClientFactory(WampWebSocketClientFactory, ReconnectingClientFactory):
    """
    One wanted connection to a WAMP router, tried until it is joined, and again when it is lost.

    The delays grow by `factor` from `initialDelay` to `maxDelay` (seconds) and are spread by
    `jitter` (a part of the delay); they start anew after a join. An attempt that has not joined
    `joinTimeout` seconds after it connected is dropped. When the router refuses the identity
    `REFUSED_AFTER` times in a row, that is reported once and only tried every `maxDelay`.

    @ivar state: `connecting`, `joining`, `ready`, `backoff`, `auth_failed` or `stopped`.
    @ivar reconnect: whether to try again at all; else the first failure fails the Deferred.
    """

    protocol = _ClientProtocol
    initialDelay: float = 1
    maxDelay: float = 60  # type: ignore[assignment]
    factor = 2
    jitter = 0.2
    joinTimeout = 30
    leaveTimeout = 2
    REFUSED_AFTER = 2  # an authenticator that restarts refuses for a moment, too

    def __init__(self, factory: Callable[[], Any], *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("serializers", [MsgPackSerializer(), JsonSerializer()])
        WampWebSocketClientFactory.__init__(self, factory, *args, **kwargs)
        self.delay: float = self.initialDelay
        self.reconnect = True
        self.state = "connecting"
        self._sessions = factory
        self._before_join: tuple[float, int] = (self.delay, self.retries)
        self._connection: Any = None
        self._reason: BaseException | None = None
        self._refusals = 0
        self._closing: list[Deferred[None]] = []
        self._join_timer: Any = None
        self._leave_timer: Any = None
        self.setProtocolOptions(  # type: ignore[no-untyped-call]
            openHandshakeTimeout=15,
            closeHandshakeTimeout=self.leaveTimeout,
            autoPingInterval=settings.WAMP_PING_INTERVAL,
            autoPingTimeout=settings.WAMP_PING_TIMEOUT,
            tcpNoDelay=True,
        )

    @property
    def deferred(self) -> Deferred[Any] | None:
        """Fires with the session of the first join."""
        found: Deferred[Any] | None = getattr(self._sessions, "deferred", None)
        return found

    @property
    def lastReason(self) -> str:
        """Why the last connection ended, as a text."""
        return "left" if self.state == "stopped" else _text(self._reason)

    # The connection's life, as the reactor and the protocol tell it.

    def startedConnecting(self, connector: Any) -> None:
        self.connector = connector
        self._reason = None
        if self.state != "auth_failed":
            self.state = "connecting"

    def buildProtocol(self, addr: Any) -> Any:
        self._connection = super().buildProtocol(addr)
        self._join_timer = self.reactor.callLater(
            self.joinTimeout, self.failAttempt, f"not joined within {self.joinTimeout:g} s"
        )
        return self._connection

    def protocolLost(self, connection: Any, reason: Failure) -> None:
        """The connection ended, for this reason, which may be one of TLS."""
        if connection is not self._connection:
            return
        self._connection = None
        self._stop_timers()
        if self._reason is None:
            self._reason = _cause(connection, reason)

    def clientConnectionFailed(self, connector: Any, reason: Failure) -> None:
        """Log why there is no connection, and try again later."""
        self._attempt_ended(connector, reason.value)

    def clientConnectionLost(self, connector: Any, reason: Failure) -> None:
        """Log why the connection ended, and try again later."""
        self._attempt_ended(connector, self._reason or reason.value)

    def _attempt_ended(self, connector: Any, reason: BaseException | None) -> None:
        self.connector = connector
        self._reason = reason
        if not self.continueTrying:
            self._closed()
        elif not self.reconnect:
            out.warn(f"no session with {self.url}: {_text(reason)}")
            self._stop()
            self._fail_deferred(reason or ParadropException("there is no connection"))
            self._closed()
        else:
            self.retry(connector)

    def retry(self, connector: Any = None) -> None:
        """Connect again after the delay that is due."""
        if not self.continueTrying:
            return
        connector = connector or self.connector
        self.retries += 1
        delay = self.maxDelay if self.state == "auth_failed" else self.delay
        delay = min(self.maxDelay, delay * random.uniform(1 - self.jitter, 1 + self.jitter))  # noqa: S311
        self.delay = min(self.delay * self.factor, self.maxDelay)
        if self.state != "auth_failed":
            self.state = "backoff"
        reason = _text(self._reason)
        out.warn(
            f"no session with {self.url}: {reason}; attempt {self.retries + 1} in {delay:.1f} s",
            extra={
                "event": "wamp.retry",
                "delay": round(delay, 3),
                "attempt": self.retries,
                "reason": reason,
            },
        )

        def reconnect() -> None:
            self._callID = None
            connector.connect()

        self._callID = self.reactor.callLater(delay, reconnect)

    # What sessions report.

    def opened(self) -> None:
        """The WebSocket is open; a session is about to join."""
        if self.state != "auth_failed":
            self.state = "joining"

    def joined(self, session: Any) -> None:
        """A session has joined, and is ready to be used."""
        self._cancel("_join_timer")
        self._before_join = (self.delay, self.retries)
        self.delay, self.retries, self._refusals = self.initialDelay, 0, 0
        self.state = "ready"
        deferred = self.deferred
        if deferred is not None and not deferred.called:
            deferred.callback(session)

    def joinFailed(self, failure: Failure) -> None:
        """What the session has to do after its join failed: an attempt that came to nothing."""
        if self.state == "ready":
            self.delay, self.retries = self._before_join
        self.failAttempt(f"onJoin: {_text(failure.value)}")

    def ended(self, uri: str, text: str) -> None:
        """The router ended the session, for this reason."""
        self._reason = ApplicationError(uri, text)

    def refused(self, uri: str, text: str, authid: str) -> None:
        """The router ended an attempt to join, maybe because it refuses the identity."""
        self._reason = ApplicationError(uri, text)
        if uri.rpartition(".")[2] not in REFUSALS:
            self._refusals = 0
            return
        self._refusals += 1
        if self._refusals >= self.REFUSED_AFTER and self.state != "auth_failed":
            self.state = "auth_failed"
            out.security(
                f"{self.url} refuses {authid}: {uri} {text}; "
                f"tried again every {self.maxDelay:g} s until it is cured",
                extra={"event": "wamp.refused", "reason": uri, "authid": authid},
            )

    def failAttempt(self, reason: str) -> None:
        """Drop the connection; it counts as an attempt that failed."""
        self._reason = ParadropException(reason)
        self._cancel("_join_timer")
        self._abort()

    # The end.

    def goodbye(self, reason: str | None = None, message: str | None = None) -> Deferred[None]:
        """
        Stop for good: no more attempts, and the connection that there is is closed.

        @param reason: URI for the router, if a session is joined.
        @return: fires when nothing is connected any more; never fails.
        """
        if self.state != "stopped":
            self._stop()
            self._fail_deferred(CancelledError())
            if self._connection is None:
                if self.connector is not None and self.connector.state == "connecting":
                    self.connector.stopConnecting()
                return succeed(None)
            self._leave_timer = self.reactor.callLater(self.leaveTimeout, self._abort)
            try:
                self._connection._session.sayGoodbye(reason, message)
            except Exception:  # no session yet, or its transport is gone: the connection ends
                self._abort()
        if self._connection is None:
            return succeed(None)
        closed: Deferred[None] = Deferred()
        self._closing.append(closed)
        return closed

    def _stop(self) -> None:
        self.state = "stopped"
        self.continueTrying = 0
        self._cancel("_callID")

    def _abort(self) -> None:
        if self._connection is not None and self._connection.transport is not None:
            self._connection.transport.abortConnection()

    def _closed(self) -> None:
        waiting, self._closing = self._closing, []
        for closed in waiting:
            if not closed.called:
                closed.callback(None)

    def _fail_deferred(self, reason: BaseException) -> None:
        deferred = self.deferred
        if deferred is not None and not deferred.called:
            deferred.errback(Failure(reason))

    def _cancel(self, timer: str) -> None:
        call = getattr(self, timer)
        if call is not None and call.active():
            call.cancel()
        setattr(self, timer, None)

    def _stop_timers(self) -> None:
        self._cancel("_join_timer")
        self._cancel("_leave_timer")


def _text(reason: BaseException | None) -> str:
    if isinstance(reason, ApplicationError):
        return " ".join([reason.error, *map(str, reason.args)])
    return f"{reason}".strip() or type(reason).__name__


def _cause(connection: Any, reason: Failure) -> BaseException:
    """The most telling of what is known about the end of a connection."""
    told = tls.fault(reason)
    if told is None and connection.wasNotCleanReason:  # such as a ping without an answer
        told = connection.wasNotCleanReason
    elif (
        told is None and reason.check(ConnectionDone, ConnectionAborted) and not connection.wasClean
    ):
        told = "the connection was closed without a goodbye"
    if told is not None or reason.value is None:
        return ParadropException(told or "the connection was lost")
    return reason.value
