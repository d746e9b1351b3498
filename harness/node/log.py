"""Crossbar's log, read as evidence."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import datetime

# 2026-11-23T14:46:23+0000 [Router      12607] text; crossbar's log format "standard"
_START = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d{4}) \[\w+\s+\d+\] ")


def message(line: str) -> str:
    """A line of crossbar's output without its time and its process; one that goes on, as it is.

    It is empty where crossbar says nothing.
    """
    return _START.sub("", line).rstrip()


def entries(lines: Iterable[str]) -> Iterator[tuple[float, str]]:
    """
    The messages in crossbar's output, each with the lines that it goes on in.

    @return: seconds since the epoch (whole: crossbar writes no fractions), and the text as it
        stands there. What comes before the first message is dropped.
    """
    time, text = 0.0, ""
    for line in lines:
        start = _START.match(line)
        if start is None:
            text += line if text else ""
            continue
        if text:
            yield time, text
        time, text = datetime.strptime(start[1], "%Y-%m-%dT%H:%M:%S%z").timestamp(), line
    if text:
        yield time, text


def evidence(lines: Iterable[str], since: float) -> dict[str, str]:
    """
    What crossbar said, and apart from it what it said of exceptions (it writes no levels).

    @param since: seconds since the epoch; the second that it lies in is taken whole.
    @return: texts by their names; no exceptions, no text of them.
    """
    said = [text for time, text in entries(lines) if time >= int(since)]
    found = {"crossbar": "".join(said)}
    alarms = "".join(text for text in said if "Traceback (most recent call last)" in text)
    return found | ({"crossbar's exceptions": alarms} if alarms else {})
