"""The machine's links and routes, as its kernel tells of them (rtnetlink(7), by pyroute2)."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from paradrop.base.output import out

UNICAST, LOCAL_TABLE = 1, 255
"""`RTN_UNICAST` and `RT_TABLE_LOCAL` of linux/rtnetlink.h."""


class LinkWatch:
    """
    Calls back, in a thread of its own, whenever a link comes up, gets an address, or a route
    appears: all that may let a connection succeed that failed before.

    One thread serves the process; it starts with the first subscriber. Where pyroute2 is not
    installed, or the kernel does not tell, nobody is ever called.
    """

    def __init__(self) -> None:
        self.watching = threading.Event()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._callbacks: tuple[Callable[[], object], ...] = ()
        self._up: dict[int, bool] = {}

    def subscribe(self, callback: Callable[[], object]) -> None:
        with self._lock:
            self._callbacks = (*self._callbacks, callback)
            if self._thread is None:
                self._thread = threading.Thread(target=self._watch, name="LinkWatch", daemon=True)
                self._thread.start()

    def unsubscribe(self, callback: Callable[[], object]) -> None:
        """Unknown callbacks are ignored."""
        with self._lock:
            self._callbacks = tuple(known for known in self._callbacks if known != callback)

    def _watch(self) -> None:
        try:
            from pyroute2 import IPRoute  # type: ignore[import-untyped]  # takes seconds on a small router: not for the reactor
        except ImportError:
            return
        try:
            with IPRoute() as kernel:
                kernel.bind()
                for link in kernel.get_links():
                    self._up[link["index"]] = _is_up(link)
                self.watching.set()
                while True:
                    for message in kernel.get():
                        if self._is_news(message):
                            for callback in self._callbacks:
                                callback()
        except Exception as error:  # a convenience, never worth a daemon
            out.warn(f"links are not watched: {type(error).__name__}: {error}")
            self.watching.clear()
            self._thread = None  # the next subscriber tries anew

    def _is_news(self, message: Any) -> bool:
        match message.get("event"):
            case "RTM_NEWLINK":
                was = self._up.get(message["index"], False)
                self._up[message["index"]] = now = _is_up(message)
                return now and not was
            case "RTM_DELLINK":
                self._up.pop(message["index"], None)
            case "RTM_NEWADDR":
                return True
            case "RTM_NEWROUTE":
                return bool(message["type"] == UNICAST and message["table"] != LOCAL_TABLE)
        return False


def _is_up(link: Any) -> bool:
    """Whether it can carry packets (RFC 2863, `ifOperStatus`)."""
    return bool(link.get_attr("IFLA_OPERSTATE") == "UP")


links = LinkWatch()
