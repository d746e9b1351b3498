"""The session of a provisioned router: what it offers, hears and says, after every join."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterable
from typing import Any, NoReturn, Protocol

from autobahn.wamp import auth
from autobahn.wamp.exception import ApplicationError
from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.internet.task import LoopingCall
from twisted.internet.threads import deferToThread
from twisted.python.failure import Failure

import paradrop
from paradrop.base import identity, nexus, settings
from paradrop.base.cxbr import BaseSession
from paradrop.base.disk import condition
from paradrop.base.exceptions import AuthenticationError, SettingsError
from paradrop.base.output import out
from paradrop.daemon import configuration, logpages

MOST_ITERATIONS = 1_000_000
"""A router may ask for at most so many iterations of PBKDF2. A slow CPU needs some seconds for so
many, and the daemon does nothing else meanwhile. The example in the WAMP specification has 1000;
OWASP's Password Storage Cheat Sheet recommends 600,000."""


class Life(Protocol):
    """What a session tells of the daemon that it belongs to."""

    started: float
    sessions: int
    heartbeats: int

    def updatesPending(self, *details: Any) -> None: ...

    def settingsChanged(self, names: Iterable[str]) -> None: ...


def sign(challenge: Any, secret: str | bytes) -> str:
    """Answer a WAMP-CRA challenge, with or without a salt (WAMP specification, "Challenge
    Response Authentication").

    @raise AuthenticationError: it is none.
    """
    extra = challenge.extra
    try:
        key = secret.encode() if isinstance(secret, str) else secret
        if "salt" in extra:
            iterations = _number(extra["iterations"], MOST_ITERATIONS)
            key = auth.derive_key(key, extra["salt"], iterations, _number(extra["keylen"], 1024))
        signature: bytes = auth.compute_wcs(key, extra["challenge"])
    except (LookupError, TypeError, ValueError, AttributeError, AssertionError) as error:
        raise AuthenticationError(
            f"a challenge of the kind {challenge.method!r} that is none of WAMP-CRA"
        ) from error
    return signature.decode("ascii")


def _number(given: object, most: int) -> int:
    """@raise ValueError: it is no number from 1 to `most`."""
    if type(given) is not int or not 1 <= given <= most:
        raise ValueError(f"{given!r:.40} is no number from 1 to {most}")
    return given


class RouterSession(BaseSession):
    """Joins as the router, registers its procedures, publishes its heartbeat."""

    _heartbeat: LoopingCall | None = None

    def onConnect(self) -> None:
        self.join(self.config.realm, ["wampcra"], self.pdid)

    def onChallenge(self, challenge: Any) -> str:
        token = nexus.core.getKey(identity.TOKEN_KEY)
        if token is None:
            raise AuthenticationError(f"there is no key {identity.TOKEN_KEY}: provision the router")
        return sign(challenge, token)

    @inlineCallbacks
    def onJoin(self, details: Any) -> Generator[Deferred[Any], Any, None]:
        yield self.register(self.logs, "org.paradrop.logs")
        yield self.register(self.configure, "org.paradrop.config")
        yield self.subscribe(self.onUpdatesPending, "org.paradrop.updatesPending")
        self._life.sessions += 1
        # The last thing to be had, so that a router that answers it is ready.
        yield self.register(self.status, "org.paradrop.status")
        yield super().onJoin(details)
        self._heartbeat = LoopingCall(self._beat)
        self._heartbeat.start(settings.number("HEARTBEAT_INTERVAL")).addErrback(
            lambda failure: out.warn(f"no heartbeat: {failure.getErrorMessage()}")
        )

    def onClose(self, wasClean: bool) -> None:
        if self._heartbeat is not None and self._heartbeat.running:
            self._heartbeat.stop()
        super().onClose(wasClean)

    @property
    def _life(self) -> Life:
        life: Life = nexus.core
        return life

    def _uptime(self) -> float:
        return round(time.monotonic() - self._life.started, 3)

    def _beat(self) -> None:
        if self._heartbeat is not None:
            # It may have been changed meanwhile.
            self._heartbeat.interval = settings.number("HEARTBEAT_INTERVAL")
        self._life.heartbeats += 1
        self.publish(
            "org.paradrop.heartbeat",
            uptime=self._uptime(),
            sessions=self._life.sessions,
            seq=self._life.heartbeats,
        )

    def status(self, pdid: str, *rest: Any) -> dict[str, Any]:
        """How the router is: see the keys. Times in seconds, of the monotonic clock."""
        return {
            "version": paradrop.__version__,
            "pdid": self.pdid,
            "uptime": self._uptime(),
            "sessions": self._life.sessions,
            "wamp_state": str(self.client.state) if self.client is not None else "ready",
            "session": self._session_id,
            "disk": condition(settings.CONFIG_HOME_DIR),
        }

    def logs(
        self, pdid: str, since: float = 0.0, cursor: str | None = None, limit: int = 500
    ) -> Deferred[dict[str, Any]]:
        """
        Log records later than `since` (seconds since the epoch), a page at a time.

        @param cursor: that of the page before, None for the first.
        @param limit: records at most; never more than `logpages.MAX_RECORDS`.
        @return: `{"records": [...], "cursor": ...}`; the cursor is None after the last page.
        """

        def refuse(failure: Failure) -> NoReturn:
            failure.trap(ValueError, TypeError)
            raise ApplicationError("org.paradrop.error.invalid_argument", str(failure.value))

        def read() -> dict[str, Any]:
            out.flush()
            return logpages.read(settings.LOG_DIR, since, cursor, limit)

        page = deferToThread(read)
        page.addErrback(refuse)
        return page

    def configure(self, pdid: str, changes: dict[str, Any] | None = None) -> dict[str, Any]:
        """
        The settings, after `changes` (new values by name) have been applied and kept. Those that
        can cost the session are on trial (see `paradrop.daemon.trial`).

        @raise ApplicationError: `org.paradrop.error.invalid_setting`; nothing was changed.
        """
        try:
            if changes:
                tried = configuration.change(changes)
                out.info(f"settings changed: {', '.join(sorted(changes))}")
                self._life.settingsChanged(tried)
        except SettingsError as error:
            raise ApplicationError("org.paradrop.error.invalid_setting", str(error)) from error
        return configuration.current()

    def onUpdatesPending(self, pdid: str, *details: Any, **more: Any) -> None:
        self._life.updatesPending(*details)
