"""What is wrong with the certificate of a WAMP router, in words that say what to do."""

from __future__ import annotations

from datetime import UTC, datetime

from cryptography.x509 import Certificate, DNSName, IPAddress, SubjectAlternativeName
from cryptography.x509.extensions import ExtensionNotFound

from paradrop.base.exceptions import CertificateError, ClockError

NOT_YET_VALID, EXPIRED, CRL_NOT_YET_VALID, CRL_EXPIRED = 9, 10, 11, 12

_WORDS = {
    2: "unknown authority: its issuer is none that we trust",
    7: "its signature is wrong",
    18: "unknown authority: it is self-signed, and none that we trust",
    19: "unknown authority: the root of its chain is self-signed, and none that we trust",
    20: "unknown authority: its issuer is none that we trust, or an intermediate certificate is "
    "missing",
    21: "unknown authority: its issuer is none that we trust, or an intermediate certificate is "
    "missing",
    22: "its chain of certificates is too long",
    23: "it has been revoked",
    24: "its issuer is not an authority (no CA certificate)",
    25: "its issuer may not issue certificates at this depth (path length)",
    26: "wrong purpose: it is not for a server",
    27: "its authority is not trusted for this purpose",
    28: "its authority is rejected for this purpose",
    66: "its key is too weak",
    67: "the key of its authority is too weak",
    68: "its signature is too weak",
    79: "its issuer is not an authority (no CA certificate)",
}
"""By the codes `X509_V_ERR_*` of openssl/x509_vfy.h."""

_NAMES_SHOWN = 10

BELIEVABLE = datetime(2025, 1, 1, tzinfo=UTC), datetime(2060, 1, 1, tzinfo=UTC)
"""A clock that shows another time is wrong. A board without a battery starts in 1970 or at the date
of its firmware; one whose clock has lost its registers may show the year 2099."""


def verification_failed(code: int, certificate: Certificate, now: float) -> CertificateError:
    """
    What OpenSSL found wrong with a certificate of the router's chain.

    @param code: its verification result.
    @param now: seconds since the epoch, as the clock of this machine shows them.
    @return: a `ClockError` where setting the clock is the remedy.
    """
    begin, end = _validity(certificate)
    clock = datetime.fromtimestamp(now, UTC)
    says = f"the clock of this machine says {_date(clock)}"
    kind: type[CertificateError] = CertificateError
    if code in (NOT_YET_VALID, CRL_NOT_YET_VALID):
        kind = ClockError
        problem = f"it is not yet valid: {says}; if that is wrong, set the clock"
    elif code in (EXPIRED, CRL_EXPIRED):
        problem = f"it has expired: {says}"
        if not BELIEVABLE[0] <= clock < BELIEVABLE[1]:
            kind = ClockError
            problem += ", which is wrong: set the clock"
    else:
        problem = _WORDS.get(code, f"OpenSSL's verification error {code}")
    about = (
        f"{_name(certificate.subject)}, issued by {_name(certificate.issuer)}, "
        f"valid from {_date(begin)} to {_date(end)}"
    )
    return kind(f"TLS certificate refused: {problem} (verify failed for {about})")


def not_for(host: str, certificate: Certificate) -> CertificateError:
    """A certificate that is trusted, but has other names than that of the router."""
    names = names_of(certificate)
    shown = ", ".join(names[:_NAMES_SHOWN]) + (", …" if len(names) > _NAMES_SHOWN else "")
    instead = f"but for {shown}" if names else "and names no host (subjectAltName)"
    return CertificateError(
        f"TLS certificate refused: it is not for {host}, {instead} "
        f"(issued by {_name(certificate.issuer)})"
    )


def names_of(certificate: Certificate) -> list[str]:
    """The host names and addresses that a certificate is for."""
    try:
        extension = certificate.extensions.get_extension_for_class(SubjectAlternativeName)
    except (ExtensionNotFound, ValueError):  # ValueError: it is malformed
        return []
    found = extension.value
    addresses = [str(address) for address in found.get_values_for_type(IPAddress)]
    return [*found.get_values_for_type(DNSName), *addresses]


def _validity(certificate: Certificate) -> tuple[datetime, datetime]:
    try:
        return certificate.not_valid_before_utc, certificate.not_valid_after_utc
    except AttributeError:  # cryptography 38, as in Debian 12
        naive = certificate.not_valid_before, certificate.not_valid_after
        return naive[0].replace(tzinfo=UTC), naive[1].replace(tzinfo=UTC)


def _date(when: datetime) -> str:
    return f"{when:%Y-%m-%d %H:%M} UTC"


def _name(name: object) -> str:
    text = name.rfc4514_string() if hasattr(name, "rfc4514_string") else str(name)
    return text or "(no name)"
