"""How many tests a minute the suites do on an emulated router: fresh clones against a boot each.

All of `hil` on one kind of device, with as many workers as `hil qualify` takes; all that differs is
the plugin `benchmarks.cold`. Both sides pass every test, or there is no figure.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.routers import KINDS, arch_of
from benchmarks.table import Row
from harness import bench as benches
from harness.device import memory

KIND = KINDS[0]
SUITES = Path(__file__).resolve().parents[1] / "hil"
COLD = ("-p", "benchmarks.cold")


def tests_a_minute(count: int, *arguments: str) -> float:
    """Run all suites to their end.

    @param count: how many tests run at once.
    @raise RuntimeError: a test did not pass.
    """
    words = [sys.executable, "-m", "pytest", str(SUITES), "--device", KIND, "-q"]
    words += ["-n", str(count), "--dist", "loadgroup", "--no-loadscope-reorder"]
    words += ["-p", "no:cacheprovider", *arguments]
    with tempfile.TemporaryDirectory(prefix="hil-", ignore_cleanup_errors=True) as folder:
        report = Path(folder) / "report"
        began = time.monotonic()
        ended = subprocess.run(
            [*words, "--report", str(report)],
            cwd=SUITES.parent,
            env={**os.environ, "TMPDIR": folder},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        took = time.monotonic() - began
        if ended.returncode != 0:
            raise RuntimeError(f"not every test passed:\n{ended.stdout[-4000:]}")
        verdicts = [
            test["verdict"] for test in json.loads((report / "result.json").read_text())["tests"]
        ]
    return verdicts.count("passed") / took * 60


def run() -> list[Row]:
    """@return: tests a minute."""
    benches.prepare(KIND, lambda line: None)
    count, _ = memory.workers(len(os.sched_getaffinity(0)), memory.available())
    ours, theirs = tests_a_minute(count), tests_a_minute(count, *COLD)
    what = f"all suites on {arch_of(KIND)}, {count} at once"
    return [Row(what, ours, theirs, "/min", ours / theirs, 4, "a boot for each test")]
