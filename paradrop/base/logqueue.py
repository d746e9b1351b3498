"""The lines that wait for the log file: a bounded queue, and what was lost where it was full."""

import queue
import threading
from collections.abc import Callable, Iterable

from paradrop.base.logline import Line

LONG_LINE = 1024
"""Characters above which lines are counted by their length as well."""

LONG_LIMIT = 8 * 1024 * 1024
"""Characters of all long lines that may wait."""


class RecordQueue(queue.SimpleQueue["Line | threading.Event | None"]):
    """
    Takes lines from any thread, also within a signal handler; one thread gets them.

    It holds `limit` lines, of which the long ones (`LONG_LINE`) have at most `LONG_LIMIT`
    characters together, or are one; and one line more for each thread that offers one at the same
    moment. Where it is full, who offers waits for room, at most `patience` seconds, once: after
    that, and from the beginning while `stalled`, lines are refused without waiting until there is
    room again. Those that are refused are counted.

    @param limit: lines.
    @param patience: seconds.
    @ivar stalled: what `stall` was told.
    """

    def __init__(self, limit: int, patience: float) -> None:
        super().__init__()
        self.limit = limit
        self.patience = patience
        self.stalled = False
        self._long = 0
        self._lost = 0
        self._waiting = 0
        self._room = threading.Condition()

    def offer(self, line: Line) -> bool:
        """
        Put a line into the queue, if there is room or soon will be.

        @return: whether it is in the queue.
        """
        size = len(line[1])
        if size <= LONG_LINE and self.qsize() < self.limit:
            self.put(line)
            return True
        with self._room:
            self._wait(
                lambda: self.stalled or self._has_room(size), 0 if self._lost else self.patience
            )
            if not self._has_room(size):
                self._lost += 1
                return False
            if size > LONG_LINE:
                self._long += size
            self.put(line)
            return True

    def wait_for_room(self, timeout: float) -> bool:
        """
        @param timeout: seconds.
        @return: whether there is room for a line that is not long.
        """
        return self._wait(lambda: self._has_room(0), timeout)

    def stall(self, stalled: bool) -> None:
        """
        @param stalled: whether whoever gets the lines sees no end of its trouble: to wait for room
            is no use.
        """
        with self._room:
            self.stalled = stalled
            self._room.notify_all()

    def made_room(self, taken: Iterable[object] = ()) -> int:
        """
        Tell those who wait that lines were taken out.

        @param taken: what was; other things that were in the queue do not matter.
        @return: the number of lines that were refused since this was called last.
        """
        if not (self._waiting or self._lost or self._long):
            return 0
        with self._room:
            if self._long:
                sizes = (len(item[1]) for item in taken if type(item) is tuple)
                self._long -= sum(size for size in sizes if size > LONG_LINE)
            self._room.notify_all()
            lost, self._lost = self._lost, 0
            return lost

    def _wait(self, condition: Callable[[], bool], timeout: float) -> bool:
        with self._room:
            self._waiting += 1
            try:
                return self._room.wait_for(condition, timeout)
            finally:
                self._waiting -= 1

    def _has_room(self, size: int) -> bool:
        if self.qsize() >= self.limit:
            return False
        return size <= LONG_LINE or not self._long or self._long + size <= LONG_LIMIT
