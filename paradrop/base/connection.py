"""
The connection to a WAMP router: tried until it is joined, and again whenever it is lost.

`paradrop.base.cxbr` has the sessions that run over it.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from autobahn.twisted.websocket import WampWebSocketClientFactory
from autobahn.wamp.exception import ApplicationError, TransportLost
from autobahn.wamp.types import ComponentConfig
from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.internet.protocol import ReconnectingClientFactory
from twisted.python.failure import Failure

from paradrop.base import settings, tls, wire
from paradrop.base.address import connectable, shown
from paradrop.base.connector import Connector
from paradrop.base.deadlines import Deadlines
from paradrop.base.endings import cause, describe
from paradrop.base.exceptions import CertificateError, ParadropException, SettingsError
from paradrop.base.lasting import Lasting
from paradrop.base.link import links
from paradrop.base.outbox import Outbox
from paradrop.base.output import out
from paradrop.base.probe import Probe
from paradrop.base.refusals import Refusals
from paradrop.base.replay import Replay
from paradrop.base.states import Observer, State, States
from paradrop.base.waiting import Waiting
from paradrop.base.wakeups import Wakeups
from paradrop.base.websocket import ClientProtocol

USUAL_CALL_TIMEOUT = 30.0
"""The default of `settings.WAMP_CALL_TIMEOUT`, which `joinTimeout` has room for."""


class NotConnected(ParadropException, TransportLost):
    """There is no session with the WAMP router."""


class BaseClientFactory(WampWebSocketClientFactory, ReconnectingClientFactory):
    """
    One wanted connection to a WAMP router, tried until it is joined, and again when it is lost.

    The wait before a retry is anything from 0 to a limit that grows by `factor` from
    `initialDelay` to `maxDelay` seconds ("full jitter": M. Brooker, "Exponential Backoff And
    Jitter", AWS Architecture Blog, 2015). The limit starts anew after a session that lasted
    `LASTING` seconds (`paradrop.base.lasting`). A wait ends early when a link or route of this
    machine comes up, when a router that could not be reached accepts connections again, and, where
    TLS was the obstacle, when the clock is set or a file of its certificates changes
    (`paradrop.base.wakeups`). The settings and files of TLS are read for each attempt.

    How soon a loss is noticed: a connection that is closed or reset, and a session that the router
    ends, at once; a link on which nothing comes through, after `settings.WAMP_PING_INTERVAL` +
    `settings.WAMP_PING_TIMEOUT`; an address that does not answer, after `connectTimeout`; a
    router that accepts and is silent, after `openTimeout`; a join that is not completed, also by
    the `onJoin` of a session, after `joinTimeout` (all in seconds), or later by as much as
    `settings.WAMP_CALL_TIMEOUT` is longer than its default: an `onJoin` may wait for a call.

    What trying again does not cure (who we are is refused, there is no such realm, the router's
    certificate is not trusted, or it does not trust ours) is told apart when it has happened
    `REFUSED_AFTER` times in a row: it is logged once, the state is `auth_failed` until a join
    succeeds, and it is tried about every `maxDelay`.

    @ivar reconnect: whether to try again at all; else the first failure fails the Deferred.
    @ivar session: the session that is joined and ready, None while there is none.
    @ivar newest: the last session that there was, joined or not.
    @ivar handshakes: connections that were made, and on which a WebSocket handshake began.
    @ivar random: the source of the waits, the system's: clones of a machine must not wait alike.
    """

    protocol = ClientProtocol
    initialDelay: float = 1
    maxDelay: float = 60  # type: ignore[assignment]
    factor = 2
    connectTimeout = 20
    openTimeout = 15
    joinTimeout = 30
    leaveTimeout = 2
    LASTING = 10.0
    HURRY = 0.3
    """Seconds that an early retry waits at most: not all devices behind a link at once."""
    WATCH_AFTER = 2.0
    """Seconds of a loss after which the links are watched; most losses are over before."""
    REFUSED_AFTER = 2  # an authenticator that restarts refuses for a moment, too

    def __init__(self, factory: Callable[[], Any], *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("serializers", wire.serializers())
        WampWebSocketClientFactory.__init__(self, factory, *args, **kwargs)
        self.host = connectable(self.host)
        self.delay: float = self.initialDelay
        self.reconnect = True
        self.session: Any = None
        self.newest: Any = None
        self.handshakes = 0
        self.random: random.Random = random.SystemRandom()
        self.deadlines = Deadlines(self.reactor)
        self.replay = Replay()
        self.outbox = Outbox(int(settings.number("WAMP_OUTBOX_LIMIT")))
        self._states = States()
        self._sessions = factory
        self._before_join: tuple[float, int] = (self.delay, self.retries)
        self._lasting = Lasting()
        self._began_at = 0.0
        self._connection: Any = None
        self._reached = False
        self._in_a_hurry = False
        self._reason: BaseException | None = None
        self._refusals = Refusals()
        self._waiting = Waiting(self.reactor)
        self._closing: list[Deferred[None]] = []
        self._wakeups = Wakeups(self.reactor, links, self._link_came_up, self.try_now)
        self._join_timer: Any = None
        self._leave_timer: Any = None
        self._left = False
        self.setProtocolOptions(  # type: ignore[no-untyped-call]
            openHandshakeTimeout=self.openTimeout,
            closeHandshakeTimeout=self.leaveTimeout,
            autoPingInterval=settings.number("WAMP_PING_INTERVAL"),
            autoPingTimeout=settings.number("WAMP_PING_TIMEOUT"),
            tcpNoDelay=True,
        )

    @property
    def deferred(self) -> Deferred[Any] | None:
        """Fires with the session of the first join."""
        found: Deferred[Any] | None = getattr(self._sessions, "deferred", None)
        return found

    @property
    def state(self) -> State:
        """Where it is on the way to a session."""
        return self._states.now

    @property
    def shown(self) -> str:
        """The address of the router, without a secret that is in it."""
        return shown(self.url)

    @property
    def lastReason(self) -> str:
        """Why the last connection ended, as a text."""
        return "left" if self._left else describe(self._reason)

    @property
    def looks(self) -> int:
        """Connections that were only tried to see whether the router is back."""
        return self._wakeups.looks

    def observe(self, observer: Observer) -> Callable[[], None]:
        """
        Have every change of the state told: what it was, what it is, and why.

        @return: call it to hear no more.
        """
        return self._states.observe(observer)

    def when_ready(self, timeout: float | None = None) -> Deferred[Any]:
        """
        @param timeout: seconds; None for no limit.
        @return: fires with the session as soon as there is one; fails with `NotConnected` when
            there is none in time, or none will be any more.
        """
        if self.session is not None:
            return succeed(self.session)
        if self.state is State.STOPPED:
            return fail(NotConnected(f"the connection to {self.shown} was left"))
        late = NotConnected(f"no session with {self.shown} within {timeout or 0:g} s")
        return self._waiting.add(timeout, late)

    def try_now(self, reason: str) -> None:
        """End a wait for the next attempt, or an attempt that nobody answers; else, do nothing."""
        waiting: Any = self._callID
        connector: Any = self.connector
        if waiting is not None and waiting.active():
            delay = self.random.uniform(0, self.HURRY)
            if waiting.getTime() - self.reactor.seconds() > delay:
                out.verbose(f"attempt {self.retries + 1} is hastened: {reason}")
                waiting.reset(delay)
            return
        unanswered = connector is not None and connector.state == "connecting"
        if unanswered and self.reactor.seconds() - self._began_at > 1:
            # Its packets may have gone nowhere, and TCP repeats them ever more rarely.
            self._in_a_hurry = True
            self._reason = ParadropException(reason)
            connector.stopConnecting()

    # The connection's life, as the reactor and the protocol tell it.

    def connect(self) -> None:
        """Begin the first attempt."""
        options = self._tls_options if self.isSecure else None
        Connector(self, self.host, self.port, self.connectTimeout, self.reactor, options).connect()

    def _tls_options(self) -> Any:
        if not settings.WAMP_TLS_VERIFY:
            out.security(
                f"{self.shown}: whoever answers is believed to be the router "
                "(WAMP_TLS_VERIFY is off)"
            )
        return tls.client_options(self.host, self._certificate_refused)

    def _certificate_refused(self, error: CertificateError) -> None:
        self._reason = error

    def startedConnecting(self, connector: Any) -> None:
        self.connector = connector
        self._reason = None
        self._reached = False
        self._in_a_hurry = False
        self._began_at = self.reactor.seconds()
        self._wakeups.attempt_began()
        self._states.become(State.CONNECTING)

    def buildProtocol(self, addr: Any) -> Any:
        self._reached = True
        self.handshakes += 1
        self._connection = super().buildProtocol(addr)
        longer = settings.number("WAMP_CALL_TIMEOUT") - USUAL_CALL_TIMEOUT
        limit = self.joinTimeout + max(0, longer)
        self._join_timer = self.reactor.callLater(
            limit, self.failAttempt, f"not joined within {limit:g} s"
        )
        return self._connection

    def protocolLost(self, connection: Any, reason: Failure) -> None:
        """The connection ended, for this reason, which may be one of TLS."""
        if connection is not self._connection:
            return
        self._connection = None
        self._cancel("_join_timer")
        self._cancel("_leave_timer")
        if connection.silent:
            self._lasting.over(connection.heard)
        if self._reason is None:
            self._reason = cause(connection, reason)

    def clientConnectionFailed(self, connector: Any, reason: Failure) -> None:
        """Log why there is no connection, and try again later."""
        self._attempt_ended(connector, self._reason or reason.value)

    def clientConnectionLost(self, connector: Any, reason: Failure) -> None:
        """Log why the connection ended, and try again later."""
        self._attempt_ended(connector, self._reason or reason.value)

    def _attempt_ended(self, connector: Any, reason: BaseException | None) -> None:
        self.connector = connector
        self._reason = reason
        if not self.continueTrying:
            self._closed()
        elif not self.reconnect:
            out.warn(f"no session with {self.shown}: {describe(reason)}")
            self._stop()
            self._fail_deferred(reason or ParadropException("there is no connection"))
            self._closed()
        else:
            self.retry(connector)

    def retry(self, connector: Any = None) -> None:
        """Connect again after the wait that is due."""
        if not self.continueTrying:
            return
        connector = connector or self.connector
        reason = describe(self._reason)
        self._lasting.over(self.reactor.seconds())
        if self.state is State.READY and not self._lasting.judge(self.LASTING):
            self.delay, self.retries = self._before_join
        self._judge(reason)
        self._states.become(State.BACKOFF, reason)
        if self._in_a_hurry:
            limit = delay = self.random.uniform(0, self.HURRY)
        elif self.state is State.AUTH_FAILED:
            limit, delay = self.maxDelay, self.random.uniform(0.8, 1) * self.maxDelay
        else:
            limit = min(self.delay, self.maxDelay)
            delay = self.random.uniform(0, limit)
            self.delay = min(self.delay * self.factor, self.maxDelay)
        self.retries += 1
        out.warn(
            f"no session with {self.shown}: {reason}; attempt {self.retries + 1} in {delay:.1f} s",
            extra={
                "event": "wamp.retry",
                "delay": round(delay, 3),
                "limit": round(limit, 3),
                "attempt": self.retries,
                "reason": reason,
            },
        )
        self._callID = self.reactor.callLater(delay, connector.connect)
        self._watch(delay)

    def _watch(self, delay: float) -> None:
        """Find out, as far as that is possible, when the wait has no use any more."""
        self._wakeups.watch_links(self.WATCH_AFTER)
        if not self._reached and delay > Probe.LEAST and not self.proxy:
            self._wakeups.watch_port(self.host, self.port, self.random)
        if isinstance(self._reason, CertificateError | SettingsError):
            self._wakeups.watch_trust()

    def _link_came_up(self) -> None:  # in the thread that watches
        self.reactor.callFromThread(self._try_over_link)

    def _try_over_link(self) -> None:
        if self.state is not State.AUTH_FAILED:
            self.try_now("a link or a route came up")

    def _judge(self, reason: str) -> None:
        """Tell whether trying again has any use."""
        refused = self._refusals.attempt_ended(self._reason, self._reached)
        if not refused or self._refusals.count < self.REFUSED_AFTER:
            return
        if self._states.become(State.AUTH_FAILED, reason):
            who = str(getattr(self._sessions, "config", ComponentConfig()).extra)
            out.security(
                f"no session with {self.shown} as {who} until this is cured: {reason}; "
                f"tried about every {self.maxDelay:g} s",
                extra={"event": "wamp.refused", "reason": self._refusals.kind, "authid": who},
            )

    # What sessions report.

    def opened(self, session: Any) -> None:
        """The WebSocket is open; a session is about to join."""
        self.newest = session
        self._states.become(State.JOINING)

    def joined(self, session: Any) -> None:
        """A session has joined, and is ready to be used."""
        self._cancel("_join_timer")
        self._wakeups.joined()
        self._before_join = (self.delay, self.retries)
        self._lasting.joined(self.reactor.seconds())
        self._refusals.clear()
        self.delay, self.retries = self.initialDelay, 0
        self.outbox.send(session)  # before anybody publishes what is newer
        self.session = session
        self._states.become(State.READY)
        deferred = self.deferred
        if deferred is not None and not deferred.called:
            deferred.callback(session)
        self._waiting.fire(session)

    def lost(self, session: Any) -> None:
        """A session is over, whether it was ready or not."""
        if self.session is session:
            self.session = None
            self._lasting.over(self.reactor.seconds())

    def joinFailed(self, failure: Failure) -> None:
        """What the session has to do after its join failed: an attempt that came to nothing."""
        self._lasting.broken()
        self.failAttempt(f"onJoin: {describe(failure.value)}")

    def ended(self, uri: str, text: str) -> None:
        """The router ended the session, for this reason."""
        self._reason = ApplicationError(uri, text)

    def refused(self, uri: str, text: str, authid: str) -> None:
        """The router ended an attempt to join, maybe because it refuses the identity."""
        self._reason = ApplicationError(uri, text)
        self._refusals.aborted(uri)

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
        if self.state is not State.STOPPED:
            self._left = True
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
        self.continueTrying = 0
        self.session = None
        self._cancel("_callID")
        self._wakeups.stop()
        self._states.become(State.STOPPED, self.lastReason)
        self._waiting.fire(NotConnected(f"the connection to {self.shown} was left"))
        self.outbox.clear()

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
