"""
What a session asks of its router: calls and events, registrations and subscriptions.

With the conveniences of a device (the pdid in the URI and before the arguments), and as it is
("stock"); with a session, and while there is none; and again after a rejoin.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Generator
from contextvars import ContextVar
from itertools import chain
from typing import Any

from autobahn.twisted.wamp import ApplicationSession
from autobahn.wamp import types
from autobahn.wamp.exception import ApplicationError
from autobahn.wamp.types import RegisterOptions
from twisted.internet.defer import Deferred, fail, inlineCallbacks, succeed
from twisted.python.failure import Failure

from paradrop.base import settings
from paradrop.base.arguments import given, refusing
from paradrop.base.connection import BaseClientFactory, NotConnected
from paradrop.base.endings import describe
from paradrop.base.output import out
from paradrop.base.replay import Wanted
from paradrop.base.states import State

joining: ContextVar[Any] = ContextVar("joining", default=None)
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


class Requests(ApplicationSession):
    """
    The requests of `BaseSession`.

    @ivar pdid: the device that asks.
    @ivar client: the connection it runs over, from the moment that is open.
    """

    client: BaseClientFactory | None = None
    pdid: Any
    _ready: bool

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
        limit = getattr(options, "timeout", None) or settings.number("WAMP_CALL_TIMEOUT")
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
        handler = wanted.handler if wanted.uri is None else refusing(wanted.handler)
        made = make(handler, wanted.uri, wanted.options)
        if self.client is None or not self._ready or joining.get() is self:
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
        uri, handler = subscription.topic, given(subscription.handler.fn)
        self._not_again("subscribe", uri, handler)
        if self.is_attached():
            return super()._unsubscribe(subscription)  # type: ignore[no-untyped-call]
        subscription.active = False
        now = self._successor()
        for found in chain(*now._subscriptions.values()) if now is not None else []:
            if (found.topic, given(found.handler.fn)) == (uri, handler):
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

    @inlineCallbacks
    def make_again(self) -> Generator[Deferred[Any], Any, None]:
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
                        f"tried at every join: {describe(error)}",
                        extra={"event": "wamp.not_again", "uri": wanted.uri},
                    )
                continue
            replay.made(wanted)
            if wanted not in replay:  # taken back meanwhile
                yield made.unsubscribe() if subscribed else made.unregister()


def _forced(options: RegisterOptions | None) -> RegisterOptions:
    """The same options, and the procedure is taken from whoever has it."""
    forced = copy.copy(options) if options is not None else RegisterOptions()
    forced.force_reregister = True
    return forced
