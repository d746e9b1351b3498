"""Adding a fault is as short as the page says: its own text, in a copy of the harness, works."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).parents[3]
PAGE = PROJECT / "docs/faults.md"


def test_the_example_of_the_page(tmp_path: Path) -> None:
    for folder in ("harness", "paradrop"):
        ignore = shutil.ignore_patterns("__pycache__")
        shutil.copytree(PROJECT / folder, tmp_path / folder, ignore=ignore)
    fault, test = re.findall(r"```python\n(\"\"\".*?)```", PAGE.read_text(), re.DOTALL)
    (name,) = re.findall(r"`(harness/fault/\w+\.py)`:\n\n```python\n\"\"\"", PAGE.read_text())
    (tmp_path / name).write_text(fault)
    (tmp_path / "test_page.py").write_text(test)

    def run(program: str, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", program, *words],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(tmp_path)},
            capture_output=True,
            text=True,
            timeout=240,
        )

    passed = run("pytest", "-q", "test_page.py", "--device", "process", "--report", "report")
    assert passed.returncode == 0, passed.stdout
    harmless = re.sub(r"kill -STOP", "kill -0", fault)
    (tmp_path / name).write_text(harmless)
    failed = run("pytest", "-q", "test_page.py", "--device", "process")
    assert failed.returncode == 1
    assert "daemon hangs did not happen: the kernel says State:" in failed.stdout
