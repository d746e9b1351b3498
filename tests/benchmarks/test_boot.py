"""The chart of a boot."""

from __future__ import annotations

import io

from rich.console import Console

from benchmarks.boot import WIDTH, Stage, chart


def test_each_stage_has_its_place_and_its_length() -> None:
    boot = [Stage("kernel", 0, 2.5), Stage("blink", 2.5, 2.51), Stage("daemon", 2.51, 10)]
    console = Console(width=120, file=io.StringIO())
    console.print(chart("a boot of none", boot))
    title, _, *lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert title.strip() == "a boot of none"
    edge = lines[0].index("█")
    quarter = WIDTH // 4
    assert [
        (line.index(bar) - edge, line.count(bar))
        for line, bar in zip(lines[:3], "█▏█", strict=True)
    ] == [
        (0, quarter),
        (quarter, 1),
        (quarter, WIDTH - quarter),
    ]
    assert lines[2].split()[:3] == ["2.51", "7.49", "s"]
