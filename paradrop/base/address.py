"""
Addresses of servers: which can be used, and how they are shown.

The same check stands before everything that takes an address, so that none is kept that the
connection would refuse later.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from ipaddress import IPv6Address
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from paradrop.base.exceptions import ParadropException

WAMP = ("wss", "ws")
HTTP = ("https", "http")

LONGEST = 2048
"""Characters of an address; servers refuse longer ones (RFC 9110, section 4.1, wants 8000)."""

_LABEL = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?")
_CONCEALED = "[concealed]"


class AddressError(ParadropException):
    """An address that cannot be used."""


def check(address: object, schemes: Sequence[str] = WAMP) -> str:
    """
    @param schemes: those that are usable, the preferred one first.
    @return: the address.
    @raise AddressError: it cannot be used; says why, without a secret that is in it.
    """
    if not isinstance(address, str):
        raise AddressError(f"an address has to be text, not {type(address).__name__}")
    why = _fault(address, schemes)
    if why:
        raise AddressError(f"the URL {shown(address)} is no usable address: {why}")
    return address


def shown(address: str) -> str:
    """
    An address for people, without what may let somebody in: the user and the password, the query
    and the fragment.
    """
    plain = "".join(c if c.isprintable() else "?" for c in address[:LONGEST])
    scheme, slashes, rest = plain.partition("//") if "//" in plain else ("", "", plain)
    # Where it is not clear what is what, too much is concealed rather than too little: a password
    # may have been given with any of these characters in it.
    before, at, after = rest.rpartition("@")
    if at and not _is_clear(plain) and set(before) & set("?#"):
        return f"{scheme}{slashes}{_CONCEALED}"
    if at and _is_clear(plain):
        before, at, after = _split_user(rest)
    place, mark, _ = re.split(r"([?#]|$)", after, maxsplit=1)
    user = f"{_CONCEALED}@" if at else ""
    return f"{scheme}{slashes}{user}{place}{f'{mark}{_CONCEALED}' if mark else ''}"


def _is_clear(address: str) -> bool:
    try:
        parts = urlsplit(address)
        _ = parts.port  # raises ValueError where it is no number
    except ValueError:
        return False
    return bool(parts.hostname) and "@" not in parts.path


def _split_user(rest: str) -> tuple[str, str, str]:
    """What stands behind the two slashes, at the @ that ends user and password, if there is one."""
    host, mark, other = re.split(r"([/?#]|$)", rest, maxsplit=1)
    user, at, name = host.rpartition("@")
    return user, at, f"{name}{mark}{other}"


def secrets(address: str) -> Iterator[str]:
    """@return: the parts of an address that no log may show."""
    try:
        parts = urlsplit(address)
    except ValueError:
        return
    user, _, password = parts.netloc.rpartition("@")[0].partition(":")
    for secret in (password or user, *(value for _, value in parse_qsl(parts.query))):
        yield from {secret, unquote(secret)} - {""}


def _fault(address: str, schemes: Sequence[str]) -> str:
    if len(address) > LONGEST:
        return f"it is longer than {LONGEST} characters"
    if not address.isprintable() or " " in address or "\\" in address:
        return "it has a space, a backslash or a character that cannot be printed"
    try:
        parts = urlsplit(address)
        port = parts.port
    except ValueError:
        return "its host or its port is no valid one"
    if parts.scheme not in schemes:
        return f"it does not begin with {schemes[0]}://"
    if "#" in address:
        return "it has a fragment (what follows #)"
    if port == 0:
        return "no server has port 0"
    if not (parts.path + parts.query).isascii():
        return "its path has to be percent-encoded"
    return _host_fault(parts)


def _host_fault(parts: SplitResult) -> str:
    host = parts.hostname
    if not host:
        return "it has no host"
    if "[" in parts.netloc:
        try:
            IPv6Address(host)
        except ValueError:
            return "its host is no IPv6 address"
        return ""
    if host == "unix":  # autobahn would take what follows for the path of a socket
        return "its host is no valid name"
    if not host.isascii():
        import idna

        try:
            host = idna.encode(host).decode()
        except (idna.IDNAError, UnicodeError):
            return "its host is no valid name"
    labels = host.removesuffix(".").split(".")
    if len(host) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        return "its host is no valid name"
    return ""
