"""
Addresses of servers: which can be used, and how they are shown.

The same check stands before everything that takes an address, so that none is kept that the
connection would refuse later.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from ipaddress import IPv4Address, IPv6Address
from urllib.parse import SplitResult, unquote, unquote_plus, urlsplit

from paradrop.base.exceptions import ParadropException

WAMP = ("wss", "ws")
HTTP = ("https", "http")

OF_SETTINGS = {"WAMP_ROUTER": WAMP, "PDSERVER": HTTP}
"""The settings that are addresses of servers, and the schemes of each."""

LONGEST = 2048
"""Characters of an address, at most: our limit, below the 8000 that every server and proxy should
take (RFC 9110, section 4.1)."""

_LABEL = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?")
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*:?)?//")
_IN_BRACKETS = re.compile(r"\[[0-9A-Fa-f:.]*(%\w+)?\]", re.ASCII)
_BRACKETED = re.compile(r"(.*@)?\[([0-9A-Fa-f:.]+)(?:%(?:25)?(?!25\])[\w.-]+)?\](:\d*)?", re.ASCII)
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
    if not address.strip():
        raise AddressError("an empty text is no usable address")
    why = _fault(address, schemes)
    if why:
        raise AddressError(f"the URL {shown(address)} is no usable address: {why}")
    return address


def shown(address: str) -> str:
    """
    An address for people, without what may let somebody in: the user and the password, the
    parameters of the path, the query and the fragment.

    Where it is not clear what is what, too much is concealed rather than too little: a password may
    have been given with any character in it.
    """
    plain = "".join(c if c.isprintable() else "?" for c in address)
    scheme, rest = _without_scheme(plain)
    before, at, after = rest.rpartition("@")
    if set(before) & set("?#;"):
        return f"{scheme}{_CONCEALED}"
    user = f"{_CONCEALED}@" if at else ""
    place, mark, _ = _at_first(r"[?#;]", after)
    host, slash, path = place.partition("/")
    in_brackets = host.find("]") + 1 if host.startswith("[") else 0
    if in_brackets and not _IN_BRACKETS.match(host):
        host, in_brackets = f"{_CONCEALED}{host[in_brackets:]}", 0
    port = host[in_brackets:].partition(":")[2]
    if not host.startswith(":") and port.strip("0123456789"):  # it may be a password
        host = f"{host.removesuffix(port)}{_CONCEALED}"
    end = f"{mark}{_CONCEALED}" if mark else ""
    return f"{scheme}{user}{host}{slash}{path}{end}"[:LONGEST]


def secrets(address: str) -> Iterator[str]:
    """@return: the parts of an address that no log may show."""
    place, _, query = _at_first(r"[?#]", _without_scheme(address)[1])
    user, _, password = place.rpartition("@")[0].partition(":")
    found = [password or user]
    for parameter in re.split("[&#]", query):
        name, sign, value = parameter.partition("=")
        found.append(value if sign else name)
    for secret in found:
        yield from {secret, unquote(secret), unquote_plus(secret)} - {""}


def _without_scheme(address: str) -> tuple[str, str]:
    found = _SCHEME.match(address)
    return (found.group(), address[found.end() :]) if found else ("", address)


def _at_first(pattern: str, text: str) -> tuple[str, str, str]:
    """Like `str.partition`, with a pattern of what divides the text."""
    before, mark, after = re.split(f"({pattern}|$)", text, maxsplit=1)
    return before, mark, after


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
    if not parts.hostname:
        return "it has no host"
    host, unnamed = parts.hostname, "its host is no valid name"
    if "[" in parts.netloc:
        found = _BRACKETED.fullmatch(parts.netloc)
        valid = found and _is(IPv6Address, found[2])
        return "" if valid else "its host is no IPv6 address"
    if host == "unix":  # autobahn would take what follows for the path of a socket
        return unnamed
    try:
        host = connectable(host)
    except ValueError:
        return unnamed
    labels = host.removesuffix(".").split(".")
    if labels[-1].isdecimal():  # as the URL Standard has it: an IPv4 address, or nothing
        return "" if _is(IPv4Address, host) else "its host is no IPv4 address"
    if len(host) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        return unnamed
    return ""


def _is(kind: type[IPv4Address | IPv6Address], host: str) -> bool:
    try:
        kind(host)
    except ValueError:
        return False
    return True


def connectable(host: str) -> str:
    """
    A host of a URL as the resolver and the router want it: a name of other letters than those of
    ASCII in its encoded form (RFC 5891), the zone of an address as the kernel writes it (RFC 6874).

    @raise ValueError: it is no name of a host.
    """
    if ":" in host:
        return host.replace("%25", "%", 1)
    encoded = host
    if not host.isascii():
        import idna  # is there with Twisted, whose hyperlink needs it

        encoded = idna.encode(host, uts46=True).decode()
    encoded.encode("idna")  # as the system's resolver does, where an error has no way out
    return encoded
