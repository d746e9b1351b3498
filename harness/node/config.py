"""Crossbar's configuration for one run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import harness
from harness.node import wire
from harness.node.certificates import Certificates
from harness.node.registry import DEVICE, OPERATOR, PROVISIONER
from harness.node.uris import AUTHORIZE, PATH, PROVISION, REALM

# Seconds. A device that went away without a word is dropped after at most their sum; a guest on a
# busy emulator needs a second or two to answer a ping, and its first imports can double that.
PING_INTERVAL = 5.0
PING_TIMEOUT = 8.0


def crossbar_config(
    port: int, tls_port: int, certificates: Certificates, registry: Path
) -> dict[str, Any]:
    """One router worker: the realm, its roles, the gatekeeper, and a listener with and without TLS.

    Components start before listeners, so nobody is refused for an authorizer that is still
    starting; the listener with TLS before the plain one, so a join on the plain one proves both.
    """
    return {
        "version": 2,
        "workers": [
            {
                "type": "router",
                "id": "router",
                "options": {"pythonpath": [str(Path(harness.__file__).parent.parent)]},
                "realms": [{"id": REALM, "name": REALM, "roles": _roles()}],
                "components": [
                    {
                        "id": "gatekeeper",
                        "type": "class",
                        "classname": "harness.node.components.Gatekeeper",
                        "realm": REALM,
                        "role": "trusted",
                        "extra": {"registry": str(registry)},
                    }
                ],
                "transports": [
                    _listener(
                        "websocket_tls",
                        tls_port,
                        registry,
                        {
                            "key": str(certificates.key),
                            "certificate": str(certificates.certificate),
                        },
                    ),
                    _listener("websocket_plain", port, registry),
                ],
            }
        ],
    }


def _roles() -> list[dict[str, Any]]:
    return [
        {"name": DEVICE, "authorizer": AUTHORIZE},
        {"name": PROVISIONER, "permissions": [_permit(PROVISION, "exact", "call")]},
        {
            "name": OPERATOR,
            "permissions": [
                _permit("org.paradrop.", "prefix", "call", "publish", "subscribe"),
                _permit("wamp.", "prefix", "call", "subscribe"),
            ],
        },
    ]


def _permit(uri: str, match: str, *actions: str) -> dict[str, Any]:
    return {
        "uri": uri,
        "match": match,
        "allow": {
            action: action in actions for action in ("call", "register", "publish", "subscribe")
        },
        "disclose": {"caller": True, "publisher": True},
        "cache": True,
    }


def _listener(
    name: str, port: int, registry: Path, tls: dict[str, str] | None = None
) -> dict[str, Any]:
    endpoint: dict[str, Any] = {
        "type": "tcp",
        "interface": "127.0.0.1",
        "port": port,
        "shared": True,  # the harness keeps the port bound while crossbar is down
    }
    if tls:
        endpoint["tls"] = tls
    return {
        "id": name,
        "type": "web",
        "endpoint": endpoint,
        "paths": {
            # the root must not be "nodeinfo": that one answers /ws as well
            "/": {"type": "json", "value": {"realm": REALM}},
            PATH.lstrip("/"): {
                "type": "websocket",
                "serializers": ["msgpack", "cbor", "json"],
                "auth": {
                    "wampcra": {
                        "type": "function",
                        "create": "harness.node.components.authenticator",
                        "config": {"registry": str(registry)},
                    }
                },
                "options": {
                    "auto_ping_interval": int(PING_INTERVAL * 1000),  # milliseconds
                    "auto_ping_timeout": int(PING_TIMEOUT * 1000),
                    "fail_by_drop": True,
                    "open_handshake_timeout": 30000,
                    "max_message_size": wire.MAX_BYTES,
                },
            },
        },
    }
