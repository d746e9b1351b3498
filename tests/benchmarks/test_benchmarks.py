"""The table of the benchmarks, and their command line."""

from __future__ import annotations

import io
import subprocess
import sys

import pytest
from rich.console import Console

from benchmarks.table import Row, table


def shown(*rows: Row) -> str:
    console = Console(width=120, file=io.StringIO())
    console.print(table(rows))
    text: str = console.file.getvalue()  # type: ignore[attr-defined]
    return text


def test_a_figure_that_is_not_reached_is_told_apart() -> None:
    reached = Row("calls", 990, 1000, "/s", 0.99, 0.97, "bare")
    missed = Row("records", 2e6, 1e6, "/s", 2.0, 5)
    nobody = Row("tried", 3, 4, "each", 1.3)
    assert [row.reached for row in (reached, missed, nobody)] == [True, False, True]
    lines = shown(reached, missed, nobody).splitlines()
    (yes,) = [line for line in lines if "calls" in line]
    (no,) = [line for line in lines if "records" in line]
    assert "yes" in yes
    assert "bare" in yes
    assert "NO" in no
    assert "2,000,000/s" in no


@pytest.mark.parametrize(
    ("words", "status", "told"),
    [(["nothing"], 2, "there is no benchmark nothing"), (["--help"], 0, "calls, logging")],
)
def test_the_command_line(words: list[str], status: int, told: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", *words], capture_output=True, text=True, check=False
    )
    assert done.returncode == status
    assert told in done.stdout + done.stderr
