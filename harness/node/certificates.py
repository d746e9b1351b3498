"""A certificate authority and a router certificate for one run."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import trustme

# 10.0.3.2 is the host as a guest sees it on its wan network (QEMU's user network, `-netdev user`).
NAMES = ("127.0.0.1", "localhost", "10.0.3.2")


@dataclass(frozen=True)
class Certificates:
    """@ivar ca_pem: the authority's certificate, for those who join."""

    ca_pem: bytes
    certificate: Path
    key: Path


def issue(folder: Path) -> Certificates:
    """Make an authority, and a certificate of it for `NAMES`; the authority's key is kept nowhere.

    @param folder: receives `router.crt` (with its chain) and `router.key` (0600).
    """
    authority = trustme.CA()
    issued = authority.issue_cert(*NAMES)
    certificate, key = folder / "router.crt", folder / "router.key"
    certificate.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
    key.unlink(missing_ok=True)
    with os.fdopen(os.open(key, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:
        file.write(issued.private_key_pem.bytes())
    return Certificates(authority.cert_pem.bytes(), certificate, key)
