"""The records that wait for the log file: a bounded queue, and what was lost where it was full."""

import queue
import threading

from paradrop.base.logline import Line


class RecordQueue(queue.SimpleQueue["Line | threading.Event | None"]):
    """
    Takes records from any thread, also within a signal handler; one thread gets them.

    It holds `limit` records, and one more for each thread that offers one at the same moment.
    Where it is full, who offers waits for room, at most `patience` seconds, once: after that, and
    from the beginning while `stalled`, records are refused without waiting until there is room
    again. Those that are refused are counted.

    @param limit: records.
    @param patience: seconds.
    @ivar stalled: whoever gets the records sees no end of its trouble: waiting for room is no use.
    """

    def __init__(self, limit: int, patience: float) -> None:
        super().__init__()
        self.limit = limit
        self.patience = patience
        self.stalled = False
        self._lost = 0
        self._waiting = 0
        self._room = threading.Condition()

    def offer(self, record: Line) -> bool:
        """
        Put the line of a record into the queue, if there is room or soon will be.

        @return: whether it is in the queue.
        """
        if self.qsize() < self.limit or self._soon():
            self.put(record)
            return True
        return False

    def wait_for_room(self, timeout: float) -> bool:
        """
        @param timeout: seconds.
        @return: whether there is room.
        """
        with self._room:
            self._waiting += 1
            try:
                return self._room.wait_for(lambda: self.qsize() < self.limit, timeout)
            finally:
                self._waiting -= 1

    def made_room(self) -> int:
        """
        Tell those who wait that records were taken out.

        @return: the number of records that were refused since this was called last.
        """
        if not (self._waiting or self._lost):
            return 0
        with self._room:
            self._room.notify_all()
            lost, self._lost = self._lost, 0
            return lost

    def _soon(self) -> bool:
        if self.wait_for_room(0 if self.stalled or self._lost else self.patience):
            return True
        with self._room:
            self._lost += 1
        return False
