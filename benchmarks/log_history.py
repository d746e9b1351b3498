"""The log of the last hour, out of a month of it: how long it takes, and how much memory.

Both sides read the same files, 30 days of 100,000 records, each in a process of its own, in turns.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from datetime import date, timedelta
from pathlib import Path
from statistics import median

from benchmarks.table import Row

ROUNDS = 3
DAYS = 30
A_DAY = 100_000
HOUR = 3600.0


def write(folder: Path) -> float:
    """
    Write the files of the days before today, the last of them as the file of today.

    @return: the time of the last record.
    """
    from paradrop.base.logline import encode

    stamp = 0.0
    for ago in range(DAYS, 0, -1):
        day = date.today() - timedelta(days=ago)
        begin, end = (time.mktime((day + timedelta(more)).timetuple()) for more in (0, 1))
        path = folder / ("log" if ago == 1 else f"log.{day:%Y_%m_%d}")
        with path.open("wb") as file:
            for number in range(A_DAY):
                stamp = begin + (end - begin) * number / A_DAY
                record = {
                    "message": f"request {number} was answered",
                    "type": 3,
                    "extra": {"event": "request.answered", "number": number},
                    "package": "daemon",
                    "module": "session",
                    "timestamp": stamp,
                    "pdid": "5f0c9c3e8a4b",
                    "line": 120,
                }
                file.write(encode(record))
        os.utime(path, (stamp, stamp))
    return stamp


def ours(folder: Path, target: float) -> int:
    from paradrop.base.output import out

    out.logpath = folder
    return len(out.getLogsSince(target))


def everything(folder: Path, target: float) -> int:
    found = []
    for path in sorted(folder.iterdir()):
        with path.open("rb") as file:
            for line in file:
                record = json.loads(line)
                if record["timestamp"] > target:
                    found.append(record)
    return len(found)


SIDES = {"ours": ours, "everything": everything}


def main(side: str, folder: str, target: str) -> None:
    """Print seconds, megabytes at the peak, and the number of records."""
    started = time.perf_counter()
    count = SIDES[side](Path(folder), float(target))
    took = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps([took, peak, count]))


def _measure(side: str, folder: Path, target: float) -> tuple[float, float, int]:
    command = [sys.executable, "-m", "benchmarks.log_history", side, str(folder), repr(target)]
    ended = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, timeout=600)
    took, peak, count = json.loads(ended.stdout)
    return took, peak, count


def run() -> list[Row]:
    """
    @return: seconds, and megabytes at the peak, of the whole process.
    @raise RuntimeError: the sides do not find the same.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        target = write(folder) - HOUR
        pairs = []
        for number in range(ROUNDS):
            order = ("ours", "everything") if number % 2 else ("everything", "ours")
            found = {side: _measure(side, folder, target) for side in order}
            if found["ours"][2] != found["everything"][2]:
                raise RuntimeError(f"the sides found different records: {found}")
            pairs.append((found["ours"], found["everything"]))
    took, peak, their_took = (
        median(pair[side][figure] for pair in pairs) for side, figure in ((0, 0), (0, 1), (1, 0))
    )
    ratio = median(other[0] / mine[0] for mine, other in pairs)
    what, against = f"last hour of {DAYS} days of log", "json.loads of every line"
    limit = 50.0
    return [
        Row(what, took, their_took, "s", ratio, 20.0, against),
        Row(f"{what}, peak memory", peak, limit, "MB", limit / peak, 1.0, f"{limit:g} MB"),
    ]


if __name__ == "__main__":
    main(*sys.argv[1:])
