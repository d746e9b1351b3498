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

import copy
from collections.abc import Callable, Generator
from contextvars import ContextVar
from itertools import chain
from typing import Any

from autobahn.twisted.wamp import ApplicationSession, ApplicationSessionFactory
from autobahn.twisted.websocket import connectWS
from autobahn.wamp import message as wamp
from autobahn.wamp import types
from autobahn.wamp.exception import ApplicationError, TransportLost
from autobahn.wamp.types import ComponentConfig, RegisterOptions
from twisted.internet.defer import (
    Deferred,
    fail,
    inlineCallbacks,
    maybeDeferred,
    succeed,
)
from twisted.python.failure import Failure

from paradrop.base import nexus, settings, tls
from paradrop.base.connection import BaseClientFactory, NotConnected
from paradrop.base.exceptions import ParadropException
from paradrop.base.output import out
from paradrop.base.replay import Wanted
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


_joining: ContextVar[Any] = ContextVar("joining", default=None)
"""The session whose `onJoin` is running, where the code is a part of that: generators and
coroutines of Twisted keep the context that they began in."""


class CallOptions(types.CallOptions):
    """
    Autobahn's options of a call.

    @param timeout: seconds until a call without an answer fails, default
        `settings.WAMP_CALL_TIMEOUT`.
    @param wait: seconds that the call waits for a session where there is none; by default none.
    """

    __slots__ = ("wait",)

    def __init__(self, *args: Any, wait: float | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[no-untyped-call]
        self.wait = wait

    def message_attr(self) -> dict[str, Any]:
        """What the router is told; the time limit is ours (a router may take whole ones only)."""
        told: dict[str, Any] = super().message_attr()  # type: ignore[no-untyped-call]
        told.pop("timeout", None)
        return told


class Starting(Deferred[Any]):
    """What `BaseSession.start` gives.

    @ivar client: the connection, there from the start; None where there is nothing to connect to.
    """

    client: BaseClientFactory | None = None


class BaseSession(ApplicationSession):
    """
    A session of the router `pdid`, which is the `extra` of its configuration.

    @ivar client: the connection it runs over, from the moment that is open.
    @ivar extra: what `start` was given for its sessions.
    @ivar deferred: fires with the first session of the connection that joins.
    """

    client: BaseClientFactory | None = None
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
        @return: fires once, with the session of the first join; fails when `address` or a file that
            the settings name for TLS cannot be used, without `reconnect` when there is no join,
            and with CancelledError when it is cancelled, which gives up. `leave` ends it all.
        """

        def give_up(_: Deferred[Any]) -> None:
            client.goodbye()

        starting = Starting(give_up)
        sessions = BaseSessionFactory(ComponentConfig(realm=realm, extra=pdid), starting)
        sessions.session = cls
        sessions.extra = extra
        try:
            client = BaseClientFactory(sessions, url=address)
            options = tls.client_options(client.host) if client.isSecure else None
        except ParadropException:
            starting.errback()
            return starting
        except Exception as error:  # autobahn has no type for it
            starting.errback(ParadropException(f"{address!r} is not a usable address: {error}"))
            return starting
        starting.client = client
        client.reconnect = reconnect
        client.verified = settings.WAMP_TLS_VERIFY
        client.delay = client.initialDelay = settings.WAMP_INITIAL_DELAY
        client.maxDelay = settings.WAMP_MAX_DELAY
        connectWS(client, options, timeout=client.connectTimeout)
        if start_reactor:
            client.reactor.run()
        return starting

    # What a router is asked, with the conveniences of a device, and without ("stock").

    def publish(self, topic: str, *args: Any, **kwargs: Any) -> Any:
        """Publish to `<topic>.<pdid>`, the pdid before the other arguments."""
        return self.stockPublish(f"{topic}.{self.pdid}", self.pdid, *args, **kwargs)

    def call(self, procedure: str, *args: Any, **kwargs: Any) -> Deferred[Any]:
        """Call `<procedure>.<pdid>`, the pdid before the other arguments; see `stockCall`."""
        return self.stockCall(f"{procedure}.{self.pdid}", self.pdid, *args, **kwargs)

    def subscribe(self, handler: Any, topic: str | None = None, options: Any = None) -> Any:
        """Subscribe to `<topic>.<pdid>`; see `stockSubscribe`."""
        return self.stockSubscribe(handler, self._own(topic), options)

    def register(self, endpoint: Any, procedure: str | None = None, options: Any = None) -> Any:
        """
        Register `<procedure>.<pdid>`; see `stockRegister`.

        A session of ours that the router still believes in does not keep the procedure: nobody
        else may register it.
        """

        def take_over(failure: Failure) -> Any:
            taken = (
                isinstance(failure.value, ApplicationError)
                and failure.value.error == ApplicationError.PROCEDURE_ALREADY_EXISTS
            )
            if not taken or any(found.procedure == uri for found in self._registrations.values()):
                return failure
            return self.stockRegister(endpoint, uri, _forced(options))

        uri = self._own(procedure)
        return self.stockRegister(endpoint, uri, options).addErrback(take_over)

    def stockPublish(self, topic: str, *args: Any, **kwargs: Any) -> Any:
        """
        Publish to a topic as it is. Where there is no session, the event is kept for the next one
        if `settings.WAMP_OUTBOX_LIMIT` allows it.

        @return: fires with the acknowledgement, where the options ask for one; else None.
        @raise NotConnected: there is no session, and the event is not kept.
        """
        client = self.client
        if client is None or not client.outbox.limit or client.state is State.STOPPED:
            return self._publish(self, topic, *args, **kwargs)
        if client.session is not None:
            return self._publish(client.session, topic, *args, **kwargs)
        if self.is_attached():  # in its onJoin, which may wait for the acknowledgement
            return self._publish(self, topic, *args, **kwargs)
        acknowledged = bool(getattr(kwargs.get("options"), "acknowledge", False))
        return client.outbox.put(
            lambda session: self._publish(session, topic, *args, **kwargs), acknowledged
        )

    @staticmethod
    def _publish(session: Any, topic: str, *args: Any, **kwargs: Any) -> Any:
        if not session.is_attached():
            raise NotConnected(f"{topic} is not published: there is no session")
        return ApplicationSession.publish(session, topic, *args, **kwargs)

    def stockCall(self, procedure: str, *args: Any, **kwargs: Any) -> Deferred[Any]:
        """
        Call a procedure as it is.

        @param options: `CallOptions`, or autobahn's.
        @return: fires with the result; fails with `NotConnected` at once where there is no
            session, or when there was none for as long as the options allow to wait; with
            `CallTimeout`; with TransportLost when the session ends meanwhile; with the
            ApplicationError of the router or the callee.
        """
        options = kwargs.get("options")
        if not self.is_attached():
            wait = getattr(options, "wait", None)
            if self.client is None or not wait:
                return fail(NotConnected(f"{procedure} is not called: there is no session"))
            ready = self.client.when_ready(wait)
            return ready.addCallback(lambda now: now.stockCall(procedure, *args, **kwargs))
        calling: Deferred[Any] = super().call(procedure, *args, **kwargs)
        limit = getattr(options, "timeout", None) or settings.WAMP_CALL_TIMEOUT
        if self.client is not None:
            self.client.deadlines.add(calling, procedure, limit)
        return calling

    def stockSubscribe(self, handler: Any, topic: str | None = None, options: Any = None) -> Any:
        """
        Subscribe to a topic as it is. Once the session is ready, this holds for those that come
        after it as well, until it is unsubscribed; what an `onJoin` subscribes, it subscribes
        again itself. There, a handler that has the same topic twice has it once.
        """
        return self._have(Wanted("subscribe", handler, topic, options), super().subscribe)

    def stockRegister(
        self, endpoint: Any, procedure: str | None = None, options: Any = None
    ) -> Any:
        """Register a procedure as it is; for the sessions that come after, see
        `stockSubscribe`."""
        return self._have(Wanted("register", endpoint, procedure, options), super().register)

    def _have(self, wanted: Wanted, make: Callable[..., Any]) -> Any:
        if not self.is_attached():
            return fail(NotConnected(f"{wanted.uri}: there is no session"))
        made = make(wanted.handler, wanted.uri, wanted.options)
        if self.client is None or not self._ready or _joining.get() is self:
            return made
        replay = self.client.replay

        def again(result: Any) -> Any:
            replay.add(wanted)
            return result

        return made.addCallback(again)

    def _unregister(self, registration: Any) -> Any:
        uri = registration.procedure
        self._not_again("register", uri)
        if self.is_attached():
            return super()._unregister(registration)  # type: ignore[no-untyped-call]
        registration.active = False
        now = self._successor()
        for found in list(now._registrations.values()) if now is not None else []:
            if found.procedure == uri:
                return found.unregister()
        return succeed(None)

    def _unsubscribe(self, subscription: Any) -> Any:
        uri, handler = subscription.topic, subscription.handler.fn
        self._not_again("subscribe", uri, handler)
        if self.is_attached():
            return super()._unsubscribe(subscription)  # type: ignore[no-untyped-call]
        subscription.active = False
        now = self._successor()
        for found in chain(*now._subscriptions.values()) if now is not None else []:
            if (found.topic, found.handler.fn) == (uri, handler):
                return found.unsubscribe()
        return succeed(None)

    def _not_again(self, kind: str, uri: str, handler: Any = None) -> None:
        if self.client is not None:
            self.client.replay.remove(
                lambda one: (one.kind, one.uri) == (kind, uri) and handler in (None, one.handler)
            )

    def _successor(self) -> Any:
        newest = self.client.newest if self.client is not None else None
        return newest if newest is not None and newest.is_attached() else None

    def _own(self, uri: str | None) -> str | None:
        return uri if uri is None else f"{uri}.{self.pdid}"

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
            outside = _joining.set(None)  # whoever has waited for this is no part of `onJoin`
            try:
                self.client.joined(self)
            finally:
                _joining.reset(outside)
        elif self.deferred is not None and not self.deferred.called:
            self.deferred.callback(self)

    def _has_gone(self) -> bool:
        left = self.client is not None and self.client.state is State.STOPPED
        return self._ended or left

    def _watched_join(self, details: Any) -> Deferred[None]:
        def failed(failure: Failure) -> None:
            if self._ended:  # that is why it failed, and is reported as such
                return
            self._report(failure, "onJoin failed")
            if self.client is not None:
                self.client.joinFailed(failure)

        def join(_: None) -> Deferred[Any]:
            before = _joining.set(self)
            try:
                return maybeDeferred(self._join, details)
            finally:
                _joining.reset(before)

        joined = self._make_again().addCallback(join)
        return joined.addCallbacks(lambda _: self._joined(), failed)

    @inlineCallbacks
    def _make_again(self) -> Generator[Deferred[Any], Any, None]:
        """
        What was registered and subscribed in the sessions before.

        A router that refuses a part of it may be about to be ready: the attempt fails. What it
        refuses again is reported, and missing in this session.
        """
        if self.client is None:
            return
        replay = self.client.replay
        for wanted in replay:
            subscribed = wanted.kind == "subscribe"
            make = self.stockSubscribe if subscribed else self.stockRegister
            options = wanted.options if subscribed else _forced(wanted.options)
            try:
                made = yield make(wanted.handler, wanted.uri, options)
            except ApplicationError as error:
                refusals = replay.refused(wanted)
                if refusals < self.client.REFUSED_AFTER:
                    raise
                if refusals == self.client.REFUSED_AFTER:
                    out.err(
                        f"{wanted.kind} {wanted.uri}: refused since the rejoin, "
                        f"tried at every join: {error.error_message()}",
                        extra={"event": "wamp.not_again", "uri": wanted.uri},
                    )
                continue
            replay.made(wanted)
            if wanted not in replay:  # taken back meanwhile
                yield made.unsubscribe() if subscribed else made.unregister()

    def _watched_challenge(self, challenge: Any) -> Deferred[Any]:
        def check(answer: Any) -> Any:
            if answer is None:
                raise ParadropException("there is no key for it")
            return answer

        def failed(failure: Failure) -> Failure:
            if self.client is not None:  # after autobahn has told the router
                reason = f"no answer to the router's challenge: {failure.getErrorMessage()}"
                self.client.reactor.callLater(0, self._drop, reason)
            return failure

        return maybeDeferred(self._challenge, challenge).addCallback(check).addErrback(failed)

    def _drop(self, reason: str) -> None:
        if self.client is not None and not self._ended:
            self.client.failAttempt(reason)

    def onMessage(self, msg: Any) -> None:
        """A message of the router. After its goodbye the transport closes, whatever else
        `onLeave` does."""
        if self.client is not None:
            if isinstance(msg, wamp.Abort) and self._session_id is None:
                self.client.refused(msg.reason, msg.message or "", str(self.pdid))
            elif isinstance(msg, wamp.Goodbye) and not self._goodbye_sent:
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
        self._report(fail, msg)

    def _report(self, failure: Failure, text: str) -> None:
        if isinstance(failure.value, ApplicationError):
            out.warn(f"{text}: {failure.value.error_message()}")
        else:
            out.err(
                f"{text}: {type(failure.value).__name__}: {failure.getErrorMessage()}",
                extra={"traceback": failure.getTraceback()},
            )


def _forced(options: RegisterOptions | None) -> RegisterOptions:
    """The same options, and the procedure is taken from whoever has it."""
    forced = copy.copy(options) if options is not None else RegisterOptions()
    forced.force_reregister = True
    return forced


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
