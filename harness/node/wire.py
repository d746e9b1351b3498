"""What a WAMP message can carry to any device, whatever serializer each side has chosen.

WAMP has null, booleans, integers, floats, text, bytes, lists and dictionaries with text as keys
(WAMP specification, "Serializers"). Integers beyond 64 bits, deep nesting and large messages are
lost on the way, some of them without a word.
"""

from __future__ import annotations

import cbor2

from harness.errors import UsageError

MAX_BYTES = 1 << 24
"""Of a message that the router takes."""

MAX_DEPTH = 100
"""Of lists and dictionaries in each other."""

_ROOM = 1 << 16
"""Bytes that the router may add to a message before it reaches the device."""


def check(what: str, arguments: tuple[object, ...], keywords: dict[str, object]) -> None:
    """Look whether arguments can be sent.

    @param what: what they are for; begins the error.
    @raise UsageError: they can't; says which one, and why.
    """
    if "options" in keywords:
        raise UsageError(f"{what}: no argument can have the name 'options'")
    named = [(f"argument {number}", each) for number, each in enumerate(arguments, start=1)]
    named += [(f"argument {name!r}", each) for name, each in keywords.items()]
    for place, value in [("a name", name) for name in keywords] + named:
        if why := _flaw(value, place):
            raise UsageError(f"{what}: it can't be sent: {why}")
    size = len(cbor2.dumps([arguments, keywords]))
    if size > MAX_BYTES - _ROOM:
        raise UsageError(f"{what}: {size} bytes can't be sent: {MAX_BYTES - _ROOM} are the most")


def _flaw(value: object, place: str, depth: int = 0) -> str:
    """What is wrong with a value; empty if nothing is."""
    if depth > MAX_DEPTH:
        return f"{place.partition('[')[0]} is nested more than {MAX_DEPTH} levels deep"
    if isinstance(value, str):
        return _bad_text(value, place)
    if isinstance(value, int) and not -(1 << 63) <= value < 1 << 64:
        return f"{place} is an integer of more than 64 bits"
    if isinstance(value, dict):
        for key, inner in value.items():
            if not isinstance(key, str):
                return f"{place} has a key that is no text: {type(key).__name__}"
            if flaw := _bad_text(key, f"a key of {place}"):
                return flaw
            if flaw := _flaw(inner, f"{place}[{key!r}]", depth + 1):
                return flaw
    elif isinstance(value, list | tuple):
        for index, inner in enumerate(value):
            if flaw := _flaw(inner, f"{place}[{index}]", depth + 1):
                return flaw
    elif not isinstance(value, int | float | bytes | bytearray | None):
        return f"{place} is of the type {type(value).__name__}"
    return ""


def _bad_text(text: str, place: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        return f"{place} is text with {text[error.start]!a}, which UTF-8 has not"
    return ""
