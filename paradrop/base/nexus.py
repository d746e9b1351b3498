"""
The command centre of a router daemon: its state, its keys, its session.

    from paradrop.base import nexus
    nexus.core = MyNexus()      # a subclass of NexusBase
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from paradrop.base import identity, output, settings

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred

core: Any = None
"""The nexus of this process; whoever makes it assigns it."""


class AttrWrapper:
    """
    Attributes kept in a dictionary, `contents`, with somebody told of every change.

    Fill it, then `setOnChange`, or `_lock` it against any change.
    """

    contents: dict[str, Any]

    def __init__(self) -> None:
        self.__dict__.update(contents={}, locked=False, onChange=None)

    def __getattr__(self, name: str) -> Any:
        contents = self.__dict__.get("contents", {})
        if name not in contents:
            raise AttributeError(f"no attribute {name!r}")
        return contents[name]

    def __setattr__(self, name: str, value: Any) -> None:
        if self.__dict__["locked"]:
            raise AttributeError(f"{name!r} cannot be set: the attributes are locked")
        self.__dict__["contents"][name] = value
        if self.__dict__["onChange"] is not None:
            self.__dict__["onChange"](name, value)

    def __repr__(self) -> str:
        return repr(self.__dict__.get("contents"))

    def _lock(self) -> None:
        """Make every later write an AttributeError."""
        self.__dict__["locked"] = True

    def setOnChange(self, func: Callable[[str, Any], object]) -> None:
        """Have `func(key, value)` called after every write."""
        self.__dict__["onChange"] = func


class NexusBase:
    """
    State and keys of a router, and its session with the WAMP router.

    The state is `info`: `pdid` (None: not provisioned), `version`, `pdserver` and `wampRouter`,
    kept in `settings.CONFIG_FILE`, saved whenever an attribute is written. Logging starts into
    `settings.LOG_DIR`. `onStart` is called once the reactor runs and `onStop` before it shuts
    down; the reactor itself is the caller's to run.

    @param stealStdio: whether what is printed becomes log records.
    @param printToConsole: whether log records appear on the console.
    @raise OSError: the state file or the log folder cannot be used.
    """

    VERSION = identity.VERSION
    PDID: str | None = None

    def __init__(self, stealStdio: bool = True, printToConsole: bool = True) -> None:
        from twisted.internet import reactor as _reactor

        reactor: Any = _reactor
        self.session: Any = None
        self.wamp_connected = False
        self.jwt_valid = False
        self._connecting: Deferred[Any] | None = None
        self._attempt: object = None
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
        reactor.addSystemEventTrigger("before", "shutdown", self.onStop)

    def onStart(self) -> object:
        """Called once the reactor runs; for subclasses."""
        return None

    def onStop(self) -> Deferred[None]:
        """
        Called before the reactor shuts down: leaves the session, flushes the logs.

        @return: fires when both are done; the reactor waits for it.
        """
        done = self.disconnect()
        done.addBoth(lambda _: output.out.endLogging())
        return done

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
            return sessionClass.start(self.info.wampRouter, self.info.pdid, debug=debug)

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
        from twisted.internet.defer import maybeDeferred, succeed
        from twisted.python.failure import Failure

        connecting, self._connecting, self._attempt = self._connecting, None, None
        session, self.session = self.session, None
        self.wamp_connected = False
        if connecting is not None:
            connecting.cancel()  # nothing happens if it is over
        if session is None:
            return succeed(None)

        def report(failure: Failure) -> None:
            output.out.warn(f"the session did not close well: {failure.getErrorMessage()}")

        left: Deferred[Any] = maybeDeferred(session.leave)
        return left.addErrback(report).addCallback(lambda _: None)

    def onInfoChange(self, key: str, value: Any) -> None:
        """Called after an attribute of `info` was written: saves."""
        if key == "pdid":
            _know_as(self, value)
        self.save()

    def save(self) -> None:
        """Write the state; when this returns, it is on the disk.

        @raise OSError: the file still holds the state saved before, whole.
        """
        writeYaml(self.info.contents, settings.CONFIG_FILE)

    def provisioned(self) -> bool:
        """Whether this router has been given its pdid."""
        return self.info.pdid is not None

    def provision(
        self, pdid: str, pdserver: str | None = None, wampRouter: str | None = None
    ) -> None:
        """
        Give the router its identity, in one save; its keys are a matter of `saveKey`.

        @param pdserver: URL of the server, default `settings.PDSERVER`.
        @param wampRouter: URL of the WAMP router, default `settings.WAMP_ROUTER`.
        """
        contents = self._provisioned_as(pdid, pdserver, wampRouter)
        writeYaml(contents, settings.CONFIG_FILE)
        _adopt(self, contents)

    def provision_with_token(
        self, pdid: str, token: str, pdserver: str | None = None, wampRouter: str | None = None
    ) -> None:
        """As `provision`, with the API token: token first, so that neither is there alone."""
        contents = self._provisioned_as(pdid, pdserver, wampRouter)
        identity.store_identity(contents, token, settings.CONFIG_FILE)
        _adopt(self, contents)

    def reload(self) -> None:
        """Take the state from the disk, where another process may have changed it."""
        resolveInfo(self, settings.CONFIG_FILE)

    def _provisioned_as(
        self, pdid: str, pdserver: str | None, wampRouter: str | None
    ) -> dict[str, Any]:
        return self.info.contents | {
            "pdid": pdid,
            "version": self.VERSION,
            "pdserver": settings.PDSERVER if pdserver is None else pdserver,
            "wampRouter": settings.WAMP_ROUTER if wampRouter is None else wampRouter,
        }

    def saveKey(self, key: str | bytes, name: str) -> None:
        """Keep a key; see `paradrop.base.identity.write_key`."""
        identity.write_key(key, name)

    def getKey(self, name: str) -> str | bytes | None:
        """
        @return: text where the key is UTF-8, else bytes; None where there is no such key.
        @raise ParadropException: the name would leave the key folder.
        """
        return identity.read_key(name)


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
    valid is kept aside under another name, reported and replaced by the default.

    @raise OSError: the file cannot be read, or the default cannot be written.
    """
    contents, aside = identity.read_info(path)
    if aside is not None:
        output.out.err(
            f"{path} was not valid: kept as {aside.name}, starting from the default",
            extra={"event": "state.invalid", "kept": str(aside)},
        )
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
