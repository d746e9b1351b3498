"""What every benchmark gives, and how it is shown."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

from rich.table import Table


@dataclasses.dataclass(frozen=True)
class Row:
    """
    A figure of ours beside one of something else, both measured in one run, in turns.

    @ivar unit: of both figures: `/s`, `/min`, `s`, `MB`.
    @ivar ratio: by which factor ours is better; a median of neighbours, so not that of the figures.
    @ivar at_least: what the ratio has to be; None where that is nobody's promise.
    @ivar against: what the other one is.
    """

    what: str
    ours: float
    theirs: float
    unit: str
    ratio: float
    at_least: float | None = None
    against: str = ""

    @property
    def reached(self) -> bool:
        return self.at_least is None or self.ratio >= self.at_least


def table(rows: Iterable[Row]) -> Table:
    """The rows for people."""
    made = Table("what", "against", "ours", "theirs", "ratio", "at least", "")
    for column in made.columns[2:6]:
        column.justify = "right"
    for row in rows:
        made.add_row(
            row.what,
            row.against,
            _figure(row.ours, row.unit),
            _figure(row.theirs, row.unit),
            f"{row.ratio:.3g}",
            "" if row.at_least is None else f"{row.at_least:g}",
            "" if row.at_least is None else "yes" if row.reached else "NO",
        )
    return made


def _figure(value: float, unit: str) -> str:
    text = f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
    return f"{text}{unit}" if unit.startswith("/") else f"{text} {unit}"
