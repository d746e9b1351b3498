"""What ends the wait for the next attempt to connect, because the attempt may succeed now."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from paradrop.base import settings, tls
from paradrop.base.link import LinkWatch
from paradrop.base.probe import Probe

STEP = 1.0
"""Seconds by which a clock has to be set to count; it is adjusted by less all the time."""


class Wakeups:
    """
    Watches, while a connection waits: the links and routes of this machine, the port of the router,
    and what its certificate is judged by.

    @param hasten: called with what has happened.
    @param over_link: called instead, in the thread that watches, when a link or a route comes up.
    @ivar looks: connections that were only tried to see whether the router is back.
    """

    def __init__(
        self,
        reactor: Any,
        links: LinkWatch,
        over_link: Callable[[], object],
        hasten: Callable[[str], object],
    ) -> None:
        self._reactor = reactor
        self._links = links
        self._over_link = over_link
        self._hasten = hasten
        self._watch_timer: Any = None
        self._trust_timer: Any = None
        self._trust = Trust()
        self._probe: Probe | None = None
        self._looks = 0

    @property
    def looks(self) -> int:
        return self._looks + (self._probe.looks if self._probe is not None else 0)

    def attempt_began(self) -> None:
        """The wait is over."""
        self._end_probe()
        _cancel(self._trust_timer)
        self._trust = Trust()

    def watch_links(self, after: float) -> None:
        """
        Until a session has joined.

        @param after: seconds.
        """
        if self._watch_timer is None:
            self._watch_timer = self._reactor.callLater(
                after, self._links.subscribe, self._over_link
            )

    def watch_port(self, host: str, port: int, random: Any) -> None:
        """Until the next attempt begins."""
        self._probe = Probe(
            self._reactor, host, port, random, lambda: self._hasten("the router answers")
        )
        self._probe.start()

    def watch_trust(self) -> None:
        """Until the next attempt begins."""
        news = self._trust.news()
        if news:
            self._hasten(news)
        else:
            self._trust_timer = self._reactor.callLater(1, self.watch_trust)

    def joined(self) -> None:
        """Nothing has to be watched any more."""
        _cancel(self._watch_timer)
        self._watch_timer = None
        self._links.unsubscribe(self._over_link)

    def stop(self) -> None:
        self.joined()
        self._end_probe()
        _cancel(self._trust_timer)

    def _end_probe(self) -> None:
        if self._probe is not None:
            self._looks += self._probe.looks
            self._probe.stop()
            self._probe = None


class Trust:
    """
    What certificates are judged by, as it was when this was made: the clock, and the settings and
    files of TLS.

    A clock that is set is seen by comparing it with the one that only runs.
    """

    def __init__(self) -> None:
        self._offset = _clock_offset()
        self._files = _files()

    def news(self) -> str:
        """@return: what has changed since; "" for nothing."""
        if abs(_clock_offset() - self._offset) > STEP:
            return "the clock was set"
        if _files() != self._files:
            return "the settings or files of TLS have changed"
        return ""


def _clock_offset() -> float:
    return time.time() - time.monotonic()


def _files() -> list[Any]:
    found: list[Any] = [settings.WAMP_TLS_VERIFY]
    for name in tls.files():
        try:
            status = Path(name).stat()
        except (OSError, ValueError):
            found.append((name, None))
        else:
            found.append((name, status.st_mtime_ns, status.st_size, status.st_ino))
    return found


def _cancel(timer: Any) -> None:
    if timer is not None and timer.active():
        timer.cancel()
