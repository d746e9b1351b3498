"""Every fault is on the time line: it begins before anything is done, and ends after it is over.

So whatever happens between the two events may be a consequence of the fault, and nothing else is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from harness.evidence.timeline import Timeline


@contextmanager
def injected(timeline: Timeline | None, fault: str, **about: Any) -> Iterator[None]:
    """Do in the block what the fault is. If that fails, its end says why.

    @param fault: its name on the time line, such as `clock set`.
    @param about: what else is said there, such as the device. No secrets.
    """

    def record(event: str, **more: Any) -> None:
        if timeline is not None:
            timeline.record("fault", event, fault=fault, **about, **more)

    record("begins")
    try:
        yield
    except BaseException as error:
        record("ends", error=_first_line(error))
        raise
    record("ends")


class Lasting:
    """A fault that one call begins and another ends, such as a cable that is out."""

    def __init__(self, timeline: Timeline | None) -> None:
        self._timeline = timeline
        self._held: ExitStack | None = None

    def begin(self, fault: str, do: Callable[[], object], **about: Any) -> None:
        """Have it take effect. One that has begun already goes on.

        @param do: does it. If that raises, the fault has ended.
        @param fault, about: see `injected`.
        """
        if self._held is not None:
            do()
            return
        with ExitStack() as held:
            held.enter_context(injected(self._timeline, fault, **about))
            do()
            self._held = held.pop_all()

    def end(self, undo: Callable[[], object]) -> None:
        """Undo it.

        @param undo: does it, also if nothing has begun. If that raises, the fault has ended, and
            its end says why.
        """
        held, self._held = self._held, None
        with held or ExitStack():
            undo()


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
