"""TLS to the WAMP router: its certificate and the name in it are verified unless told otherwise."""

import re
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from cryptography.x509 import Certificate, load_pem_x509_certificate
from OpenSSL import SSL, crypto
from service_identity import VerificationError
from twisted.internet import ssl
from twisted.internet.abstract import isIPAddress, isIPv6Address
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.python.failure import Failure
from zope.interface import implementer  # type: ignore[import-untyped]

from paradrop.base import settings
from paradrop.base.exceptions import CertificateError, ParadropException, SettingsError


def client_options(host: str) -> Any:
    """
    How to connect to `host`: TLS 1.2 at least (RFC 8996 ends what was before), an authority of
    `settings.WAMP_CA_FILE` (None: of the system), a certificate for that name, or for that
    address, and a certificate of our own where `settings.WAMP_CLIENT_CERT` names one.

    `settings.WAMP_TLS_VERIFY` = False accepts any certificate; `BaseClientFactory` says so in the
    log at every connection.

    @raise SettingsError: a file that the settings name cannot be used.
    """
    own = _own_certificate()
    minimum: dict[str, Any] = {"raiseMinimumTo": ssl.TLSVersion.TLSv1_2}
    if not settings.WAMP_TLS_VERIFY:
        return _Unverified(host, ssl.CertificateOptions(**minimum, **own).getContext())
    return ssl.optionsForClientTLS(
        host, trustRoot=_authorities(), extraCertificateOptions=minimum | own
    )


@implementer(IOpenSSLClientConnectionCreator)
class _Unverified:
    """Whoever answers is taken for the router."""

    def __init__(self, host: str, context: SSL.Context) -> None:
        self._host = host
        self._context = context

    def clientConnectionForTLS(self, tlsProtocol: Any) -> SSL.Connection:
        connection = SSL.Connection(self._context, None)
        if not (isIPAddress(self._host) or isIPv6Address(self._host)):
            connection.set_tlsext_host_name(self._host.encode("idna"))
        return connection


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


def fault(reason: Failure) -> ParadropException | None:
    """What TLS found wrong; None when the connection ended for another reason."""
    error = reason.value
    if isinstance(error, VerificationError):
        wanted = ", ".join(str(mismatch.mismatched_id) for mismatch in error.errors)
        return CertificateError(f"TLS certificate refused: it is not for {wanted}")
    if isinstance(error, SSL.Error):
        found = "; ".join(entry[-1] for entry in error.args[0]) if error.args else ""
        if "certificate verify failed" in found:
            return CertificateError(f"TLS certificate refused: {found}")
        return ParadropException(f"TLS failed: {found or 'the peer closed during the handshake'}")
    return None
