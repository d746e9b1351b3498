"""
Changes of settings on trial: kept if the router stays in reach with them, else taken back.

As `commit confirmed` of routers does it (RFC 6241, section 8.4), but it is the session that
confirms: one that began with the new settings and has lasted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from paradrop.base import settings, tls
from paradrop.base.exceptions import SettingsError
from paradrop.base.output import out
from paradrop.daemon import unconfirmed

OF_A_CONNECTION = frozenset(
    {
        "CONFIG_FILE",
        "KEY_DIR",
        "WAMP_CA_FILE",
        "WAMP_CLIENT_CERT",
        "WAMP_CLIENT_KEY",
        "WAMP_PING_INTERVAL",
        "WAMP_PING_TIMEOUT",
        "WAMP_TLS_VERIFY",
    }
)
"""Tried at once, on a connection that is made for it."""

OF_A_START = frozenset({"LOG_DIR", "MISC_DIR", "RUNTIME_HOME_DIR"})
"""Tried when the daemon starts the next time."""


class Trial:
    """
    @param again: connects anew, with the settings as they are.
    @ivar names: settings that a session is awaited for; without any, nothing happens here.
    """

    JOIN_WITHIN = 60.0
    """Seconds without a session until the changes are taken back."""
    LASTING = 10.0
    """Seconds that a session lasts at least to confirm them; never less than a ping may take."""
    LOSSES = 2
    """Sessions that may not last until they are taken back."""
    TRY_AGAIN = 60.0
    """Seconds until a disk that took nothing is tried again."""

    def __init__(self, reactor: Any, again: Callable[[], None]) -> None:
        self.names: set[str] = set()
        self._reactor = reactor
        self._again = again
        self._timer: Any = None
        self._ready = False
        self._losses = 0

    def start(self) -> None:
        """The daemon has started: whatever is not confirmed yet is used from now on."""
        self._begin(unconfirmed.read(unconfirmed.settings_file()))
        if self.names:
            self._reactor.callLater(0, self._check_files)

    def changed(self, names: Iterable[str]) -> None:
        """Settings were changed, and have to show what they are worth."""
        tried = OF_A_CONNECTION.intersection(names)
        if tried:
            self._begin(tried)
            self._reactor.callLater(0, self._try)  # after the answer to who changed them

    def _begin(self, names: Iterable[str]) -> None:
        self.names.update(names)
        self._ready, self._losses = False, 0
        if self.names:
            self._wait(self.JOIN_WITHIN, self._not_joined)

    def _try(self) -> None:
        if self._check_files():
            self._again()

    def _check_files(self) -> bool:
        """Files that can't be used need no attempt."""
        try:
            tls.client_options("localhost")
        except SettingsError as error:
            self.fail(str(error))
            return False
        return True

    def ready(self) -> None:
        """There is a session."""
        if self.names:
            self._ready = True
            ping = settings.number("WAMP_PING_INTERVAL") + settings.number("WAMP_PING_TIMEOUT")
            self._wait(max(self.LASTING, ping + 2), self._confirm)

    def lost(self, reason: str) -> None:
        """There is none any more."""
        if not (self.names and self._ready):
            return
        self._ready = False
        self._losses += 1
        if self._losses >= self.LOSSES:
            self.fail(f"{self._losses} sessions did not last, the last one: {reason}")
        else:
            self._wait(self.JOIN_WITHIN, self._not_joined)

    def fail(self, reason: str) -> bool:
        """
        No session can be had. What is on trial is taken back, and tried no more.

        @return: whether there was anything, and the router connects anew.
        """
        if not self.names:
            return False
        try:
            taken = unconfirmed.take_back(unconfirmed.settings_file(), self.names)
        except (OSError, SettingsError) as error:
            out.err(f"changed settings cannot be taken back now: {error}")
            self._wait(self.TRY_AGAIN, lambda: self.fail(reason))
            return False
        self._end()
        use_again(taken)
        text, extra = unconfirmed.reverted(taken, reason)
        out.err(text, extra=extra)
        self._reactor.callLater(0, self._again)
        return True

    def _not_joined(self) -> None:
        self.fail(f"no session within {self.JOIN_WITHIN:g} s")

    def _confirm(self) -> None:
        try:
            unconfirmed.confirm(unconfirmed.settings_file(), self.names)
        except OSError as error:
            out.err(f"changed settings cannot be confirmed now: {error}")
            self._wait(self.TRY_AGAIN, self._confirm)
            return
        names = sorted(self.names)
        out.info(
            f"changed settings are confirmed: {', '.join(names)}",
            extra={"event": "config.confirmed", "settings": names},
        )
        self._end()

    def _end(self) -> None:
        self.names.clear()
        self._ready = False
        self._cancel()

    def _wait(self, seconds: float, then: Callable[[], object]) -> None:
        self._cancel()
        self._timer = self._reactor.callLater(seconds, then)

    def _cancel(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()


def use_again(names: Iterable[str]) -> None:
    """Use what the sources say of some settings; what the program has changed of others stays."""
    given = set(names)
    own = {one.name: one.value for one in settings.describe() if one.source == "program"}
    settings.reload(ignored=[])
    for name, value in own.items():
        if name not in given:
            setattr(settings, name, value)
