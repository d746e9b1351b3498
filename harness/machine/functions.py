"""The protocols of a machine and of a node, each made of functions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass


@dataclass(frozen=True)
class CableFunctions:
    plug: Callable[[bool], None]
    is_plugged: Callable[[], bool]


@dataclass(frozen=True)
class SupplyFunctions:
    cut: Callable[[], None]
    give: Callable[[], None]
    is_on: Callable[[], bool]


@dataclass(frozen=True)
class PauseFunctions:
    pause: Callable[[], object]
    resume: Callable[[], object]
    is_paused: Callable[[], bool]


@dataclass(frozen=True)
class RebootFunctions:
    succeed: Callable[[str], str]
    rebooting: Callable[[], AbstractContextManager[None]]


@dataclass(frozen=True)
class RouterFunctions:
    end: Callable[[bool], None]
    launch: Callable[[], None]
    process: Callable[[], int | None]
    answers: Callable[[], bool]


@dataclass(frozen=True)
class SessionsFunctions:
    sessions: Callable[[str], Sequence[int]]
    end: Callable[[str], None]


@dataclass(frozen=True)
class RealmFunctions(SessionsFunctions):
    may_join: Callable[[str], bool]
    expel: Callable[[str], None]
