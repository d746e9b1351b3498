"""Values made fit to be written and to be sent to another process."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

DEEPEST = 50
"""Containers in each other; deeper ones are told as text."""

WIDEST = 20_000
"""Bits of a number; Python itself writes no larger one in decimal."""


def fit(value: Any) -> Any:
    """The same value, made of nothing but what UTF-8, JSON and execnet can express.

    A lone surrogate becomes its escape (`\\udce9`). An object that is no plain data becomes its
    text.
    """
    return _fit(value, 0)


def _fit(value: Any, depth: int) -> Any:
    if type(value) in (type(None), bool, float, bytes, complex):
        return value
    if isinstance(value, str):
        return text(value)
    if type(value) is int:
        return value if value.bit_length() <= WIDEST else hex(value)
    if depth < DEEPEST:
        if isinstance(value, Mapping):
            return {_key(key): _fit(each, depth + 1) for key, each in value.items()}
        for kind in (list, tuple, set, frozenset):
            if type(value) is kind:
                return kind(_fit(each, depth + 1) for each in value)
        if isinstance(value, list | tuple):  # a named tuple, such as an event's location
            return [_fit(each, depth + 1) for each in value]
    return _told(value)


def _key(key: Any) -> Any:
    fitted = _fit(key, DEEPEST)
    return fitted if isinstance(fitted, str | int | float | bytes | None) else str(fitted)


def _told(value: Any) -> str:
    try:
        return text(str(value))
    except Exception as error:
        return f"<{type(value).__name__}, which can't be shown: {type(error).__name__}>"


def text(value: str) -> str:
    """A string that UTF-8 can express: lone surrogates are escaped."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return value.encode(errors="backslashreplace").decode()
    return str(value) if type(value) is not str else value


def shortened(value: str, most: int) -> str:
    """The beginning and the end of a text that is longer than `most` characters.

    Two texts stay different.
    """
    if len(value) <= most:
        return value
    half = most // 2
    left_out = f"{len(value) - 2 * half} characters left out, {digest(value)}"
    return f"{value[:half]} … {left_out} … {value[-half:]}"


def digest(value: str, digits: int = 10) -> str:
    """A short fingerprint of a text, the same in every run."""
    return hashlib.sha256(value.encode(errors="surrogatepass")).hexdigest()[:digits]
