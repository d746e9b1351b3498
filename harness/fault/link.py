"""Network cables: unplug and replug them while the device runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from harness.evidence.timeline import Timeline
from harness.fault.injector import Lasting


class Link:
    """One cable of a device.

    @param switch: puts the carrier up (True) or down (False); supplied by the kind of device.
    """

    def __init__(
        self, device: str, name: str, switch: Callable[[bool], None], timeline: Timeline
    ) -> None:
        self._device = device
        self.name = name
        self._switch = switch
        self._fault = Lasting(timeline)

    def down(self) -> None:
        """Unplug: nothing passes in either direction, and neither end is told."""
        self._fault.begin(
            "link down", lambda: self._switch(False), device=self._device, link=self.name
        )

    def up(self) -> None:
        """Replug."""
        self._fault.end(lambda: self._switch(True))

    @contextmanager
    def unplugged(self) -> Iterator[None]:
        """The cable is out inside the block and back after it, whatever happens there."""
        self.down()
        try:
            yield
        finally:
            self.up()
