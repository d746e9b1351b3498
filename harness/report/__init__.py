"""What people read of a run: a page, a file for CI, a table in the terminal."""

from __future__ import annotations

from pathlib import Path

from harness.evidence.keeping import JUNIT, PAGE, RESULT
from harness.evidence.results import RunResult, write_text
from harness.report.html import page
from harness.report.junit import junit
from harness.report.kinds import kinds
from harness.report.table import table

__all__ = ["junit", "kinds", "page", "save", "table"]


def save(result: RunResult, folder: Path) -> list[str]:
    """Write `report.html`, `junit.xml` and `result.json`, each whole or not at all.

    What can be written is written, whatever becomes of the others.

    @param folder: made if it is missing; the paths of the evidence are relative to it.
    @return: a line for each file that can't be written.
    """
    lost = []
    makers = {RESULT: RunResult.to_json, JUNIT: junit, PAGE: page}
    for name, make in makers.items():
        try:
            folder.mkdir(parents=True, exist_ok=True)
            write_text(folder / name, make(result))
        except Exception as error:  # the others, and the table, are wanted all the more
            why = (isinstance(error, OSError) and error.strerror) or repr(error)
            lost.append(f"{folder / name}: {why}")
    return lost
