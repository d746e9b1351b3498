"""
The command centre of a router daemon: its state, its keys, its session.

    from paradrop.base import nexus
    nexus.core = MyNexus()      # a subclass of NexusBase
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from paradrop.base import address, identity, output, settings
from paradrop.base.attributes import AttrWrapper as AttrWrapper
from paradrop.base.exceptions import ParadropException
from paradrop.base.lockfile import lock_beside
from paradrop.base.statefile import Key, StateFile
from paradrop.base.states import State

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred
    from twisted.python.failure import Failure

core: Any = None
"""The nexus of this process; whoever makes it assigns it."""


@dataclass
class _Transaction:
    keys: dict[str, Key] = field(default_factory=dict)
    provisioning: bool = False


class NexusBase:
    """
    State and keys of a router, and its session with the WAMP router.

    The state is `info`: `pdid` (None: not provisioned), `version`, `pdserver` and `wampRouter`,
    kept in `settings.CONFIG_FILE`, saved whenever an attribute is written. What else is in that
    file is kept. Logging starts into `settings.LOG_DIR`. `onStart` is called once the reactor runs
    and `onStop` before it shuts down; the reactor itself is the caller's to run.

    The folder of the state file is this process's until it ends; `paradropd provision`, which may
    be run beside it, changes the state in one step, for `reload`.

    @param stealStdio: whether what is printed becomes log records.
    @param printToConsole: whether log records appear on the console.
    @raise ParadropException: another process uses the state file, or it is of a later version.
    @raise OSError: the state file or the log folder cannot be used.
    """

    VERSION = identity.VERSION
    PDID: str | None = None

    def __init__(self, stealStdio: bool = True, printToConsole: bool = True) -> None:
        from twisted.internet import reactor as _reactor

        from paradrop.base.saver import Saver

        reactor: Any = _reactor
        self.session: Any = None
        self.wamp_connected = False
        self.jwt_valid = False
        self._client: Any = None
        self._leaving: Callable[[], Deferred[None]] = _closed
        self._connecting: Deferred[Any] | None = None
        self._attempt: object = None
        self._lock = lock_beside(settings.CONFIG_FILE)
        self._state: StateFile | None = None
        self._transaction: _Transaction | None = None
        self._saver: Saver | None = Saver(self._begin_save, reactor)
        output.out.startLogging(
            filePath=settings.LOG_DIR, stealStdio=stealStdio, printToConsole=printToConsole
        )
        self.info = AttrWrapper()
        resolveInfo(self, settings.CONFIG_FILE)
        self.info.setOnChange(self.onInfoChange)
        if reactor.running:  # not before a subclass has finished its own __init__
            reactor.callLater(0, self.onStart)
        else:
            reactor.callWhenRunning(self.onStart)
        reactor.addSystemEventTrigger("before", "shutdown", self._stop)

    def onStart(self) -> object:
        """Called once the reactor runs; for subclasses."""
        return None

    def onStop(self) -> Deferred[None]:
        """
        Called before the reactor shuts down: leaves the session, has all saves on the disk,
        flushes the logs.

        @return: fires when all of it is done; the reactor waits for it.
        """
        done = self.disconnect()
        done.addBoth(lambda _: self._finish_saves())
        done.addBoth(lambda _: output.out.endLogging())
        return done

    def _stop(self) -> Deferred[None]:
        from paradrop.base.coroutines import result_of

        stopped: Deferred[Any] = result_of(self.onStop)
        stopped.addErrback(lambda failure: output.out.err(f"onStop: {failure.getTraceback()}"))
        stopped.addBoth(lambda _: self._finish_saves())  # a subclass may have its own onStop

        def end(_: object) -> None:
            self._saver = None  # from here on the threads of the reactor are not to be had
            self._lock.release()

        return stopped.addBoth(end)

    def connect(self, sessionClass: Any, debug: bool = False) -> Deferred[Any]:
        """
        Join the WAMP router of `info` as the router of `info`.

        A session that there is, and an attempt that has not joined yet, end first.

        @param sessionClass: a subclass of `paradrop.base.cxbr.BaseSession`.
        @return: fires with the session; a later call of `connect` or `disconnect` cancels it.
        """
        attempt = object()

        def start(_: None) -> Any:
            if self._attempt is not attempt:
                raise _cancelled_error()
            starting = sessionClass.start(self.info.wampRouter, self.info.pdid, debug=debug)
            self._client = getattr(starting, "client", None)
            if self._client is not None:
                self._client.observe(self.onConnectionState)
            return starting

        def keep(session: Any) -> Any:
            self.session = session
            return session

        left = self.disconnect()
        self._attempt = attempt
        self._connecting = left.addCallback(start).addCallback(keep)
        return self._connecting

    def disconnect(self) -> Deferred[None]:
        """
        Leave the session that there is, give up the attempt that has not joined yet.

        @return: fires when the session is closed; never fails.
        """
        from paradrop.base.coroutines import result_of

        connecting, self._connecting, self._attempt = self._connecting, None, None
        session, self.session = self.session, None
        client, self._client = self._client, None
        self.wamp_connected = False
        if connecting is not None:
            connecting.cancel()  # nothing happens if it is over
        if session is None and client is None:
            return self._leaving()
        if client is not None:
            self._leaving = client.goodbye

        def report(failure: Failure) -> None:
            output.out.warn(f"the session did not close well: {failure.getErrorMessage()}")

        leave = session.leave if session is not None else client.goodbye
        left: Deferred[Any] = result_of(leave)
        return left.addErrback(report).addCallback(lambda _: None)

    @property
    def connection_state(self) -> State:
        """Where the router is on its way to a session."""
        if self._client is not None:
            state: State = self._client.state
            return state
        return State.STOPPED if self.provisioned() else State.UNPROVISIONED

    def onConnectionState(self, was: State, now: State, reason: str) -> None:
        """Called after every change of the state of the connection; for subclasses. What trying
        again does not cure, such as a refused token, is `State.AUTH_FAILED`."""

    def onInfoChange(self, key: str, value: Any) -> None:
        """Called after an attribute of `info` was written: saves."""
        if key == "pdid":
            _know_as(self, value)
        saved: Any = self.save()
        if saved is not None:  # as a subclass may have it
            saved.addErrback(_report_unsaved)

    def save(self) -> Deferred[None]:
        """
        Write the state.

        In the thread of a running reactor this does not wait for the disk: a thread writes, once
        for all saves of a turn of the reactor and for all that are asked for while it writes.
        Anywhere else the state is on the disk when this returns. Within a `transaction` nothing
        is written before its end.

        @return: fires when the state, as it is now or later, is on the disk. Fails with an OSError
            if the file still holds the state saved before, whole.
        @raise OSError: where this waits for the disk, instead.
        """
        from twisted.internet import reactor as _reactor
        from twisted.internet.defer import succeed
        from twisted.python.threadable import isInIOThread

        reactor: Any = _reactor
        if self._transaction is not None:  # which ends with a save
            return succeed(None)
        if self._saver is not None and reactor.running and isInIOThread():
            return self._saver.save()
        self._begin_save()()
        return succeed(None)

    def _begin_save(self) -> Callable[[], None]:
        state = self._state_file()
        taken = state.snapshot(self.info.contents)
        return lambda: state.store(taken)

    def _finish_saves(self) -> Deferred[None]:
        from twisted.internet.defer import succeed

        if self._saver is None:
            return succeed(None)
        return self._saver.finish().addErrback(_report_unsaved)

    def _state_file(self) -> StateFile:
        if self._state is None or self._state.path != Path(settings.CONFIG_FILE):
            self._state = StateFile(settings.CONFIG_FILE)
        return self._state

    def provisioned(self) -> bool:
        """Whether this router has been given its pdid."""
        return self.info.pdid is not None

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """
        Make one step, which survives a power cut, of all changes of `info` and of keys in a block:

            with core.transaction():
                core.provision("pd-1", wampRouter="wss://router.example/ws")
                core.saveKey(token, "apitoken")

        When the block ends, all of it is on the disk. Until then nothing is, but `info` and
        `getKey` show what is new already. Within another transaction it is part of that one. The
        block waits for nothing: no `yield`, no `await`.

        @raise OSError: nothing was changed, here or (see `paradrop.base.durable`) on the disk.
            The same holds for everything that the block raises.
        """
        if self._transaction is not None:
            yield
            return
        before = dict(self.info.contents)
        self._transaction = current = _Transaction()
        try:
            yield
            state = self._state_file()
            state.store(state.snapshot(self.info.contents), current.keys, current.provisioning)
        except BaseException:
            _adopt(self, before)
            raise
        finally:
            self._transaction = None
        if current.keys.get(identity.TOKEN_KEY) is not None:
            self._try_new_token()

    def provision(
        self, pdid: str, pdserver: str | None = None, wampRouter: str | None = None
    ) -> None:
        """
        Give the router its identity; it is on the disk when this returns. Its token is a matter of
        `saveKey`, in one `transaction` with this, or of `provision_with_token`.

        @param pdserver: URL of the server, default `settings.PDSERVER`.
        @param wampRouter: URL of the WAMP router, default `settings.WAMP_ROUTER`.
        @raise ParadropException: it is no pdid, or the address of the WAMP router cannot be used;
            the router is who it was.
        @raise OSError: the router is who it was.
        """
        router = settings.WAMP_ROUTER if wampRouter is None else wampRouter
        self._become(
            pdid=identity.check_pdid(pdid),
            pdserver=settings.PDSERVER if pdserver is None else pdserver,
            wampRouter=address.check(router),
        )

    def provision_with_token(
        self, pdid: str, token: str, pdserver: str | None = None, wampRouter: str | None = None
    ) -> None:
        """
        As `provision`, with the API token: after a power cut there are both or neither.

        @raise ParadropException: as well if it is no token.
        """
        if not identity.is_token(token):
            raise ParadropException("an API token is one line of printable text, and this is none")
        with self.transaction():
            self.provision(pdid, pdserver, wampRouter)
            self.saveKey(token, identity.TOKEN_KEY)

    def deprovision(self) -> None:
        """
        Take the router its identity and its API token, in one step that is on the disk when this
        returns. Other keys stay. The session is not touched.

        @raise OSError: the router is who it was.
        """
        with self.transaction():
            self._become(**identity.default_info())
            assert self._transaction is not None
            self._transaction.keys[identity.TOKEN_KEY] = None

    def _become(self, **identity_fields: Any) -> None:
        with self.transaction():
            assert self._transaction is not None
            self._transaction.provisioning = True
            _adopt(self, self.info.contents | {"version": identity.VERSION} | identity_fields)

    def reload(self) -> None:
        """
        Take the state from the disk, where another process may have changed it.

        @raise ParadropException: see `resolveInfo`; the state is the one that it was.
        @raise OSError: likewise.
        """
        if self._saver is not None and self._saver.busy:
            self._begin_save()()  # or what is to be saved would be forgotten
        resolveInfo(self, settings.CONFIG_FILE)

    def saveKey(self, key: str | bytes, name: str) -> None:
        """
        Keep a key, and keep it out of the log. It is on the disk when this returns, or when the
        transaction ends. See `paradrop.base.identity.write_key`. A connection that waits, because
        the API token was refused, tries at once with a new one.
        """
        output.out.conceal(key)
        if self._transaction is None:
            identity.write_key(key, name)
            if name == identity.TOKEN_KEY:
                self._try_new_token()
        else:
            identity.key_path(name)
            self._transaction.keys[name] = key

    def _try_new_token(self) -> None:
        if self._client is not None:
            self._client.try_now("the key has changed")

    def getKey(self, name: str) -> str | bytes | None:
        """
        Read a key, and keep it out of the log.

        @return: text where the key is UTF-8, else bytes; None where there is no such key.
        @raise ParadropException: the name would leave the key folder.
        """
        if self._transaction is not None and name in self._transaction.keys:
            kept = self._transaction.keys[name]
            return None if kept is None else identity.key_value(identity.key_content(kept)[0])
        key = identity.read_key(name)
        if key is not None:
            output.out.conceal(key)
        return key


def _report_unsaved(failure: Failure) -> None:
    output.out.err(
        f"the state could not be saved: {failure.getErrorMessage()}",
        extra={"event": "state.unsaved"},
    )


def _closed() -> Deferred[None]:
    from twisted.internet.defer import succeed

    return succeed(None)


def _cancelled_error() -> Exception:
    from twisted.internet.defer import CancelledError

    return CancelledError()


def _adopt(nexus: Any, contents: Mapping[str, Any]) -> None:
    """Take a state that is on the disk already: nobody is told, nothing is saved."""
    nexus.info.contents.clear()
    nexus.info.contents.update(contents)
    _know_as(nexus, contents["pdid"])


def _know_as(nexus: Any, pdid: str | None) -> None:
    nexus.PDID = pdid
    output.out.pdid = pdid or "UNSET"


def resolveInfo(nexus: Any, path: str | os.PathLike[str]) -> None:
    """
    Load the state file into `nexus.info`. A missing file becomes the default; one that is not
    valid is kept aside under another name, reported and replaced by the default. Keys stay.

    @raise ParadropException: the file is of a later version; it was not touched.
    @raise OSError: the file cannot be read, or the default cannot be written.
    """
    state = StateFile(path)  # one that is still written by has a state of its own to compare with
    contents, damaged = state.load()
    for aside in damaged:
        output.out.security(
            f"{aside.parent}: a damaged file was found, and is kept as {aside.name}",
            extra={"event": "state.invalid", "kept": str(aside)},
        )
    nexus._state = state
    _adopt(nexus, contents)


def createDefaultInfo(path: str | os.PathLike[str]) -> None:
    """Write the state of a router that nobody has provisioned."""
    writeYaml(identity.default_info(), path)


def validateInfo(contents: object) -> bool:
    """Whether `contents` is a mapping with `version`, `pdid`, `pdserver` and `wampRouter`."""
    return identity.is_valid(contents)


def writeYaml(contents: Mapping[str, Any], path: str | os.PathLike[str]) -> None:
    """Replace the file at `path` by the YAML of `contents`, durably and in one step."""
    identity.write_yaml(contents, path)
