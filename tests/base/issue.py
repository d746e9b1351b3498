"""Certificates of all kinds, also of those that must not be accepted."""

from __future__ import annotations

import ipaddress
import ssl
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

SERVER, CLIENT = ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH


@dataclass
class Issued:
    """A certificate with its key, and those that issued it, nearest first."""

    certificate: x509.Certificate
    key: Any
    chain: tuple[x509.Certificate, ...] = ()

    @property
    def pem(self) -> bytes:
        """The certificate alone."""
        return self.certificate.public_bytes(Encoding.PEM)

    @property
    def own_pem(self) -> bytes:
        """The key, and the certificates without the root."""
        key = self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        between = b"".join(one.public_bytes(Encoding.PEM) for one in self.chain[:-1])
        return bytes(key + self.pem + between)

    def context(self, wanted: Issued | None = None) -> ssl.SSLContext:
        """
        For a server with this certificate.

        @param wanted: the authority of the clients' certificates, if they have to show one.
        """
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.set_ciphers("ALL:@SECLEVEL=0")  # also for what no client should accept
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "own.pem")
            path.write_bytes(self.own_pem)
            context.load_cert_chain(path)
        if wanted is not None:
            context.load_verify_locations(cadata=wanted.pem.decode())
            context.verify_mode = ssl.CERT_REQUIRED
        return context


def issue(
    *names: str,
    by: Issued | None = None,
    subject: str = "router",
    authority: bool = False,
    begin: datetime | None = None,
    end: datetime | None = None,
    purpose: Any = None,
    path_length: int | None = None,
    key: Any = None,
    digest: Any = None,
) -> Issued:
    """
    @param by: who signs it; by default it signs itself.
    @param authority: whether it may sign others.
    """
    now = datetime.now(UTC)
    key = key or ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)])
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(by.certificate.subject if by else name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin or now - timedelta(days=30))
        .not_valid_after(end or now + timedelta(days=30))
        .add_extension(x509.BasicConstraints(authority, path_length), critical=True)
    )
    if names:
        builder = builder.add_extension(
            x509.SubjectAlternativeName([_named(one) for one in names]), critical=False
        )
    if purpose is not None:
        builder = builder.add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
    signed = builder.sign(by.key if by else key, digest or hashes.SHA256())
    return Issued(signed, key, (by.certificate, *by.chain) if by else ())


def weak_key() -> Any:
    return rsa.generate_private_key(65537, 1024)


def _named(name: str) -> Any:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)
