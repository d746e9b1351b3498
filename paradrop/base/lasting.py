"""Which sessions last, so that the waits before the next attempts start over."""

from __future__ import annotations


class Lasting:
    """
    Judges the sessions of one connection when they are lost.

    A session counts from its join to the last sign of life of the router: the time that it takes
    to notice that a router is silent is no part of it. It lasted when that is `least` seconds or
    more. When one that lasted was shorter than `STEADY` times that, the later ones have to be as
    long as `STEADY` says, until one is: a router that ends every session after a little more than
    `least` seconds is joined ever more rarely, too.
    """

    STEADY = 6

    def __init__(self) -> None:
        self._joined_at = 0.0
        self._over_at: float | None = None
        self._broken = False
        self._has_to_be_steady = False

    def joined(self, now: float) -> None:
        self._joined_at, self._over_at, self._broken = now, None, False

    def broken(self) -> None:
        """The session is ready, but of no use: its `onJoin` has failed."""
        self._broken = True

    def over(self, last_sign_of_life: float) -> None:
        """The session is lost; of several reports the first one counts."""
        if self._over_at is None:
            self._over_at = last_sign_of_life

    def judge(self, least: float) -> bool:
        """@return: whether the session that is over lasted."""
        lasted = (self._over_at or 0.0) - self._joined_at
        steady = least * self.STEADY
        needed = steady if self._has_to_be_steady else least
        if lasted >= least:
            self._has_to_be_steady = lasted < steady
        return lasted >= needed and not self._broken
