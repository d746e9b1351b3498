"""Network cables: unplug and replug them while the device runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from harness.evidence.timeline import Timeline


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
        self._timeline = timeline

    def down(self) -> None:
        """Unplug: nothing passes in either direction, and neither end is told."""
        self._switch(False)
        self._timeline.record("fault", "link down", device=self._device, link=self.name)

    def up(self) -> None:
        """Replug."""
        self._switch(True)
        self._timeline.record("fault", "link up", device=self._device, link=self.name)

    @contextmanager
    def unplugged(self) -> Iterator[None]:
        """The cable is out inside the block and back after it, whatever happens there."""
        self.down()
        try:
            yield
        finally:
            self.up()
