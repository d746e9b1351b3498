"""The router of a node that goes away, in good order or in a crash, and comes back."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from harness.fault.fault import Fault
from harness.machine.protocols import Router


class _Away(Fault[Router]):
    target: ClassVar[str] = "node"
    lasts: ClassVar[bool] = True

    @abstractmethod
    def begin(self, on: Router) -> None: ...

    def proof(self, on: Router, before: None) -> Mapping[str, object]:
        if on.process() is not None or not self.soon(lambda: not on.answers()):
            raise self.unproven("it still runs")
        return {"answers": False}

    def end(self, on: Router) -> None:
        on.launch()


@dataclass(frozen=True)
class NodeStopped(_Away):
    """The router says goodbye to everybody."""

    name: ClassVar[str] = "node stop"

    def begin(self, on: Router) -> None:
        on.end(True)


@dataclass(frozen=True)
class NodeKilled(_Away):
    """The router dies as if its computer had crashed. It says goodbye to nobody."""

    name: ClassVar[str] = "node kill"

    def begin(self, on: Router) -> None:
        on.end(False)


@dataclass(frozen=True)
class NodeRestarted(Fault[Router]):
    """The router says goodbye to everybody, and is there again at once."""

    name: ClassVar[str] = "node restart"
    target: ClassVar[str] = "node"

    def before(self, on: Router) -> int | None:
        return on.process()

    def begin(self, on: Router) -> None:
        on.end(True)
        on.launch()

    def proof(self, on: Router, before: int | None) -> Mapping[str, object]:
        now = on.process()
        if now in (None, before):
            raise self.unproven("it is the same process")
        return {"pid": now}
