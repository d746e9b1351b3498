"""A report's folder that can't be used is said before the run; one that breaks later costs no more
than the files."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

MARKS = """
import shutil
from pathlib import Path
HERE = Path(__file__).parent
def test_any(device_kind): (HERE / "ran").touch()
"""


@pytest.mark.parametrize(
    ("name", "arguments"),
    [("test_any.py", []), ("test_any.py/below", ["-n", "2"]), ("x" * 300, []), ("", [])],
    ids=["file", "below a file", "long", "empty"],
)
def test_a_bad_folder_is_said_before_the_run(
    suites: Callable[..., Any], name: str, arguments: list[str]
) -> None:
    made = suites(test_any=MARKS)
    status, output = made.run("--report", name, *arguments)
    assert status == 4, output
    (line,) = [line for line in output.splitlines() if line.strip()]
    assert "report" in line
    assert not (made.folder / "ran").exists()


def test_an_earlier_report_stays_if_the_run_is_refused(suites: Callable[..., Any]) -> None:
    made = suites(test_any=MARKS)
    made.report.mkdir()
    (made.report / "report.html").write_text("old")
    assert made.run("--device", "nonsense")[0] == 4
    assert (made.report / "report.html").read_text() == "old"


def test_a_folder_that_vanishes_or_becomes_a_file(suites: Callable[..., Any]) -> None:
    made = suites(
        test_vanishes=MARKS
        + """
def test_removes(device_kind, bench):
    shutil.rmtree(HERE / "report")
    assert False, "kept"
"""
    )
    made.report.mkdir()
    (made.report / "evidence").write_text("a file")
    status, output = made.run()
    assert status == 1, output
    (time_line,) = made.test("test_removes")["evidence"]
    assert (made.report / time_line["path"]).is_file()

    (made.folder / "test_vanishes.py").write_text(
        MARKS
        + """
def test_replaces(device_kind, bench):
    shutil.rmtree(HERE / "report")
    (HERE / "report").write_text("in the way")
    assert False, "told"
"""
    )
    status, output = made.run()
    assert status == 1, output
    assert "told" in output
    assert "1 failed" in output
    assert len([line for line in output.splitlines() if line.startswith("not written: ")]) == 3
    assert "Traceback" not in output
    assert "INTERNALERROR" not in output


@pytest.mark.parametrize("arguments", [[], ["-n", "2", "--dist", "loadfile"]], ids=["one", "two"])
def test_a_disk_that_gets_full(
    suites: Callable[..., Any], tmp_path: Path, arguments: list[str]
) -> None:
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(tmp_path)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("nothing can be mounted here")
    try:
        made = suites(
            test_full=f"""
                import pytest
                def test_before(device_kind, bench): assert False, "earlier"
                def test_fills(device_kind, bench):
                    with open("{tmp_path}/filler", "wb", buffering=0) as file:
                        while True:
                            file.write(bytes(4096))
                def test_after(device_kind, bench): assert False, "later"
                def test_passes(device_kind): pass
            """
        )
        report = tmp_path / "report"
        status, output = made.run("--report", str(report), *arguments)
        assert status == 1, output
        for word in ("2 failed, 1 infrastructure error", "earlier", "later", "FAILED"):
            assert word in output
        assert "INTERNALERROR" not in output
        lost = [line for line in output.splitlines() if line.startswith("not written: ")]
        assert lost
        assert all("No space left" in line for line in lost)
        assert not list(report.glob(".*"))

        (tmp_path / "filler").unlink()
        (made.folder / "test_full.py").write_text(
            f"""
def test_leaves_room(device_kind, bench):
    with open("{tmp_path}/filler", "wb", buffering=0) as file:
        file.write(bytes((1 << 20) - 200_000))
    bench.timeline.record("test", "x" * 100_000)
    assert False, "kept"
"""
        )
        status, output = made.run("--report", str(report), *arguments)
        assert status == 1, output
        assert "not written" not in output
        result = json.loads((report / "result.json").read_text())
        (test,) = result["tests"]
        (time_line,) = test["evidence"]
        assert time_line["path"] == ""
        assert time_line["tail"].startswith("not kept: ")
        for page in ("report.html", "junit.xml"):
            assert "not kept: " in (report / page).read_text()
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)
