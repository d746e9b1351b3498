"""Values made fit for a WAMP message, whichever of its serializers is used; what comes in one is
read whatever its keys are."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from typing import Any

import msgpack  # type: ignore[import-untyped]
from autobahn.wamp.serializer import CBORSerializer, JsonSerializer, MsgPackSerializer

from paradrop.base.logline import text

LEAST, MOST = -(2**63), 2**64 - 1
"""The whole numbers that MessagePack has (its specification, "int format family")."""

DEPTH = 32
"""Lists and mappings within each other; parsers of a router have a limit as well."""

VALUES = 1_000_000
"""Values in one; a list that holds another many times would have no end."""


def fit(value: object, depth: int = DEPTH) -> object:
    """
    The value itself, as far as JSON, MessagePack and CBOR all have it. What they have not is
    replaced, so that one odd value costs no message:

    - a character that is half of a surrogate pair becomes its escape (`\\udce9`): UTF-8 has none
      (RFC 3629, section 3);
    - a NUL that begins a text becomes its escape (`\\x00`): in WAMP's JSON it begins binary data
      (WAMP specification, "Binary conversion of JSON strings");
    - a whole number beyond 64 bits becomes text, and so do NaN and the infinities (RFC 8259,
      section 6);
    - a key of a mapping becomes text; one that is there already gets an apostrophe;
    - a set or a tuple becomes a list, and what is none of all this becomes text;
    - what lies deeper than `depth` lists and mappings, or comes after `VALUES` others, becomes the
      text `...`.
    """
    return _fit(value, depth, itertools.count())


def _fit(value: object, depth: int, counter: Iterator[int]) -> object:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        found = value.encode("utf-8", "backslashreplace").decode()
        return "\\x00" + found[1:] if found.startswith("\0") else found
    if isinstance(value, int):
        return int(value) if LEAST <= value <= MOST else text(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else text(value)
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value)
    if isinstance(value, Mapping | list | tuple | set | frozenset):
        if depth <= 0 or next(counter) > VALUES:
            return "..."
        if isinstance(value, Mapping):
            made: dict[str, object] = {}
            for key, inner in list(value.items()):
                name = str(_fit(key if isinstance(key, str) else text(key), 0, counter))
                while name in made:
                    name += "'"
                made[name] = _fit(inner, depth - 1, counter)
            return made
        return [_fit(inner, depth - 1, counter) for inner in list(value)]
    return _fit(text(value), 0, counter)


class _Fitting:
    """A serializer of autobahn, given only what is fit for it."""

    def __init__(self, serializer: Any) -> None:
        self._serializer = serializer

    def __getattr__(self, name: str) -> Any:
        return getattr(self._serializer, name)

    def serialize(self, message: object) -> Any:
        return self._serializer.serialize(fit(message, DEPTH + 4))  # the message is of lists, too

    def unserialize(self, payload: bytes) -> Any:
        if self._serializer.NAME == "msgpack":  # autobahn's takes no key but text
            return [msgpack.unpackb(payload, raw=False, strict_map_key=False)]
        return self._serializer.unserialize(payload)


def serializers() -> list[Any]:
    """Those of a connection, in the order of their speed on the path to a router."""
    made = [MsgPackSerializer(), CBORSerializer(), JsonSerializer()]
    for one in made:
        one._serializer = _Fitting(one._serializer)
    return made
