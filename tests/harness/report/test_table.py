"""The terminal says the same as the page, in words, on any terminal."""

import io
import json
from pathlib import Path
from xml.etree import ElementTree as ET

import samples
from rich.console import Console

from harness.evidence.results import RunResult
from harness.report import save, table


def printed(result: RunResult, width: int = 110) -> str:
    output = io.TextIOWrapper(io.BytesIO(), encoding="ascii")  # a CI log may know no more
    Console(file=output, width=width, force_terminal=False).print(table(result))
    output.flush()
    return output.buffer.getvalue().decode("ascii")  # type: ignore[attr-defined]


def test_the_grid_and_the_verdict_are_printed() -> None:
    text = printed(samples.mixed())
    assert "qemu-aarch64" in text
    assert "The log rotates at midnight" in text
    assert "error: boot" in text
    assert "no new session within 60 s" in text
    assert "not applicable" in text
    assert text.rstrip().endswith("5 min 41 s")
    assert "FAILED  36 tests on 2 devices: 66 passed, 2 failed, 1 boot error" in text


def test_markup_of_a_router_is_text() -> None:
    text = printed(samples.mixed(2, "[bold]x[/bold]"), width=400)
    assert "gets its device back[bold]x[/bold]" in text
    assert "after the router restarted[bold]x[/bold]" in text


def test_all_three_files_are_written_whole(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "qualification"
    assert save(samples.mixed(), folder) == []
    assert sorted(file.name for file in folder.iterdir()) == [
        "junit.xml",
        "report.html",
        "result.json",
    ]
    assert RunResult.from_json((folder / "result.json").read_text()) == samples.mixed()
    assert json.loads((folder / "result.json").read_text())["verdict"] == "failed"
    assert ET.parse(folder / "junit.xml").getroot().tag == "testsuites"
