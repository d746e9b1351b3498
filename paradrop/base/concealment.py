"""Keeps known secrets out of log records, whatever they came in with."""

import json
import threading
from collections.abc import Mapping
from urllib.parse import quote

from paradrop.base.logline import Record, text

SHORTEST = 6
"""Characters below which a secret is not concealed: it would be found in harmless text as well."""

CONCEALED = "[concealed]"

_DEPTH = 32
_OWN = frozenset(("type", "package", "module", "timestamp", "pdid", "line"))


class Concealment:
    """
    Replaces the secrets that were added, in every text that it is given.

    A secret is found as it is, and as `repr`, JSON and a URL write it; of several lines, also each
    line by itself (what is printed becomes a record a line). Other encodings of it, such as
    Base64, are not known.

    @ivar active: whether there is anything to conceal.
    """

    def __init__(self) -> None:
        self.active = False
        self._forms: tuple[
            str, ...
        ] = ()  # shortest first: text ends the search where it is shorter
        self._lock = threading.Lock()

    def add(self, secret: str | bytes) -> None:
        """
        Conceal a value from now on.

        @param secret: text, or bytes as they are in a key file. What is shorter than `SHORTEST`
            characters, without white space around it, is ignored.
        """
        with self._lock:
            forms = {*self._forms, *_forms(secret)}
            self._forms = tuple(sorted(forms, key=len))
            self._json_forms = tuple({json.dumps(form)[1:-1] for form in forms})
            self.active = bool(forms)

    def may_be_in(self, line: str) -> bool:
        """
        Whether a secret may be in a record: not, if it is not in its line of JSON. This is quick,
        and nearly always the answer.
        """
        for form in self._json_forms:  # any() takes twice as long
            if form in line:
                break
        else:
            return False
        return True

    def text(self, value: str) -> str:
        """The text, with `CONCEALED` for each secret."""
        room = len(value)
        for form in self._forms:
            if len(form) > room:
                return value
            if form in value:
                return self._replace(value)
        return value

    def record(self, record: Record) -> Record:
        """
        A copy of a record without secrets.

        What JSON does not know is text in it, and containers are copies: who changes them later
        does not change the record.
        """
        return {
            key: value if key in _OWN else self._value(value, _DEPTH)
            for key, value in record.items()
        }

    def _value(self, value: object, depth: int) -> object:
        if value is None or value is True or value is False:
            return value
        if isinstance(value, str):
            return self.text(value)
        if depth and isinstance(value, Mapping):
            items = list(value.items())
            return {self._key(key): self._value(inner, depth - 1) for key, inner in items}
        if depth and isinstance(value, list | tuple | set | frozenset):
            return [self._value(inner, depth - 1) for inner in list(value)]
        written = text(value)
        clean = self.text(written)
        return value if clean == written and isinstance(value, int | float) else clean

    def _key(self, key: object) -> object:
        return self.text(key if isinstance(key, str) else text(key))

    def _replace(self, value: str) -> str:
        for form in reversed(self._forms):  # the longest first: one may begin like another
            value = value.replace(form, CONCEALED)
        return value


def _forms(secret: str | bytes) -> set[str]:
    """All the ways in which a secret is looked for."""
    if isinstance(secret, bytes):
        try:
            secret = secret.decode()
        except UnicodeDecodeError:
            return {form for form in (repr(secret)[2:-1],) if len(form) >= SHORTEST}
    # The frame of a PEM file is no secret, and stands in harmless text.
    lines = [line for line in secret.splitlines() if not line.startswith("-----")]
    forms: set[str] = set()
    for part in {part.strip() for part in (secret, *lines)}:
        if len(part) >= SHORTEST:
            encoded = part.encode(errors="surrogatepass")
            quoted = (repr(part), ascii(part), json.dumps(part), repr(encoded).removeprefix("b"))
            forms.update((part, quote(encoded), quote(encoded, safe="")))
            forms.update(form[1:-1] for form in quoted)
    return forms
