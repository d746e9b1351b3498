"""TLS to the WAMP router: its certificate and the name in it are verified unless told otherwise."""

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import service_identity
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from cryptography.x509 import Certificate, load_pem_x509_certificate
from OpenSSL import SSL, crypto
from service_identity.cryptography import (
    verify_certificate_hostname,
    verify_certificate_ip_address,
)
from twisted.internet import ssl
from twisted.internet.abstract import isIPAddress, isIPv6Address
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from zope.interface import implementer  # type: ignore[import-untyped]

from paradrop.base import certificates, settings
from paradrop.base.connector import without_zone
from paradrop.base.exceptions import CertificateError, SettingsError

_VERIFY = SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT


def client_options(
    host: str, refused: Callable[[CertificateError], object] = lambda error: None
) -> Any:
    """
    How to connect to `host`, as the settings and the files that they name are now: TLS 1.2 at
    least (RFC 8996 ends what was before), an authority of `settings.WAMP_CA_FILE` (None: of the
    system), a certificate for that name, or for that address, and a certificate of our own where
    `settings.WAMP_CLIENT_CERT` names one.

    `settings.WAMP_TLS_VERIFY` = False accepts any certificate; `BaseClientFactory` says so in the
    log at every connection.

    @param refused: called with what is wrong with the router's certificate. The connection then
        ends with an error of OpenSSL, which does not say it.
    @raise SettingsError: a file that the settings name cannot be used.
    """
    chosen: dict[str, Any] = {"raiseMinimumTo": ssl.TLSVersion.TLSv1_2, **_own_certificate()}
    host = without_zone(host)
    if not settings.WAMP_TLS_VERIFY:
        return _Client(host, ssl.CertificateOptions(**chosen).getContext())
    root = _authorities() or ssl.platformTrust()
    context = ssl.CertificateOptions(trustRoot=root, **chosen).getContext()
    context.set_verify(_VERIFY, _Verification(host, refused))
    return _Client(host, context)


def files() -> list[str]:
    """The files that the settings name for TLS."""
    named = (settings.WAMP_CA_FILE, settings.WAMP_CLIENT_CERT, settings.WAMP_CLIENT_KEY)
    return [name for name in named if name is not None]


@implementer(IOpenSSLClientConnectionCreator)
class _Client:
    """Makes the TLS connections to a host, and tells the server its name (RFC 6066, 3)."""

    def __init__(self, host: str, context: SSL.Context) -> None:
        self._host = host
        self._context = context

    def clientConnectionForTLS(self, tlsProtocol: Any) -> SSL.Connection:
        connection = SSL.Connection(self._context, None)
        if not _is_address(self._host):
            connection.set_tlsext_host_name(self._host.encode("idna"))
        return connection


class _Verification:
    """
    Called by OpenSSL for each certificate of the router's chain, from the root to its own, with
    what it thinks of it; its own must be for the host as well.

    An exception out of here fails the handshake, too: pyOpenSSL sees to it.
    """

    def __init__(self, host: str, refused: Callable[[CertificateError], object]) -> None:
        self._host = host
        self._refused = refused
        self._told = False

    def __call__(self, connection: Any, certificate: Any, code: int, depth: int, good: int) -> bool:
        found: Certificate = certificate.to_cryptography()
        if not good:
            self._tell(certificates.verification_failed(code, found, time.time()))
            return False
        if depth == 0 and not self._is_for_host(found):
            self._tell(certificates.not_for(self._host, found))
            return False
        return True

    def _is_for_host(self, certificate: Certificate) -> bool:
        try:
            if _is_address(self._host):
                verify_certificate_ip_address(certificate, self._host)
            else:
                verify_certificate_hostname(certificate, self._host)
        except (service_identity.VerificationError, service_identity.CertificateError):
            return False
        return True

    def _tell(self, error: CertificateError) -> None:
        if not self._told:
            self._told = True
            self._refused(error)


def _is_address(host: str) -> bool:
    return isIPAddress(host) or isIPv6Address(host)


def _authorities() -> Any:
    if settings.WAMP_CA_FILE is None:
        return None
    try:
        found = _certificates(Path(settings.WAMP_CA_FILE))
    except (OSError, ValueError) as error:
        raise SettingsError(
            f"WAMP_CA_FILE {settings.WAMP_CA_FILE} has no usable certificates: {error}"
        ) from error
    return ssl.trustRootFromCertificates(
        [ssl.Certificate.loadPEM(one.public_bytes(Encoding.PEM)) for one in found]
    )


def _certificates(file: Path) -> list[Certificate]:
    """
    All of a file, in their order; what is between them is a comment (RFC 7468). Debian 12's
    cryptography has no function for it.

    @raise ValueError: there is none, or one is damaged.
    """
    begin, end = (rf"-----{word} CERTIFICATE-----".encode() for word in ("BEGIN", "END"))
    blocks = re.findall(begin + rb".*?" + end, file.read_bytes(), re.DOTALL)
    if not blocks:
        raise ValueError("no certificate is in it")
    return [load_pem_x509_certificate(block) for block in blocks]


def _own_certificate() -> dict[str, Any]:
    if settings.WAMP_CLIENT_CERT is None:
        return {}
    key_file = settings.WAMP_CLIENT_KEY or settings.WAMP_CLIENT_CERT
    try:
        own, *chain = _certificates(Path(settings.WAMP_CLIENT_CERT))
        key = load_pem_private_key(Path(key_file).read_bytes(), None)
    except (OSError, ValueError, TypeError) as error:  # TypeError: it wants a password
        raise SettingsError(
            f"WAMP_CLIENT_CERT {settings.WAMP_CLIENT_CERT} and its key {key_file} "
            f"cannot be used: {error}"
        ) from error
    given: dict[str, Any] = {"certificate": own, "privateKey": key, "extraCertChain": chain}
    try:
        SSL.Context(SSL.TLS_METHOD).use_certificate(own)
    except TypeError:  # pyOpenSSL 23, as in Debian 12, takes classes of its own only
        given = {
            "certificate": crypto.X509.from_cryptography(own),
            "privateKey": crypto.PKey.from_cryptography_key(key),  # type: ignore[arg-type]
            "extraCertChain": [crypto.X509.from_cryptography(one) for one in chain],
        }
    return given
