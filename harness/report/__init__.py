"""What people read of a run: a page, a file for CI, a table in the terminal."""

from __future__ import annotations

from pathlib import Path

from harness.evidence.results import RunResult, write_text
from harness.report.html import page
from harness.report.junit import junit
from harness.report.kinds import kinds
from harness.report.table import table

__all__ = ["junit", "kinds", "page", "table", "write"]


def write(result: RunResult, folder: Path) -> Path:
    """Write `report.html`, `junit.xml` and `result.json`, each whole or not at all.

    @param folder: made if it is missing; the paths of the evidence are relative to it.
    @return: the page.
    """
    folder.mkdir(parents=True, exist_ok=True)
    result.write(folder / "result.json")
    write_text(folder / "junit.xml", junit(result))
    write_text(folder / "report.html", page(result))
    return folder / "report.html"
