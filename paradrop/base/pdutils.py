"""Small helpers around time and JSON, under their documented names."""

import json
import time
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Any
from urllib.parse import quote, unquote


def timeflt() -> float:
    """Seconds since the epoch."""
    return time.time()


def timeint() -> int:
    """Whole seconds since the epoch."""
    return int(time.time())


def timestr(x: float | None = None) -> str:
    """
    Local date and time, as `Thu Jan  1 00:00:00 1970`.

    @param x: seconds since the epoch; None for now.
    """
    return time.asctime(time.localtime(x))


def stimestr(x: float | None = None) -> str:
    """
    Local weekday and time, short, as `Thu 00:00`.

    @param x: seconds since the epoch; None for now.
    """
    return time.strftime("%a %H:%M", time.localtime(x))


def timedur(x: float) -> str:
    """
    A duration for people: 300 is `5 mins`, 86400 is `1 day`, 86705 is `1 day, 5 mins, 5 seconds`.

    @param x: seconds; a fraction is dropped. Less than one second is the empty text.
    """
    rest = int(float(x))
    parts = []
    for unit, size in (("day", 86400), ("hour", 3600), ("min", 60), ("second", 1)):
        count, rest = divmod(rest, size) if rest > 0 else (0, rest)
        if count:
            parts.append(f"{count} {unit}{'' if count == 1 else 's'}")
    return ", ".join(parts)


def convertUnicode(elem: Any) -> Any:
    """
    Make text of all bytes (UTF-8) in a JSON value, and None of the text `null`.

        json.loads(s, object_hook=convertUnicode)

    @raise UnicodeDecodeError: bytes that are not UTF-8.
    """
    if isinstance(elem, dict):
        return {convertUnicode(key): convertUnicode(value) for key, value in elem.items()}
    if isinstance(elem, list):
        return [convertUnicode(element) for element in elem]
    if isinstance(elem, bytes):
        elem = elem.decode()
    return None if isinstance(elem, str) and elem == "null" else elem


def urlEncodeMe(elem: Any, safe: str = " ") -> Any:
    """
    Percent-encode every text in a JSON value, keys included; `urlDecodeMe` is the inverse.

    @param safe: characters that stay as they are (a percent sign never does).
    """
    if isinstance(elem, dict):
        return {urlEncodeMe(key, safe): urlEncodeMe(value, safe) for key, value in elem.items()}
    if isinstance(elem, list):
        return [urlEncodeMe(element, safe) for element in elem]
    if isinstance(elem, str):
        return quote(elem, safe.replace("%", ""), errors="surrogatepass")
    return elem


def urlDecodeMe(elem: Any) -> Any:
    """
    Decode every percent-encoded text in a JSON value, keys included. What is not UTF-8 (and so not
    from `urlEncodeMe`) becomes U+FFFD.
    """
    if isinstance(elem, dict):
        return {urlDecodeMe(key): urlDecodeMe(value) for key, value in elem.items()}
    if isinstance(elem, list):
        return [urlDecodeMe(element) for element in elem]
    if isinstance(elem, str):
        try:
            return unquote(elem, errors="surrogatepass")
        except UnicodeDecodeError:
            return unquote(elem)
    return elem


def jsonPretty(j: Any) -> str:
    """A JSON value as text, sorted, indented by 4."""
    return json.dumps(j, sort_keys=True, indent=4, separators=(",", ": "))


class dict2obj:
    """An object whose attributes are the items of a dict, and the keyword arguments."""

    def __init__(self, /, aDict: Mapping[str, Any] | None = None, **kwargs: Any) -> None:
        self.__dict__.update(aDict or {}, **kwargs)

    def __getattr__(self, name: str) -> Any:
        """Only here for the type checker: the attributes are known at run time alone."""
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")


def check(
    pkt: Any, pktType: type, keyMatches: Iterable[str] | None = None, **valMatches: Any
) -> str | None:
    """
    Compare a value from a packet with what is required of it.

    @param pkt: the value.
    @param pktType: its type, exactly.
    @param keyMatches: keys that it has at least, if it is a dict.
    @param valMatches: values by their keys; a type stands for any value of exactly that type. A
        dict given as `valMatches` is used instead, for keys that are no identifiers.
    @return: None, or the first thing that does not match.
    """
    if type(pkt) is not pktType:
        return f"expected {pktType}"
    if not isinstance(pkt, dict):
        return f"expected {dict}" if valMatches else None
    missing = sorted(set(keyMatches or ()) - pkt.keys())
    if missing:
        return f'missing, "{", ".join(missing)}"'
    for key, wanted in valMatches.get("valMatches", valMatches).items():
        if key not in pkt:
            return f'key missing "{key}"'
        value = pkt[key]
        if isinstance(wanted, type):
            if type(value) is not wanted:
                return f'key "{key}", bad value type, "{type(value)}", expected "{wanted}"'
        elif value != wanted:
            return f'key "{key}", bad value data, "{value}", expected "{wanted}"'
    return None


def explode(pkt: Any, *args: str) -> tuple[Any, ...]:
    """
    The values of some keys, None where there is none (or `pkt` is no dict).

        explode({"a": 0, "b": 1}, "a", "b", "c") == (0, 1, None)

    @raise ValueError: no keys are given.
    """
    if not args:
        raise ValueError("explode needs the names of the keys")
    return tuple(pkt.get(key) if isinstance(pkt, dict) else None for key in args)


class Timer:
    """
    Measures the time that a block takes.

        with Timer(key="Name of this test") as t:
            ...
        t.secs, t.msecs

    @param key: what is printed with the time.
    @param verbose: print it at the end.
    """

    def __init__(self, key: str = "", verbose: bool = True) -> None:
        self.key = key
        self.verbose = verbose
        self.secs = 0.0
        self.msecs = 0.0

    def __enter__(self) -> "Timer":
        self.start = time.perf_counter()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.end = time.perf_counter()
        self.secs = self.end - self.start
        self.msecs = self.secs * 1000
        if self.verbose:
            print(f"{self.key} elapsed time: {self.msecs:f} ms")
