"""The names on the wire that the node's parts share."""

from __future__ import annotations

REALM = "paradrop"
PATH = "/ws"

PROVISION = "org.paradrop.provision"
AUTHORIZE = "org.paradrop.node.authorize"

# A pdid may be "provision" or "authorize": these would then end in it, and still not be its own.
RESERVED = frozenset({PROVISION, AUTHORIZE})


def of_device(name: str, pdid: str) -> str:
    """`status` of `pd-1` is `org.paradrop.status.pd-1`."""
    return f"org.paradrop.{name}.{pdid}"
