"""Values of settings: read from text, and compared with the type and the range of a setting."""

from __future__ import annotations

import math
import os
from typing import Any, NamedTuple

from paradrop.base.address import shown
from paradrop.base.exceptions import SettingsError

Value = bool | int | float | str | None


class Range(NamedTuple):
    """
    The numbers that a setting can be.

    @ivar off: what 0 means, where 0 is a value of its own below `least`; else "".
    """

    least: float
    most: float
    off: str = ""

    def __contains__(self, value: object) -> bool:
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        return self.least <= value <= self.most or bool(self.off and value == 0)

    def __str__(self) -> str:
        least, most = (int(end) if end == int(end) else end for end in (self.least, self.most))
        return f"{'0, or ' if self.off else ''}from {least} to {most}"


def parse(text: str) -> Value:
    """
    @return: True, False, None (each in any case), an int, a finite float, else the text itself.
    """
    constants: dict[str, Value] = {"true": True, "false": False, "none": None}
    if text.lower() in constants:
        return constants[text.lower()]
    if "_" in text or not text.isascii():  # Python would take 1_000 and the digits of any script
        return text
    try:
        return int(text)
    except ValueError:
        pass
    try:
        number = float(text)
    except ValueError:
        return text
    lost = number == 0 and any(digit in text.lower().partition("e")[0] for digit in "123456789")
    return text if lost or not math.isfinite(number) else number


class OutOfRange(SettingsError):
    """A number is of the right type, and too small or too large."""


def check(
    name: str, value: object, given: object, kind: Any, limits: Range | None, where: str = ""
) -> None:
    """
    @param value: what a setting would be.
    @param given: what it was given as, for the error; `value` itself, or the text of it.
    @param kind: the type of the setting.
    @param where: what the error begins with.
    @raise SettingsError: it can't be that; `OutOfRange` if only the range is the reason.
    """
    if not _fits(value, kind):
        raise SettingsError(
            f"{where}{name} has to be {_say(kind, given)}, and {_quote(given)} is not"
        )
    if limits is not None and value not in limits:
        raise OutOfRange(f"{where}{name} has to be {limits}, and {_short(str(given))} is not")


def _fits(value: object, kind: Any) -> bool:
    if kind is bool or isinstance(value, bool):
        return kind is bool and isinstance(value, bool)
    if isinstance(value, str) and not (value.strip() and _can_be_kept(value)):
        return False
    return isinstance(value, int | float if kind is float else kind)


def _say(kind: Any, value: object) -> str:
    words = {bool: "True or False", int: "a whole number", float: "a number", str: "text"}
    empty = " that is not empty" if isinstance(value, str) and not value.strip() else ""
    return words.get(kind, "text or None") + (empty if kind not in (bool, int, float) else "")


def _quote(value: object) -> str:
    """What was given, without a secret that may be in it, and what it reads as where that is not
    plain to see."""
    if not isinstance(value, str | int | float | None):
        return f"a {type(value).__name__}"
    read = parse(value) if isinstance(value, str) else value
    short = _short(repr(shown(value) if isinstance(value, str) else value))
    return short if isinstance(read, str) or read is value else f"{short} ({type(read).__name__})"


def _short(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:57]}..."


def _can_be_kept(text: str) -> bool:
    """Whether a file and the name of a file can have it."""
    try:
        return b"\0" not in os.fsencode(text)
    except UnicodeEncodeError:
        return False
