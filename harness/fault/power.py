"""The power switch of a device: cut, on, cycle."""

from __future__ import annotations

from collections.abc import Callable

from harness.evidence.timeline import Timeline
from harness.fault.injector import Lasting


class Power:
    """The supply of a device.

    @param cut: takes the power away at once; nothing on the device gets to run.
    @param on: gives it back and returns when the device has booted.
    """

    def __init__(
        self,
        device: str,
        cut: Callable[[], None],
        on: Callable[[], None],
        timeline: Timeline,
    ) -> None:
        self._device = device
        self._cut = cut
        self._on = on
        self._fault = Lasting(timeline)

    def cut(self) -> None:
        """Pull the plug: what the device had not written to its disk is lost."""
        self._fault.begin("power cut", self._cut, device=self._device)

    def on(self) -> None:
        """Give the power back and wait until the device has booted.

        @raise BootError: it does not come up.
        """
        self._fault.end(self._on)

    def cycle(self) -> None:
        """Cut the power and give it back."""
        self.cut()
        self.on()
