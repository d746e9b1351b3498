"""Crossbar's log, read as evidence."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime

# 2026-11-23T14:46:23+0000 [Router      12607] text; crossbar's log format "standard"
_START = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d{4}) \[(\w+)\s+(\d+)\] (.*)")
_MET = re.compile(
    r'session (?P<how>attached for|detached from) realm[= ]"paradrop".*?session=(?P<session>\d+),'
    r'.*? authid="(?P<authid>[^"]*)", authrole="(?P<role>[^"]*)"'
)


@dataclass(frozen=True)
class Entry:
    """One message of crossbar, which may have several lines.

    @ivar time: seconds since the epoch, a whole number: crossbar writes no fractions.
    @ivar process: `Controller` or `Router`.
    """

    time: float
    process: str
    pid: int
    message: str

    @property
    def alarming(self) -> bool:
        """Whether it tells of an exception; crossbar writes no levels."""
        return "Traceback (most recent call last)" in self.message


@dataclass(frozen=True)
class Session:
    """Somebody joined or left, as the router tells it."""

    time: float
    joined: bool
    session: int
    authid: str
    role: str


def entries(lines: Iterable[str]) -> Iterator[Entry]:
    """The messages in crossbar's output; what comes before the first is not one and is dropped."""
    entry: Entry | None = None
    for line in lines:
        start = _START.match(line)
        if start:
            if entry is not None:
                yield entry
            time, process, pid, message = start.groups()
            moment = datetime.strptime(time, "%Y-%m-%dT%H:%M:%S%z").timestamp()
            entry = Entry(moment, process, int(pid), message)
        elif entry is not None:
            entry = replace(entry, message=f"{entry.message}\n{line.rstrip()}")
    if entry is not None:
        yield entry


def sessions(log: Iterable[Entry]) -> Iterator[Session]:
    """Who joined the realm and who left it."""
    for entry in log:
        met = _MET.search(entry.message)
        if met:
            joined = met["how"] == "attached for"
            yield Session(entry.time, joined, int(met["session"]), met["authid"], met["role"])
