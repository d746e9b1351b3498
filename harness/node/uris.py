"""The names on the wire that the node's parts share."""

from __future__ import annotations

import re

from harness.errors import UsageError

REALM = "paradrop"
PATH = "/ws"

PROVISION = "org.paradrop.provision"
AUTHORIZE = "org.paradrop.node.authorize"

# A pdid may be "provision" or "authorize": these would then end in it, and still not be its own.
RESERVED = frozenset({PROVISION, AUTHORIZE})

_PARTS = re.compile(r"[^\s.#\ud800-\udfff]+(\.[^\s.#\ud800-\udfff]+)*")
"""Of a URI, which is text in UTF-8; the loose rule of the WAMP specification, "URIs"."""


def of_device(name: str, pdid: str) -> str:
    """`status` of `pd-1` is `org.paradrop.status.pd-1`.

    @raise UsageError: one of them can't be a part of a URI.
    """
    check("procedure or topic", name)
    check("pdid", pdid)
    return f"org.paradrop.{name}.{pdid}"


def check(what: str, text: object) -> None:
    """@raise UsageError: it can't be a part of a URI."""
    if not (isinstance(text, str) and _PARTS.fullmatch(text)):
        raise UsageError(f"{text!a:.100} can't be the name of a {what}")
