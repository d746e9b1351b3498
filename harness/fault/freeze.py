"""A device that stands still: nothing on it runs, but it keeps its memory and its connections."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from harness.evidence.timeline import Timeline
from harness.fault.injector import Lasting


class Freeze:
    """@param switch: stops the device (True) or lets it go on (False); supplied by its kind."""

    def __init__(self, device: str, switch: Callable[[bool], None], timeline: Timeline) -> None:
        self._device = device
        self._switch = switch
        self._fault = Lasting(timeline)

    @contextmanager
    def held(self) -> Iterator[None]:
        """The device stands still inside the block and goes on after it."""
        self._fault.begin("freeze", lambda: self._switch(True), device=self._device)
        try:
            yield
        finally:
            self._fault.end(lambda: self._switch(False))
