"""
Runs the benchmarks that are named, or all, each in a process of its own, and prints the table
and what they have drawn.

Exit codes: 0 all figures reached, 1 some were not or a benchmark failed, 2 wrong usage.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import json
import subprocess
import sys

from rich.console import Console

from benchmarks.table import Row, table

NAMES = (
    "calls",
    "logging",
    "log_history",
    "fresh",
    "boot",
    "first_fact",
    "clones",
    "suite",
    "from_nothing",
    "rejoin",
)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)}")
    parser.add_argument("--json", action="store_true", help="print the rows as JSON")
    options = parser.parse_args()
    unknown = set(options.names) - set(NAMES)
    if unknown:
        parser.error(f"there is no benchmark {', '.join(sorted(unknown))}")
    if options.json and len(options.names) == 1:
        module = importlib.import_module(f"benchmarks.{options.names[0]}")
        sys.stdout.write(json.dumps([dataclasses.asdict(row) for row in module.run()]) + "\n")
        return 0
    rows: list[Row] = []
    charts: list[str] = []
    failed = False
    for name in options.names or NAMES:
        print(f"{name} …", file=sys.stderr, flush=True)
        ended = subprocess.run(
            [sys.executable, "-m", "benchmarks", "--json", name],
            stdout=subprocess.PIPE,
            text=True,
            check=False,
        )
        if ended.returncode != 0:
            failed = True
            continue
        *shown, last = ended.stdout.splitlines()
        rows += [Row(**row) for row in json.loads(last)]
        charts += shown
    if options.json:
        print(json.dumps([dataclasses.asdict(row) for row in rows]))
    else:
        if rows:
            Console(width=110).print(table(rows))
        print("\n".join(charts))
    return int(failed or not all(row.reached for row in rows))


if __name__ == "__main__":
    sys.exit(main())
