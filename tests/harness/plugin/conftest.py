"""Suites of a few lines, run by a pytest of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

LIMIT = 240
QUIETLY = ("-p", "no:cacheprovider", "-q")


class Suites:
    """A folder of suites, and the report of their last run."""

    def __init__(self, folder: Path, modules: dict[str, str]) -> None:
        self.folder = folder
        self.report = folder / "report"
        (folder / "pytest.ini").write_text("[pytest]\nmarkers =\n")
        for name, text in modules.items():
            (folder / f"{name}.py").write_text(textwrap.dedent(text))

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return self.start_plain("--report", str(self.report), *arguments)

    def start_plain(self, *arguments: str) -> subprocess.Popen[str]:
        """Without a report."""
        ours = {"PYTEST_ADDOPTS", "PYTEST_XDIST_WORKER", "PYTEST_CURRENT_TEST"}
        return subprocess.Popen(
            # a shell has what it starts in the background ignore Ctrl-C, and children inherit that
            ["env", "--default-signal=INT", sys.executable, "-m", "pytest", *QUIETLY, *arguments],
            cwd=self.folder,
            env={name: value for name, value in os.environ.items() if name not in ours},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",  # pytest writes names of files as they are
        )

    def run(self, *arguments: str) -> tuple[int, str]:
        """@return: exit status and output."""
        with self.start(*arguments) as child:
            try:
                output, _ = child.communicate(timeout=LIMIT)
            except BaseException:
                child.kill()
                raise
        return child.returncode, output

    @property
    def result(self) -> dict[str, Any]:
        result: dict[str, Any] = json.loads((self.report / "result.json").read_text())
        return result

    def test(self, name: str) -> dict[str, Any]:
        (found,) = [test for test in self.result["tests"] if test["id"].endswith(f"::{name}")]
        return found


@pytest.fixture(scope="module")
def suites(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Suites]:
    """`suites(test_some="…")`: modules by name."""

    def make(**modules: str) -> Suites:
        return Suites(tmp_path_factory.mktemp("suites"), modules)

    return make
