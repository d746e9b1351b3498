"""Log records a second, from the call until they are in the file, and what a call costs its caller.

Every side logs the same messages from a function of its own, into a file in a folder of its own, in
a process of its own; the sides take turns. "In the file" is handed to the system: nobody syncs.

The limit is what Python can do at most: `orjson` and a buffered file, in the caller's thread, with
neither call site nor rotation, and nothing that survives a slow disk.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from benchmarks.table import Row

ROUNDS = 7
PASSES = 5
RECORDS = 40_000
BURSTS = 200
BURST = 200


class Side(NamedTuple):
    """A way to log: `info` takes a message, `drain` returns when all are in the file."""

    info: Callable[[str], object]
    drain: Callable[[], object]
    records: int = RECORDS


def ours(folder: Path) -> Side:
    from paradrop.base.output import out

    out.startLogging(folder, printToConsole=False, maxBytes=0)

    def drain() -> None:
        if not out.flush(60):
            raise TimeoutError("the log was not written within 60 s")

    return Side(lambda message: out.info(message), drain)


def standard(folder: Path) -> Side:
    import logging
    import logging.handlers
    import queue

    class Json(logging.Formatter):
        def format(self, record: logging.LogRecord) -> str:
            return json.dumps(
                {
                    "message": record.getMessage(),
                    "type": record.levelno,
                    "extra": {},
                    "package": record.name,
                    "module": record.module,
                    "timestamp": record.created,
                    "pdid": "UNSET",
                    "line": record.lineno,
                }
            )

    waiting: queue.Queue[Any] = queue.Queue()
    file = logging.handlers.TimedRotatingFileHandler(folder / "log", when="midnight")
    file.setFormatter(Json())
    logging.handlers.QueueListener(waiting, file).start()
    logger = logging.getLogger("bench")
    logger.setLevel(logging.INFO)
    logger.addHandler(logging.handlers.QueueHandler(waiting))
    return Side(lambda message: logger.info(message), waiting.join)


def loguru(folder: Path) -> Side:
    from loguru import logger

    logger.remove()
    logger.add(folder / "log", serialize=True, enqueue=True, rotation="00:00")
    return Side(lambda message: logger.info(message), logger.complete, RECORDS // 4)


def limit(folder: Path) -> Side:
    import orjson

    file = (folder / "log").open("wb")

    def info(message: str) -> None:
        record = {
            "message": message,
            "type": 3,
            "extra": {},
            "package": "benchmarks",
            "module": "logging",
            "timestamp": time.time(),
            "pdid": "UNSET",
            "line": 1,
        }
        file.write(orjson.dumps(record) + b"\n")

    return Side(info, file.flush)


SIDES = {"ours": ours, "standard": standard, "loguru": loguru, "limit": limit}


def records_per_second(side: Side) -> float:
    def once() -> float:
        started = time.perf_counter()
        for number in range(side.records):
            side.info(f"record {number}")
        side.drain()
        return side.records / (time.perf_counter() - started)

    once()
    return median(once() for _ in range(PASSES))


def microseconds_per_call(side: Side) -> float:
    """Of bursts that the queue has room for, each after the one before is in the file."""

    def once() -> float:
        started = time.perf_counter()
        for _ in range(BURST):
            side.info("a message")
        ended = time.perf_counter()
        side.drain()
        return (ended - started) / BURST * 1e6

    once()
    return median(once() for _ in range(BURSTS))


MEASURES = {"records": records_per_second, "call": microseconds_per_call}


def _measure(measure: str, side: str) -> float:
    command = [sys.executable, "-m", "benchmarks.logging", measure, side]
    ended = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, timeout=600)
    return float(ended.stdout)


def _rows(measure: str, what: str, unit: str, others: dict[str, tuple[float, str]]) -> list[Row]:
    """@param others: by side, what our ratio has to be, and what it is."""
    rounds = []
    for number in range(ROUNDS):
        order = ["ours", *others] if number % 2 else [*others, "ours"]
        rounds.append({side: _measure(measure, side) for side in order})
    rows = []
    for side, (least, against) in others.items():
        pairs = [(found["ours"], found[side]) for found in rounds]
        mine, theirs = (median(figures) for figures in zip(*pairs, strict=True))
        more = median(a / b for a, b in pairs)
        ratio = 1 / more if unit == "µs" else more
        rows.append(Row(what, mine, theirs, unit, ratio, least, against))
    return rows


def run() -> list[Row]:
    """@return: the figures against each of the others."""
    return [
        *_rows(
            "records",
            "log records into the file",
            "/s",
            {
                "standard": (5.0, "logging: queue, rotation, JSON"),
                "loguru": (30.0, "loguru(serialize, enqueue)"),
                "limit": (0.4, "the limit: orjson, one file"),
            },
        ),
        *_rows(
            "call",
            "one call of out.info",
            "µs",
            {"standard": (4.0, "logging with QueueHandler")},
        ),
    ]


def main(measure: str, side: str) -> None:
    """Print one figure of one side."""
    with tempfile.TemporaryDirectory() as folder:
        print(MEASURES[measure](SIDES[side](Path(folder))), flush=True)
        # Without the ends of threads and queues: they are not what is measured.
        sys.stdout.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
