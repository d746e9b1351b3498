"""What the suites are compared with really boots each router, also in the workers of a run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LIMIT = 240

SUITE = """
import pytest

@pytest.mark.parametrize("time", ["first", "again"])
def test_how_it_starts(device, bench, time):
    found = [e["event"] for e in bench.timeline.events(match=lambda e: e["source"] == device.name)]
    assert {"booted", "restored"} & set(found) == {"WANTED"}
    assert bench._pool._spare.keys() == (SPARES if time == "first" else set())
"""


@pytest.mark.parametrize(
    ("plugin", "wanted", "spares"),
    [((), "restored", "{'qemu-x86_64'}"), (("-p", "benchmarks.cold"), "booted", "set()")],
    ids=["fresh clones", "boots"],
)
def test_each_test_has_a_router_that(
    tmp_path: Path, plugin: tuple[str, ...], wanted: str, spares: str
) -> None:
    suite = tmp_path / "test_start.py"
    suite.write_text(SUITE.replace("WANTED", wanted).replace("SPARES", spares))
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    words = ["-q", "-n", "1", "-p", "no:cacheprovider", "--device", "qemu-x86_64", *plugin]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *words, str(suite)],
        cwd=tmp_path,
        env={
            **{name: value for name, value in os.environ.items() if "PYTEST" not in name},
            "PYTHONPATH": str(ROOT),
        },
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert "2 passed" in done.stdout
