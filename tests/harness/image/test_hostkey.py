"""Host keys as dropbear reads them."""

from __future__ import annotations

import base64
import struct

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from harness.image import host_key


def strings(data: bytes) -> list[bytes]:
    """The strings of an RFC 4251 encoding, one after the other."""
    found = []
    while data:
        (length,) = struct.unpack(">I", data[:4])
        assert len(data) >= 4 + length
        found.append(data[4 : 4 + length])
        data = data[4 + length :]
    return found


def test_the_private_file_holds_the_key_of_the_public_line() -> None:
    private, public = host_key()
    kind, pair = strings(private)
    assert kind == b"ssh-ed25519"
    assert len(pair) == 64
    point = Ed25519PrivateKey.from_private_bytes(pair[:32]).public_key().public_bytes_raw()
    assert pair[32:] == point
    name, blob = public.split()
    assert name == "ssh-ed25519"
    assert strings(base64.b64decode(blob)) == [b"ssh-ed25519", point]


def test_every_router_has_its_own() -> None:
    assert host_key() != host_key()
