"""One clock for a run: every event of it, as JSON lines on the host's monotonic clock."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any


class Timeline:
    """Appends events to a file, from any thread.

    An event is one JSON object a line: `t` (seconds of `time.monotonic`), `wall` (seconds since
    the epoch), `source` (such as `node`, `qemu-x86_64`, `fault`, `test`), `event`, and whatever
    the source adds.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._file = path.open("ab", buffering=0)
        self._whole = path.read_bytes()[-1:] in (b"", b"\n")  # else its last writer was killed
        self._lost = 0

    def record(self, source: str, event: str, **fields: Any) -> float:
        """Append one event; after L{close} it is dropped.

        A full disk costs events, but neither a test nor the run. How many were lost is told by
        the next event that can be written.

        @param fields: what the source adds; `t` and `wall` belong to the clock and are ignored.
        @return: its time, in seconds of `time.monotonic`.
        """
        with self._lock:  # the time is taken inside, so that the lines are in its order
            now = time.monotonic()
            clock = {"t": now, "wall": time.time()}
            entry = clock | {"source": source, "event": event} | fields | clock
            if not self._file.closed:
                lost = {"events_lost_before": self._lost} if self._lost else {}
                self._append(json.dumps(entry | lost, default=str).encode() + b"\n")
        return now

    def _append(self, line: bytes) -> None:
        if not self._whole:
            line = b"\n" + line
        try:
            written = self._file.write(line)
        except OSError:
            written = 0
        if written == len(line):
            self._whole, self._lost = True, 0
        else:
            self._whole = self._whole and not written
            self._lost += 1

    def events(
        self, since: float = 0.0, match: Callable[[dict[str, Any]], bool] | None = None
    ) -> Iterator[dict[str, Any]]:
        """The recorded events later than `since` (seconds of `time.monotonic`), oldest first.

        A reading ends with what was there when it began. A line that a killed writer left
        unfinished is left out.
        """
        with self._lock:  # what is written beyond this point may be half a line
            end = self.path.stat().st_size
        with self.path.open("rb") as file:
            for line in file:
                end -= len(line)
                if end < 0:
                    return
                try:
                    entry = json.loads(line)
                except ValueError:
                    continue
                if entry["t"] > since and (match is None or match(entry)):
                    yield entry

    def close(self) -> None:
        with self._lock:
            self._file.close()
