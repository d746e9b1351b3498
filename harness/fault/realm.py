"""What happens to one device on a node: its sessions are ended, it may join no more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, TypeVar

from harness.fault.fault import Fault
from harness.machine.protocols import Realm, Sessions

T = TypeVar("T", bound=Sessions)


@dataclass(frozen=True)
class _Ended(Fault[T]):
    target: ClassVar[str] = "node"

    pdid: str

    def before(self, on: T) -> Sequence[int]:
        return on.sessions(self.pdid)

    def begin(self, on: T) -> None:
        on.end(self.pdid)

    def proof(self, on: T, before: Sequence[int]) -> Mapping[str, object]:
        if not self.soon(lambda: not set(before) & set(on.sessions(self.pdid))):
            raise self.unproven(f"of the sessions {list(before)}, the router has some still")
        return {"sessions": list(before)}


@dataclass(frozen=True)
class SessionsEnded(_Ended[Sessions]):
    """The router ends the sessions of a device, as an operator may have it do. The device may join
    again at once."""

    name: ClassVar[str] = "sessions ended"


@dataclass(frozen=True)
class Revoked(_Ended[Realm]):
    """A device may join no more, and its sessions end."""

    name: ClassVar[str] = "revoke"

    def begin(self, on: Realm) -> None:
        on.expel(self.pdid)
        super().begin(on)

    def proof(self, on: Realm, before: Sequence[int]) -> Mapping[str, object]:
        if on.may_join(self.pdid):
            raise self.unproven("it may still join")
        return super().proof(on, before)
