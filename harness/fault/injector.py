"""Every fault is on the time line: it begins before anything is done, and ends after it is over.

So whatever happens between the two events may be a consequence of the fault, and nothing else is.
Its end says what has shown that the fault really happened.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from typing import Any, TypeVar

from harness.evidence.timeline import Timeline
from harness.fault.fault import Fault

T = TypeVar("T")


class Injector:
    """Does the faults of one target, and undoes those that last.

    @param target: what is said of it on the time line with each of its faults: `device="…"`.
    """

    def __init__(self, timeline: Timeline | None, **target: str) -> None:
        self._timeline = timeline
        self._target = target
        self._begun: dict[str, tuple[Fault[Any], Any, ExitStack]] = {}

    @property
    def begun(self) -> list[Fault[Any]]:
        """The faults that go on, the oldest first."""
        return [fault for fault, _, _ in self._begun.values()]

    def begin(self, fault: Fault[T], on: T) -> None:
        """Do a fault, and have it proved. If either fails, it has ended.

        One that does not last is over when this returns. Where one that lasts goes on already, it
        stays the same one.

        @raise UnprovenError: it did not happen.
        """
        again = fault.lasts and fault.place in self._begun
        with ExitStack() as ending:
            shown: dict[str, object] = {}
            if not again:
                ending.enter_context(self._on_time_line(fault, shown))
            before = fault.before(on)
            fault.begin(on)
            shown |= fault.proof(on, before)
            if fault.lasts and not again:
                self._begun[fault.place] = (fault, on, ending.pop_all())

    def end(self, fault: Fault[T], on: T) -> None:
        """Undo the fault that goes on in the place of this one; without one, undo this all the
        same. If that fails, the fault has ended."""
        _, _, ending = self._begun.pop(fault.place, (None, None, ExitStack()))
        with ending:
            fault.end(on)

    @contextmanager
    def held(self, fault: Fault[T], on: T) -> Iterator[None]:
        """A fault that lasts as long as the block, whatever happens there."""
        self.begin(fault, on)
        try:
            yield
        finally:
            self.end(fault, on)

    def undo(self) -> None:
        """End all that go on, the newest first; that one can't be ended stops none of the others.

        @raise HarnessError: one can't be.
        """
        with ExitStack() as all_of_them:
            for fault, on, _ in self._begun.values():
                all_of_them.callback(self.end, fault, on)

    @contextmanager
    def _on_time_line(self, fault: Fault[Any], shown: Mapping[str, object]) -> Iterator[None]:
        """@param shown: what shows that it has happened; filled in the block."""
        self._record("begins", fault)
        try:
            yield
        except BaseException as error:
            self._record("ends", fault, error=_first_line(error))
            raise
        self._record("ends", fault, shown=dict(shown))

    def _record(self, event: str, fault: Fault[Any], **more: object) -> None:
        if self._timeline is not None:
            about = {"fault": fault.name} | self._target | asdict(fault)  # type: ignore[call-overload]
            self._timeline.record("fault", event, **(about | more))


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
