"""Why a connection to the WAMP router ended, in one line, and told once."""

from __future__ import annotations

import os
from typing import Any

from autobahn.wamp.exception import ApplicationError
from OpenSSL import SSL
from twisted.internet.error import ConnectError, ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.python.failure import Failure

from paradrop.base.exceptions import CertificateError, OwnCertificateError, ParadropException

_LONGEST = 600  # characters of a reason; a peer may send megabytes

_ALERTS = {
    "certificate required": "it wants a certificate of ours (WAMP_CLIENT_CERT)",
    "certificate expired": "our certificate has expired (WAMP_CLIENT_CERT)",
    "certificate revoked": "our certificate has been revoked (WAMP_CLIENT_CERT)",
    "unknown ca": "it does not trust the authority of our certificate (WAMP_CLIENT_CERT)",
    "bad certificate": "it does not accept our certificate, or wants one (WAMP_CLIENT_CERT)",
    "unsupported certificate": "it does not accept this kind of certificate (WAMP_CLIENT_CERT)",
    "certificate unknown": "it does not accept our certificate (WAMP_CLIENT_CERT)",
    "access denied": "our certificate gives no access (WAMP_CLIENT_CERT)",
}
"""What a TLS alert of the router says about us (RFC 8446, 6.2; the words are OpenSSL's)."""

_NOT_TLS = ("wrong version number", "packet length too long", "http request", "unknown protocol")
_OTHER_VERSION = ("unsupported protocol", "alert protocol version", "version too low")
_TOO_WEAK = ("key too small", "md too weak")


def one_line(value: object) -> str:
    """A text of a peer, fit for a log: no control characters, no line breaks, no megabytes."""
    text = " ".join("".join(char if char.isprintable() else " " for char in str(value)).split())
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def describe(reason: BaseException | None) -> str:
    """An exception in one line, without saying anything twice."""
    if isinstance(reason, ApplicationError):
        return describe_uri(reason.error, " ".join(map(str, reason.args)))
    if isinstance(reason, ConnectError) and isinstance(reason.osError, int):
        return os.strerror(reason.osError)
    if isinstance(reason, ConnectionLost):  # Twisted's text says it twice, and no more
        return "the connection was lost without a goodbye"
    text, kind = one_line(reason), type(reason)
    if kind.__module__ == "builtins" and text:  # KeyError and such say little
        return f"{kind.__name__}: {text}"
    return text or kind.__name__


def describe_uri(uri: object, told: object) -> str:
    """The URI of a WAMP error and the text that came with it, which often begins with the URI."""
    text = str(told or "").strip().removeprefix(str(uri)).lstrip(" :,-")
    return one_line(f"{uri}: {text}" if text else uri)


def cause(connection: Any, reason: Failure) -> BaseException:
    """The most telling of what is known about the end of a WebSocket connection."""
    error = reason.value
    if isinstance(error, SSL.Error):
        return _of_tls(error)
    if connection.wasNotCleanReason:  # such as a ping without an answer
        return ParadropException(connection.wasNotCleanReason)
    if connection.remoteCloseReason or connection.remoteCloseCode not in (None, 1000):
        said = [connection.remoteCloseCode, connection.remoteCloseReason]
        return ParadropException(
            f"the router closed the connection: {' '.join(str(one) for one in said if one)}"
        )
    if not connection.answered and not connection.factory.isSecure:
        return ParadropException(
            "the connection was closed without an answer; if TLS is spoken on this port, use wss://"
        )
    if reason.check(ConnectionDone, ConnectionAborted) and not connection.wasClean:
        return ParadropException("the connection was closed without a goodbye")
    return error or ParadropException("the connection was lost")


def _of_tls(error: SSL.Error) -> ParadropException:
    entries = error.args[0] if error.args and isinstance(error.args[0], list | tuple) else []
    found = "; ".join(dict.fromkeys(str(entry[-1]) for entry in entries))
    for alert, meaning in _ALERTS.items():
        if f"alert {alert}" in found:
            return OwnCertificateError(f"TLS: the router refuses us: {meaning} ({found})")
    if any(words in found for words in _NOT_TLS):
        return ParadropException(f"TLS failed: no TLS is spoken on this port, use ws:// ({found})")
    if any(words in found for words in _OTHER_VERSION):
        return ParadropException(
            f"TLS failed: the router speaks no version of TLS from 1.2 on, which we want ({found})"
        )
    if any(words in found for words in _TOO_WEAK):
        return CertificateError(f"TLS certificate refused: its key or signature is weak ({found})")
    if "certificate verify failed" in found:
        return CertificateError(f"TLS certificate refused: {found}")
    return ParadropException(f"TLS failed: {found or 'the router closed during the handshake'}")
