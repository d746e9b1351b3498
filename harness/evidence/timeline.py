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
        self._file = path.open("a", encoding="utf-8", buffering=1)

    def record(self, source: str, event: str, **fields: Any) -> float:
        """Append one event.

        @return: its time, in seconds of `time.monotonic`.
        """
        now = time.monotonic()
        entry = {"t": now, "wall": time.time(), "source": source, "event": event, **fields}
        with self._lock:
            if not self._file.closed:
                self._file.write(json.dumps(entry, default=str) + "\n")
        return now

    def events(
        self, since: float = 0.0, match: Callable[[dict[str, Any]], bool] | None = None
    ) -> Iterator[dict[str, Any]]:
        """The recorded events later than `since` (seconds of `time.monotonic`), oldest first."""
        with self.path.open(encoding="utf-8") as lines:
            for line in lines:
                entry = json.loads(line)
                if entry["t"] > since and (match is None or match(entry)):
                    yield entry

    def close(self) -> None:
        with self._lock:
            self._file.close()
