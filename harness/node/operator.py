"""A WAMP client in the role of the operator, plain and synchronous.

Twisted's reactor runs in a thread of its own (crochet); every method may be called from any other
thread, blocks, and gives up at its time-out. The client rejoins by itself.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeVar

import crochet
from autobahn.exception import PayloadExceededError
from autobahn.wamp.exception import ApplicationError, Error, SerializationError
from autobahn.wamp.types import PublishOptions

from harness.errors import DeviceError, InfrastructureError
from harness.evidence.timeline import Timeline
from harness.fault.injector import Injector
from harness.fault.realm import SessionsEnded
from harness.machine.functions import SessionsFunctions
from harness.node import uris, wire
from harness.node.client import Client, Event
from harness.node.uris import of_device

__all__ = ["Event", "Operator"]

_Answer = TypeVar("_Answer")

_ROUTER_TIMEOUT = 10.0  # seconds; for what the router itself answers

# It ended after it was listed.
_UNKNOWN = {ApplicationError.NO_SUCH_SESSION, ApplicationError.NO_SUCH_REGISTRATION}

# The device's session went while it had our call: it is the device that failed, not the router.
_GONE = {ApplicationError.CANCELED, "wamp.error.callee_lost"}


class Operator:
    """Calls the devices' procedures, publishes to them, waits for their events and sessions.

    @param url: the router's WebSocket URL, without TLS.
    @param secret: of the authid `operator`.
    @param watcher: called in the reactor's thread with topic and argument of every meta event; of
        everybody who is present when the client joins, as if they had just joined.
    @param timeline: receives the faults that the operator causes.
    """

    def __init__(
        self,
        url: str,
        secret: str,
        watcher: Callable[[str, Any], None] | None = None,
        timeline: Timeline | None = None,
    ) -> None:
        self._client = Client(url, "operator", secret, watcher)
        self._injector = Injector(timeline)
        self._authids: dict[int, str] = {}
        self._uris: dict[int, str] = {}
        crochet.setup()
        self._client.start()

    def status(self, pdid: str, timeout: float = 10) -> dict[str, Any]:
        """What the daemon says of itself: version, pdid, uptime, sessions, wamp_state, session."""
        answer: dict[str, Any] = self.call(pdid, "status", timeout=timeout)
        return answer

    def logs(self, pdid: str, since: float = 0.0, timeout: float = 60) -> list[dict[str, Any]]:
        """All its log records later than `since` (seconds since the epoch), page by page."""
        deadline = time.monotonic() + timeout
        records: list[dict[str, Any]] = []
        cursor = None
        while True:
            left = max(0.1, deadline - time.monotonic())
            page = self.call(pdid, "logs", since, cursor=cursor, timeout=left)
            try:
                records.extend(page["records"])
                cursor = page["cursor"]
            except (TypeError, KeyError) as error:
                why = f"{of_device('logs', pdid)} answered no page of records: {page!r:.200}"
                raise DeviceError(why, device=pdid) from error
            if cursor is None:
                return records
            if time.monotonic() > deadline:
                why = f"after {timeout:g} s and {len(records)} records there are more"
                raise DeviceError(f"{of_device('logs', pdid)}: {why}", device=pdid)

    def config(
        self, pdid: str, changes: dict[str, Any] | None = None, timeout: float = 10
    ) -> dict[str, Any]:
        """Change settings of a device.

        @return: all its settings, after the changes.
        """
        answer: dict[str, Any] = self.call(pdid, "config", changes, timeout=timeout)
        return answer

    def call(
        self, pdid: str, procedure: str, *args: Any, timeout: float = 10, **kwargs: Any
    ) -> Any:
        """Call `org.paradrop.<procedure>.<pdid>`, the pdid as its first argument.

        Waits for the procedure when the device has not registered it yet.
        @raise DeviceError: no answer within `timeout` seconds, or the answer is an error, or
            nothing that can be sent or read; the error of WAMP is its `__cause__`.
        @raise UsageError: it can't be called like that: see `harness.node.wire`.
        @raise InfrastructureError: the router is away.
        """
        uri = of_device(procedure, pdid)
        wire.check(f"calling {uri}", args, kwargs)
        deadline = time.monotonic() + timeout
        while True:
            session = self._client.session(deadline)
            seen, self._client.unreadable = self._client.changes, ""
            try:
                return self._client.run(
                    partial(session.call, uri, pdid, *args, **kwargs), deadline - time.monotonic()
                )
            except crochet.TimeoutError as error:
                why = f"did not answer within {timeout:g} s"
                raise DeviceError(f"{uri} {why}", device=pdid) from error
            except (Error, PayloadExceededError) as error:
                absent = getattr(error, "error", "") == ApplicationError.NO_SUCH_PROCEDURE
                if absent and self._client.wait_change(seen, deadline):
                    continue
                if not absent and self._lost(error) and not self._client.unreadable:
                    raise _away(f"calling {uri}") from error
                why = f"was not registered within {timeout:g} s" if absent else self._failure(error)
                raise DeviceError(f"{uri} {why}", device=pdid) from error

    @staticmethod
    def _lost(error: Exception) -> bool:
        """Whether a call failed because our own session ended."""
        if isinstance(error, ApplicationError):
            return bool(error.error.startswith("wamp.close."))
        # what the callee, or the router for it, could not serialise has these classes
        return not isinstance(error, SerializationError | PayloadExceededError)

    def _failure(self, error: Exception) -> str:
        """What a device has done instead of answering."""
        if self._lost(error):
            return f"answered what can't be read: {self._client.unreadable}"
        if not isinstance(error, ApplicationError):
            return f"answered what can't be sent: {error!s:.500}"
        if error.error in _GONE:
            return "lost its session while it was called"
        return f"answered {error.error_message():.500}"

    def publish(self, pdid: str, topic: str, *args: Any, **kwargs: Any) -> None:
        """Publish to `org.paradrop.<topic>.<pdid>`, the pdid first; returns when the router has it.

        @raise UsageError: it can't be published like that: see `harness.node.wire`.
        @raise InfrastructureError: the router is away, or refused it.
        """
        uri = of_device(topic, pdid)
        wire.check(f"publishing {uri}", args, kwargs)
        options = PublishOptions(acknowledge=True)
        self._ask(
            f"publishing {uri}",
            lambda session: session.publish(uri, pdid, *args, options=options, **kwargs),
        )

    def wait_event(
        self, pdid: str, topic: str, timeout: float = 30, since: float | None = None
    ) -> Event:
        """The first event on `org.paradrop.<topic>.<pdid>` after the call.

        @param since: seconds of `time.monotonic`; also sees earlier events that came after it, as
            far as an earlier call on the topic had subscribed to them.
        @raise DeviceError: none came.
        """
        uri = of_device(topic, pdid)
        after = time.monotonic() if since is None else since
        deadline = time.monotonic() + timeout
        with _router_to_blame(f"subscribing {uri}", timeout):
            self._client.subscribe(uri, deadline)
        while True:
            seen = self._client.changes
            for event in self._client.events(uri):
                if event.at > after:
                    return event
            if not self._client.wait_change(seen, deadline):
                self._client.session(deadline)  # if the router is away, the device is not to blame
                raise DeviceError(f"no event on {uri} within {timeout:g} s", device=pdid)

    def sessions(self, pdid: str) -> list[int]:
        """Ids of its live sessions, as the router has them now."""
        uris.check("pdid", pdid)

        async def find(session: Any) -> list[int]:
            live = await session.call("wamp.session.list")
            known = self._authids
            await self._learn(session, live, known, "wamp.session.get", "authid")
            return sorted(number for number in live if known.get(number) == pdid)

        numbers: list[int] = self._ask("listing sessions", find)
        return numbers

    def registrations(self, pdid: str) -> list[str]:
        """The registered procedures that end in its pdid."""
        uris.check("pdid", pdid)

        async def find(session: Any) -> list[str]:
            live = (await session.call("wamp.registration.list"))["exact"]
            known = self._uris
            await self._learn(session, live, known, "wamp.registration.get", "uri")
            found = (known.get(number, "") for number in live)
            return sorted(uri for uri in found if uri.endswith(f".{pdid}"))

        registered: list[str] = self._ask("listing registrations", find)
        return registered

    def end_sessions(self, pdid: str) -> None:
        """Make the router end all sessions of an authid; one that is ending already is no error."""
        uris.check("pdid", pdid)
        on = SessionsFunctions(self.sessions, self.end_all)
        self._injector.begin(SessionsEnded(pdid), on)

    def end_all(self, pdid: str) -> None:
        """The same, without a word about it on the time line."""

        async def end(session: Any) -> None:
            try:
                await session.call("wamp.session.kill_by_authid", pdid)
            except ApplicationError as error:
                if "Already requested to close" not in str(error.args):
                    raise

        self._ask(f"ending the sessions of {pdid}", end)

    def wait_joined(self, pdid: str, timeout: float = 60, not_in: Collection[int] = ()) -> int:
        """@return: id of a live session of the device that is not in `not_in`.

        Sits out an absence of the router.
        @raise DeviceError: the device did not join.
        @raise InfrastructureError: the router was away at the end.
        """
        return self._wait_sessions(
            pdid,
            timeout,
            lambda live: next((number for number in reversed(live) if number not in not_in), None),
            "did not join",
        )

    def wait_left(self, pdid: str, session: int, timeout: float = 60) -> None:
        """Wait until that session is gone.

        @raise DeviceError: it is still there.
        @raise InfrastructureError: the router was away at the end.
        """
        self._wait_sessions(
            pdid,
            timeout,
            lambda live: None if session in live else True,
            f"is still in session {session}",
        )

    def wait_single(self, pdid: str, session: int, timeout: float = 60) -> None:
        """Wait until a session is the only one of the device: older ones may take a while to end.

        @raise DeviceError: it is not, or another one has joined after it.
        @raise InfrastructureError: the router was away at the end.
        """
        began = time.monotonic()

        def single(live: list[int]) -> bool | None:
            self._check_newest(pdid, session, began)
            return live == [session] or None

        self._wait_sessions(pdid, timeout, single, f"has not {session} as its only session")

    def watch_single(self, pdid: str, session: int, seconds: float) -> None:
        """Watch for some time that a session stays the only one of the device.

        @raise DeviceError: it has ended, or another one has joined, if only for a moment.
        @raise InfrastructureError: the router was away.
        """
        began = time.monotonic()
        while True:
            seen = self._client.changes
            live = self.sessions(pdid)
            self._check_newest(pdid, session, began)
            if live != [session]:
                raise DeviceError(
                    f"lost session {session} again", device=pdid, hint=f"its sessions: {live}"
                )
            if not self._client.wait_change(seen, began + seconds):
                return

    def _check_newest(self, pdid: str, session: int, began: float) -> None:
        """@raise DeviceError: another session has joined after this one, or since `began`."""
        since = began
        later: list[int] = []
        for at, joined in self._client.joins(pdid):
            if joined == session:
                since, later = 0.0, []
            elif at > since:
                later.append(joined)
        if later:
            also = ", ".join(map(str, later))
            raise DeviceError(f"joined again, beside session {session}: {also}", device=pdid)

    def wait_ready(self, timeout: float, since: float = 0.0) -> None:
        """Wait until this client itself has joined later than `since` (of `time.monotonic`).

        @raise InfrastructureError: it has not.
        """
        self._client.session(time.monotonic() + timeout, since)

    def close(self) -> None:
        """Leave, and stop rejoining."""
        self._client.close()

    def _wait_sessions(
        self, pdid: str, timeout: float, verdict: Callable[[list[int]], _Answer | None], what: str
    ) -> _Answer:
        deadline = time.monotonic() + timeout
        live: list[int] = []
        while True:
            seen = self._client.changes
            try:
                live = self.sessions(pdid)
            except InfrastructureError:
                if time.monotonic() >= deadline:
                    raise
            else:
                answer = verdict(live)
                if answer is not None:
                    return answer
            if not self._client.wait_change(seen, deadline):
                self._client.session(deadline)
                raise DeviceError(
                    f"{what} within {timeout:g} s", device=pdid, hint=f"its sessions: {live}"
                )

    @staticmethod
    async def _learn(
        session: Any, live: Collection[int], known: dict[int, str], procedure: str, field: str
    ) -> None:
        """Have in `known` what is live, by its id, which is nobody else's ever (WAMP, "IDs").

        Of a fleet, who each session belongs to is asked once, not whenever one more has joined.

        @param procedure: tells of one by its id. @param field: what is kept of the answer.
        """
        for number in live:
            if number not in known:
                try:
                    known[number] = (await session.call(procedure, number))[field]
                except ApplicationError as error:
                    if error.error not in _UNKNOWN:
                        raise

    def _ask(self, doing: str, question: Callable[[Any], Any]) -> Any:
        """Ask the router itself; whatever goes wrong is the infrastructure's."""
        session = self._client.session(time.monotonic() + _ROUTER_TIMEOUT)
        with _router_to_blame(doing, _ROUTER_TIMEOUT):
            return self._client.run(lambda: question(session), _ROUTER_TIMEOUT)


@contextmanager
def _router_to_blame(doing: str, timeout: float) -> Iterator[None]:
    """What fails in here is the infrastructure's."""
    try:
        yield
    except crochet.TimeoutError as error:
        why = f"the router did not answer within {timeout:g} s"
        raise InfrastructureError(f"{doing}: {why}") from error
    except ApplicationError as error:
        if error.error.startswith("wamp.close."):  # our own session went with the router
            raise _away(doing) from error
        why = f"{error.error_message():.500}"
        raise InfrastructureError(f"{doing}: the router refused it: {why}") from error
    except Error as error:
        raise _away(doing) from error


def _away(doing: str) -> InfrastructureError:
    return InfrastructureError(f"{doing} failed: the router went away")
