"""
Sessions with the WAMP router: joined for as long as they are wanted, whatever happens to the link.

    class MySession(BaseSession):
        def onConnect(self):
            self.join(self.config.realm, ["wampcra"], self.pdid)

    session = yield MySession.start("wss://router.example/ws", "pdid")

Every attempt to join is a new session over the same connection (`BaseClientFactory`). What has to
hold even if a subclass overrides all of autobahn's callbacks and calls none of them hangs on
`onOpen`, `onMessage` and `onClose`.
"""

from __future__ import annotations

from typing import Any

from autobahn.twisted.wamp import ApplicationSessionFactory
from autobahn.wamp import message as wamp
from autobahn.wamp.exception import ApplicationError, ProtocolError, TransportLost
from autobahn.wamp.types import ComponentConfig
from twisted.internet.defer import Deferred, succeed
from twisted.python.failure import Failure

from paradrop.base import nexus, settings
from paradrop.base.address import AddressError, check, secrets
from paradrop.base.connection import BaseClientFactory, NotConnected
from paradrop.base.coroutines import result_of
from paradrop.base.endings import describe, describe_uri
from paradrop.base.exceptions import ParadropException, PdServerException
from paradrop.base.output import out
from paradrop.base.requests import CallOptions, Requests, joining
from paradrop.base.states import State

__all__ = [
    "BaseClientFactory",
    "BaseSession",
    "BaseSessionFactory",
    "CallOptions",
    "NotConnected",
    "Starting",
    "State",
]


_EXPECTED = (ApplicationError, ParadropException, PdServerException, TransportLost)


class _Unanswered(ParadropException):
    """A challenge that could not be answered, which has been reported."""


class Starting(Deferred[Any]):
    """What `BaseSession.start` gives.

    @ivar client: the connection, there from the start; None where there is nothing to connect to.
    """

    client: BaseClientFactory | None = None


class BaseSession(Requests):
    """
    A session of the router `pdid`, which is the `extra` of its configuration.

    @ivar extra: what `start` was given for its sessions.
    @ivar deferred: fires with the first session of the connection that joins.
    """

    extra: Any = None
    deferred: Deferred[Any] | None = None

    def __init__(self, config: ComponentConfig | None = None) -> None:
        super().__init__(config)
        self.pdid = config.extra if config is not None else None
        self._ready = False
        self._ended = False

    @classmethod
    def start(
        cls,
        address: str,
        pdid: str,
        realm: str = "paradrop",
        start_reactor: bool = False,
        debug: bool = False,
        extra: Any = None,
        reconnect: bool = True,
    ) -> Starting:
        """
        Join a realm, and again whenever the session is lost, until it is left.

        @param address: URL of the router, `wss://host[:port]/path`, or `ws://` without TLS.
        @param start_reactor: run the reactor; this returns when it has stopped.
        @param debug: accepted for its callers; levels are a matter of `paradrop.base.output`.
        @param extra: becomes the attribute `extra` of each session.
        @param reconnect: False makes the first failure the last.
        @return: fires once, with the session of the first join; fails when `address` cannot be
            used, without `reconnect` when there is no join, and with CancelledError when it is
            cancelled, which gives up. `leave` ends it all.
        """

        def give_up(_: Deferred[Any]) -> None:
            client.goodbye()

        starting = Starting(give_up)
        sessions = BaseSessionFactory(ComponentConfig(realm=realm, extra=pdid), starting)
        sessions.session = cls
        sessions.extra = extra
        try:
            client = BaseClientFactory(sessions, url=check(address))
        except AddressError:
            starting.errback()
            return starting
        for secret in secrets(address):
            out.conceal(secret)
        starting.client = client
        client.reconnect = reconnect
        client.maxDelay = settings.number("WAMP_MAX_DELAY")
        client.delay = client.initialDelay = min(
            settings.number("WAMP_INITIAL_DELAY"), client.maxDelay
        )
        client.connect()
        if start_reactor:
            client.reactor.run()
        return starting

    # The life of a session.

    def onOpen(self, transport: Any) -> None:
        """The transport is open; what the subclass does with it is watched from here on."""
        factory = getattr(transport, "factory", None)
        if isinstance(factory, BaseClientFactory):
            self.client = factory
            factory.opened(self)
        self._join, self._challenge = self.onJoin, self.onChallenge
        vars(self).update(onJoin=self._watched_join, onChallenge=self._watched_challenge)
        super().onOpen(transport)

    def onJoin(self, details: Any) -> Deferred[None]:
        """
        Make this the session of the nexus. A subclass calls this when it has registered and
        subscribed what it needs; if its `onJoin` fails, the attempt to join has failed.

        @raise TransportLost: the session ended meanwhile.
        """
        if self._has_gone():
            raise TransportLost("the session ended before it was ready")
        if nexus.core is not None:
            nexus.core.session = self
            nexus.core.wamp_connected = True
        self._joined()
        return succeed(None)

    def _joined(self) -> None:
        if self._ready or self._has_gone():
            return
        self._ready = True
        out.info(
            f"joined {self._realm} as {self.pdid}",
            extra={"event": "wamp.joined", "session": self._session_id},
        )
        if self.client is not None:
            outside = joining.set(None)  # whoever has waited for this is no part of `onJoin`
            try:
                self.client.joined(self)
            finally:
                joining.reset(outside)
        elif self.deferred is not None and not self.deferred.called:
            self.deferred.callback(self)

    def _has_gone(self) -> bool:
        left = self.client is not None and self.client.state is State.STOPPED
        return self._ended or left

    def _watched_join(self, details: Any) -> Deferred[None]:
        def failed(failure: Failure) -> None:
            if self._ended:  # that is why it failed, and is reported as such
                return
            self._report_fault(failure, "onJoin failed")
            if self.client is not None:
                self.client.joinFailed(failure)

        def join(_: None) -> Deferred[Any]:
            before = joining.set(self)
            try:
                return result_of(self._join, details)
            finally:
                joining.reset(before)

        joined = self.make_again().addCallback(join)
        return joined.addCallbacks(lambda _: self._joined(), failed)

    def _watched_challenge(self, challenge: Any) -> Deferred[Any]:
        def check(answer: Any) -> Any:
            if answer is None:
                raise ParadropException("there is no key for it")
            return answer

        def failed(failure: Failure) -> Any:
            self._report_fault(failure, "onChallenge failed")
            reason = f"no answer to the router's challenge: {describe(failure.value)}"
            if self.client is not None:  # after autobahn has told the router
                self.client.reactor.callLater(0, self._drop, reason)
            raise _Unanswered(reason)

        return result_of(self._challenge, challenge).addCallback(check).addErrback(failed)

    def _drop(self, reason: str) -> None:
        if self.client is not None and not self._ended:
            self.client.failAttempt(reason)

    def onMessage(self, msg: Any) -> None:
        """
        A message of the router. After its goodbye the transport closes, whatever else `onLeave`
        does.

        @raise ProtocolError: it is none that may come now; its transport ends the connection.
        """
        if isinstance(msg, wamp.Abort | wamp.Goodbye):
            joined = self._session_id is not None
            if joined is isinstance(msg, wamp.Abort):
                name = type(msg).__name__.upper()
                when = "after" if joined else "before"
                raise ProtocolError(
                    f"{name} {when} WELCOME: {describe_uri(msg.reason, msg.message)}"
                )
            if self.client is not None and not joined:
                self.client.refused(msg.reason, msg.message or "", str(self.pdid))
            elif self.client is not None and not self._goodbye_sent:
                self.client.ended(msg.reason, msg.message or "")
        over = isinstance(msg, wamp.Abort | wamp.Goodbye)
        if over:
            self._is_over()
        super().onMessage(msg)
        if over and self._transport is not None:
            self._transport.close()

    def onClose(self, wasClean: bool) -> None:
        """The transport is closed: whoever waits for a reply hears of it."""
        self._ended = True
        self._is_over()
        super().onClose(wasClean)
        self._errback_outstanding_requests(TransportLost())  # type: ignore[no-untyped-call]
        if self._ready:
            reason = self.client.lastReason if self.client is not None else "closed"
            out.info(
                f"session of {self.pdid} ended: {reason}",
                extra={"event": "wamp.left", "reason": reason},
            )

    def _is_over(self) -> None:
        """Nobody is to use it any more."""
        if self.client is not None:
            self.client.lost(self)
        if nexus.core is not None and nexus.core.session is self:
            nexus.core.session = None
            nexus.core.wamp_connected = False

    def onLeave(self, details: Any) -> None:
        """The session ended; for subclasses. What has to be done then does not depend on it."""

    def leave(self, reason: str | None = None, message: str | None = None) -> Deferred[None]:
        """
        A wanted goodbye, for good: the connection is closed and not tried again. It may be said
        at any time, by any session of the connection, also twice.

        @param reason: URI for the router, default `wamp.close.normal`.
        @return: fires when the connection is closed; never fails.
        """
        core = nexus.core
        current = getattr(core, "session", None)
        if current is not None and (current is self or self._shares_connection(current)):
            core.session = None
            core.wamp_connected = False
        if self.client is None:
            return succeed(None)
        return self.client.goodbye(reason, message)

    def _shares_connection(self, other: Any) -> bool:
        return self.client is not None and getattr(other, "client", None) is self.client

    def sayGoodbye(self, reason: str | None = None, message: str | None = None) -> None:
        """Tell the router, as far as it knows this session."""
        if self._session_id is not None:
            super().leave(reason, message)
        elif self._transport is not None:
            self._transport.close()

    def onUserError(self, fail: Failure, msg: str) -> None:
        """A handler or a callback raised; autobahn goes on, so the log has to say it."""
        if not isinstance(fail.value, _Unanswered):
            self._report(fail, msg)

    def _report_fault(self, failure: Failure, text: str) -> None:
        """Report what is a fault of the program; else the reason for the next attempt says it."""
        if self.client is None or not isinstance(failure.value, _EXPECTED):
            self._report(failure, text)

    def _report(self, failure: Failure, text: str) -> None:
        why = failure.getErrorMessage()
        if isinstance(failure.value, ApplicationError):
            said = describe(failure.value)
            is_call = text.startswith(type(failure.value).__name__)  # autobahn says no more of one
            out.warn(f"{'a call is refused' if is_call else text}: {said}")
        else:
            out.err(
                text if why and why in text else f"{text}: {type(failure.value).__name__}: {why}",
                extra={"traceback": failure.getTraceback()},
            )


class BaseSessionFactory(ApplicationSessionFactory):
    """Makes the sessions of one connection, which share a Deferred, and `extra`."""

    session: Any = BaseSession

    def __init__(self, config: ComponentConfig, deferred: Deferred[Any] | None = None) -> None:
        super().__init__(config)  # type: ignore[no-untyped-call]
        self.deferred = deferred
        self.extra: Any = None

    def __call__(self) -> BaseSession:
        session: BaseSession = super().__call__()  # type: ignore[no-untyped-call]
        session.deferred = self.deferred
        session.extra = self.extra
        return session
