"""TLS to the WAMP router: the certificate and the name in it are always verified."""

from pathlib import Path

from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import load_pem_x509_certificates
from OpenSSL.SSL import Error as TlsError
from service_identity import VerificationError
from twisted.internet import ssl
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.python.failure import Failure

from paradrop.base import settings
from paradrop.base.exceptions import SettingsError


def client_options(host: str) -> IOpenSSLClientConnectionCreator:
    """
    How to connect to `host`: TLS 1.2 at least, an authority of `settings.WAMP_CA_FILE` (None: of
    the system), a certificate for that name, or for that address.

    @raise SettingsError: `settings.WAMP_CA_FILE` cannot be used.
    """
    trust = None
    if settings.WAMP_CA_FILE is not None:
        try:
            found = load_pem_x509_certificates(Path(settings.WAMP_CA_FILE).read_bytes())
        except (OSError, ValueError) as error:
            raise SettingsError(
                f"WAMP_CA_FILE {settings.WAMP_CA_FILE} has no usable certificates: {error}"
            ) from error
        trust = ssl.trustRootFromCertificates(
            [ssl.Certificate.loadPEM(one.public_bytes(Encoding.PEM)) for one in found]
        )
    return ssl.optionsForClientTLS(
        host,
        trustRoot=trust,
        extraCertificateOptions={"raiseMinimumTo": ssl.TLSVersion.TLSv1_2},
    )


def fault(reason: Failure) -> str | None:
    """What TLS found wrong, in a line; None when the connection ended for another reason."""
    error = reason.value
    if isinstance(error, VerificationError):
        wanted = ", ".join(str(mismatch.mismatched_id) for mismatch in error.errors)
        return f"TLS certificate refused: it is not for {wanted}"
    if isinstance(error, TlsError):
        found = "; ".join(entry[-1] for entry in error.args[0]) if error.args else ""
        kind = "TLS certificate refused" if "certificate" in found else "TLS failed"
        return f"{kind}: {found or 'the peer closed during the handshake'}"
    return None
