"""The power of a device, cut and given back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from harness.fault.fault import Fault
from harness.fault.injector import Injector
from harness.machine.protocols import Supply


@dataclass(frozen=True)
class PowerCut(Fault[Supply]):
    """What the device had not written to its disk is lost."""

    name: ClassVar[str] = "power cut"
    target: ClassVar[str] = "machine"
    needs: ClassVar[str] = "power"
    lasts: ClassVar[bool] = True

    @property
    def place(self) -> str:
        return "power"

    def begin(self, on: Supply) -> None:
        on.cut()

    def proof(self, on: Supply, before: None) -> Mapping[str, object]:
        if on.is_on():
            raise self.unproven("the device still has power")
        return {"power": False}

    def end(self, on: Supply) -> None:
        on.give()


class Power:
    """What a test says of the power of a device."""

    def __init__(self, supply: Supply, injector: Injector) -> None:
        self._supply = supply
        self._injector = injector

    def cut(self) -> None:
        """Pull the plug: what the device had not written to its disk is lost."""
        self._injector.begin(PowerCut(), self._supply)

    def on(self) -> None:
        """Give the power back and wait until the device has booted.

        @raise BootError: it does not come up.
        """
        self._injector.end(PowerCut(), self._supply)

    def cycle(self) -> None:
        """Cut the power and give it back."""
        self.cut()
        self.on()
