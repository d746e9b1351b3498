"""SSH host keys in the format that dropbear reads, made without dropbear.

A private key file of dropbear is the key in the encoding of RFC 4251: the string "ssh-ed25519",
then one string of the 32 bytes of the seed and the 32 bytes of the public key (dropbear's
`ed25519.c`).
"""

from __future__ import annotations

import struct

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

_KIND = b"ssh-ed25519"


def host_key() -> tuple[bytes, str]:
    """Make the host key of one router.

    @return: the contents of its `dropbear_ed25519_host_key`, and the public key as
        `known_hosts` has it: `ssh-ed25519 AAAA…`.
    """
    key = Ed25519PrivateKey.generate()
    raw = serialization.Encoding.Raw
    seed = key.private_bytes(raw, serialization.PrivateFormat.Raw, serialization.NoEncryption())
    point = key.public_key().public_bytes(raw, serialization.PublicFormat.Raw)
    public = key.public_key().public_bytes(
        serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
    )
    return _string(_KIND) + _string(seed + point), public.decode()


def _string(data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + data
