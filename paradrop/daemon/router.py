"""The daemon itself: which session it wants, from its start to its end."""

from __future__ import annotations

import signal
import time
from collections.abc import Generator, Iterable, Sequence
from typing import Any

from twisted.internet import reactor as _reactor
from twisted.internet.defer import CancelledError, Deferred, inlineCallbacks
from twisted.python.failure import Failure

import paradrop
from paradrop.base import address, identity, nexus, settings
from paradrop.base.disk import condition
from paradrop.base.exceptions import ParadropException
from paradrop.base.output import out
from paradrop.base.states import State
from paradrop.daemon import provisioning
from paradrop.daemon.session import RouterSession
from paradrop.daemon.trial import Trial

reactor: Any = _reactor

Note = tuple[str, dict[str, Any]]


class RouterDaemon(nexus.NexusBase):
    """
    A router that wants to be joined: as itself if it is provisioned, else as its batch first.

    @ivar started: seconds of `time.monotonic`.
    @ivar sessions: joins since then.
    @ivar heartbeats: of all sessions.
    @ivar notes: text and extra of error records that are due when logging has started.
    """

    notes: Sequence[Note] = ()

    sessionClass: type[RouterSession] = RouterSession

    def __init__(self, stealStdio: bool = True, printToConsole: bool = True) -> None:
        self.started = time.monotonic()
        self.sessions = 0
        self.heartbeats = 0
        self._establishing: Deferred[None] | None = None
        self._again: Any = None
        self._trial = Trial(reactor, self._connect_again)
        super().__init__(stealStdio, printToConsole)

    def onStart(self) -> None:
        out.info(
            f"paradropd {paradrop.__version__} started",
            extra={"event": "daemon.started", "version": paradrop.__version__},
        )
        disk = condition(settings.CONFIG_HOME_DIR)
        if disk != "ok":
            out.err(
                f"the disk of {settings.CONFIG_HOME_DIR.rstrip('/')} is {disk}: logs, keys and "
                "settings cannot be kept",
                extra={"event": "disk.trouble", "disk": disk},
            )
        for text, extra in self.notes:
            out.err(text, extra=extra)
        self._trial.start()
        self.establish()

    def onStop(self) -> Deferred[None]:
        self._give_up()
        out.info("paradropd stops", extra={"event": "daemon.stopped"})
        return super().onStop()

    def updatesPending(self, *details: Any) -> None:
        """The operator says that there are updates; for an owner to override."""
        out.info("updates are pending", extra={"event": "updates.pending", "args": details})

    def settingsChanged(self, names: Iterable[str]) -> None:
        """The operator has changed settings, which are kept and used from now on."""
        self._trial.changed(names)

    def onConnectionState(self, was: State, now: State, reason: str) -> None:
        if now is State.READY:
            self._trial.ready()
        elif now is State.AUTH_FAILED:
            self._trial.fail(reason)
        elif was is State.READY:
            self._trial.lost(reason)

    def reread(self) -> None:
        """Take the identity from the disk, and connect as what it says."""
        out.info("the identity is read again", extra={"event": "daemon.reload"})
        self._connect_again()

    def _connect_again(self) -> None:
        try:
            self.reload()
        except (ParadropException, OSError) as error:
            out.err(f"the state cannot be read: {error}")
            return
        self.establish()

    def establish(self) -> None:
        """Give up what is under way, and start to get the session that is wanted."""
        self._give_up()
        establishing = self._establish()
        self._establishing = establishing
        establishing.addErrback(self._failed)

    def _give_up(self) -> None:
        if self._again is not None and self._again.active():
            self._again.cancel()
        establishing, self._establishing = self._establishing, None
        if establishing is not None and not establishing.called:
            establishing.cancel()

    @inlineCallbacks
    def _establish(self) -> Generator[Deferred[Any], Any, None]:
        if not (self.provisioned() and self.getKey(identity.TOKEN_KEY)):
            if self._trial.fail("the identity of the router is not there"):
                return
            batch = provisioning.read_batch()
            if batch is None:
                out.warn(
                    f"not provisioned: run `paradropd provision`, or put {provisioning.FILE_NAME} "
                    f"into {settings.CONFIG_HOME_DIR} and send SIGHUP",
                    extra={"event": "daemon.unprovisioned"},
                )
                yield self.disconnect()
                return
            server = address.shown(batch.server)
            out.info(f"asking {server} for an identity, as batch {batch.id}")
            given = yield provisioning.request(batch)
            self.provision_with_token(given.pdid, given.token, wampRouter=given.router)
            out.info(
                f"provisioned as {given.pdid}",
                extra={"event": "daemon.provisioned", "pdid": given.pdid},
            )
        yield self.connect(self.sessionClass)

    def _failed(self, failure: Failure) -> None:
        if failure.check(CancelledError) or self._trial.fail(failure.getErrorMessage()):
            return
        delay = settings.number("WAMP_MAX_DELAY")
        known = failure.check(ParadropException, OSError) is not None
        out.err(
            f"no session, tried again in {delay:g} s: {failure.getErrorMessage()}",
            extra={} if known else {"traceback": failure.getTraceback()},
        )
        self._again = reactor.callLater(delay, self.reread)


def run(notes: Sequence[Note] = ()) -> int:
    """
    Run the daemon until SIGTERM or SIGINT.

    @param notes: see `RouterDaemon`.
    @return: the exit code.
    @raise OSError: the state or the log folder cannot be used.
    """
    # Twisted's timers follow the wall clock; on a router that one jumps, and they would stall.
    reactor.seconds = time.monotonic
    # Before the state is read, so that no change of it goes unheard.
    signal.signal(signal.SIGHUP, lambda *_: reactor.callFromThread(lambda: nexus.core.reread()))
    nexus.core = RouterDaemon()
    nexus.core.notes = notes
    reactor.run()
    return 0
