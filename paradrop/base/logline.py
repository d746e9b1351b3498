"""One log record as one line of JSON: written, and read back."""

import itertools
import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import date
from json import encoder as _json
from typing import IO, Any

Record = dict[str, Any]
"""One log record; see `paradrop.base.output` for its keys."""

Pieces = tuple[str, str, str]
"""What stands in a line between message, extra and timestamp, and after them."""

Line = tuple[float, str]
"""The time of a record, and its line."""

LINE_LIMIT = 16 * 1024 * 1024
"""Bytes of a line that are read at once; damage may be longer, and is passed over in pieces."""

_quote = _json.encode_basestring_ascii

# At most one of each key is ours; `extra` may hold others of that name.
_TIMESTAMP = re.compile(rb'"timestamp"\s*:\s*(-?[0-9][0-9.eE+-]*)')


def text(value: object) -> str:
    """`str(value)`, whatever its class does."""
    try:
        return str(value)
    except Exception:
        if isinstance(value, int):  # of more digits than Python makes
            return hex(value)
        return f"<{type(value).__name__} that has no text>"


def encode(record: Record) -> bytes:
    """
    One line of JSON, in ASCII. What JSON cannot hold becomes text; a record is never lost for it.
    """
    return _line_of(record).encode("ascii")


def pieces_of(record: Record) -> Pieces:
    """What the lines of all records of one line of code have in common."""
    kind, package, module, pdid, line = (
        _encode(record[key]) for key in ("type", "package", "module", "pdid", "line")
    )
    return (
        f',"type":{kind},"extra":',
        f',"package":{package},"module":{module},"timestamp":',
        f',"pdid":{pdid},"line":{line}}}\n',
    )


def line_of(record: Record, pieces: Pieces | None = None) -> str:
    """
    The line of a record, as `encode` makes it; with its pieces, four times as fast.

    The `repr` of the time would take half of that. From 2004 on, seven decimals are as exact:
    neighbouring floats are 2**-22 apart there, or more.
    """
    global _second
    if pieces is None:
        return _line_of(record)
    try:
        before, between, after = pieces
        extra = record["extra"]
        stamp = record["timestamp"]
        second, seconds = _second  # at once: other threads set it
        fraction = stamp - second
        if not 0.0 <= fraction < 1.0:
            if not 2**30 <= stamp < 2**33:
                return _line_of(record)
            second = int(stamp)
            fraction = stamp - second
            _second = second, seconds = (second, f"{second}.")
        return (
            f'{{"message":{_quote(record["message"])}{before}'
            f"{_encode(extra) if extra else '{}'}{between}"
            f"{seconds}{str(int(fraction * 1e7 + 10000000.5))[1:]}{after}"
        )
    except Exception:  # what `encode` knows
        return _line_of(record)


_second = (math.inf, "")  # that of the last record, and its text


def lines_by_date(waiting: Iterable[object]) -> Iterator[tuple[date, Sequence[str]]]:
    """
    The lines of what waits for the file, in runs of one local date (that of the time zone of now).
    What is no record is passed over.
    """
    items: list[Any] = list(waiting)
    if set(map(type, items)) != {tuple}:
        items = [
            (item.get("timestamp"), _line_of(item)) if isinstance(item, dict) else item
            for item in items
            if isinstance(item, tuple | dict)
        ]
    if not items:
        return
    stamps, lines = zip(*items, strict=True)
    try:
        day = local_date(min(stamps))
        if local_date(max(stamps)) == day:
            yield day, lines
            return
    except TypeError:  # a time that is none
        pass
    for each, run in itertools.groupby(items, lambda item: local_date(item[0])):
        yield each, [line for _, line in run]


def local_date(timestamp: Any) -> date:
    """
    The local date at a time; at a time that has none (out of range), today.

    @param timestamp: seconds since the epoch.
    """
    try:
        return date.fromtimestamp(timestamp)
    except (TypeError, ValueError, OverflowError, OSError):
        return date.today()


def parse(stream: IO[bytes], size: float = math.inf) -> Iterator[Record]:
    """
    The records in an open log file. A line that is torn or foreign is passed over.

    @param size: bytes to read; what was appended later is left.
    """
    return later(stream, -math.inf, size)


def later(stream: IO[bytes], target: float, size: float = math.inf) -> Iterator[Record]:
    """
    The records later than a time in an open log file, in the order of the file, which need not be
    that of time: a clock may have been set back.

    Every line is looked at, one at a time; only those that may be later are parsed.

    @param target: seconds since the epoch.
    @param size: as for `parse`.
    """
    for line in _lines(stream, size):
        if may_be_later(line, target):
            record = record_of(line)
            if record is not None and record["timestamp"] > target:
                yield record


def may_be_later(line: bytes, target: float) -> bool:
    """
    Whether a line can hold a record later than a time: false only where it surely does not. It is
    several times as fast as to parse the line.
    """
    try:
        (only,) = _TIMESTAMP.findall(line)
        return float(only) > target
    except ValueError:
        return True


def record_of(line: bytes) -> Record | None:
    """The record in a line; None if that is torn or foreign."""
    try:
        record = _loads(line.strip(b"\0 \t\r\n"))
        return record if math.isfinite(record["timestamp"]) else None
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
        return None


def _loads(line: bytes) -> Record:
    try:
        found: Record = json.loads(line)
    except ValueError:
        found = json.loads(line, parse_int=_parse_int)
    return found


def _parse_int(digits: str) -> int | str:
    try:
        return int(digits)
    except ValueError:  # more of them than Python takes
        return digits


def _lines(stream: IO[bytes], size: float) -> Iterator[bytes]:
    while line := stream.readline(LINE_LIMIT):
        size -= len(line)
        if size < 0:
            return
        yield line


def _line_of(record: Record) -> str:
    try:
        return _encode(record) + "\n"
    except Exception:  # keys that are no text, cycles, NaN, a dict that changes meanwhile
        return _encode({str(key): _plain(value) for key, value in list(record.items())}) + "\n"


def _plain(value: object) -> object:
    if isinstance(value, dict):
        return {text(key): _scalar(inner) for key, inner in list(value.items())}
    return _scalar(value)


def _scalar(value: object) -> object:
    if isinstance(value, float):
        return value if math.isfinite(value) else text(value)
    if isinstance(value, int):
        return value if -(2**63) <= value < 2**64 else text(value)
    return value if value is None or isinstance(value, str) else text(value)


_encoder = json.JSONEncoder(
    allow_nan=False, check_circular=False, default=text, separators=(",", ":")
)


def _encode_with(make: Any) -> Callable[[object], str]:
    """What the encoder makes anew for each value, made once, where Python has it in C."""
    if make is None:
        return _encoder.encode
    chunks = make(None, text, _quote, None, ":", ",", False, False, False)
    return lambda value: "".join(chunks(value, 0))


_encode = _encode_with(getattr(_json, "c_make_encoder", None))
