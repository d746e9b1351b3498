"""Values made fit for a WAMP message, whichever of its serializers is used."""

from __future__ import annotations

import math
from collections.abc import Mapping

from paradrop.base.logline import text

LEAST, MOST = -(2**63), 2**64 - 1
"""The whole numbers that MessagePack has (its specification, "int format family")."""

DEPTH = 32
"""Lists and mappings within each other; parsers of a router have a limit as well."""


def fit(value: object, depth: int = DEPTH) -> object:
    """
    The value itself, as far as JSON, MessagePack and CBOR all have it. What they have not is
    replaced, so that one odd value costs no message:

    - a character that is half of a surrogate pair becomes its escape (`\\udce9`): UTF-8 has none
      (RFC 3629, section 3);
    - a whole number beyond 64 bits becomes text, and so do NaN and the infinities (RFC 8259,
      section 6);
    - a key of a mapping becomes text;
    - a set or a tuple becomes a list, and what is none of all this becomes text;
    - what lies deeper than `depth` lists and mappings becomes the text `...`.
    """
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, int):
        return int(value) if LEAST <= value <= MOST else text(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else text(value)
    if isinstance(value, bytes):
        return value
    if isinstance(value, Mapping | list | tuple | set | frozenset):
        if depth <= 0:
            return "..."
        if isinstance(value, Mapping):
            return {_key(key): fit(inner, depth - 1) for key, inner in value.items()}
        return [fit(inner, depth - 1) for inner in value]
    return fit(text(value))


def _key(key: object) -> str:
    return str(fit(key if isinstance(key, str) else text(key)))
