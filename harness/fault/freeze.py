"""A device that stands still: nothing on it runs, but it keeps its memory and its connections."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from harness.evidence.timeline import Timeline


class Freeze:
    """@param switch: stops the device (True) or lets it go on (False); supplied by its kind."""

    def __init__(self, device: str, switch: Callable[[bool], None], timeline: Timeline) -> None:
        self._device = device
        self._switch = switch
        self._timeline = timeline

    @contextmanager
    def held(self) -> Iterator[None]:
        """The device stands still inside the block and goes on after it."""
        self._switch(True)
        self._timeline.record("fault", "frozen", device=self._device)
        try:
            yield
        finally:
            self._switch(False)
            self._timeline.record("fault", "thawed", device=self._device)
