"""A labgrid lab on the loopback: a coordinator, exporters of our own routers, and test runs."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

from harness.child import Child

LIMIT = 240.0
HIL = [sys.executable, "-c", "from harness.cli import main; main()"]
OURS = ("PYTEST_ADDOPTS", "PYTEST_XDIST_WORKER", "PYTEST_CURRENT_TEST")


class Lab:
    """@ivar address: of its coordinator."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        (folder / "tmp").mkdir()
        self.environment = {name: value for name, value in os.environ.items() if name not in OURS}
        self.environment["TMPDIR"] = str(folder / "tmp")
        self._children: list[Child] = []
        labgrid = Path(sys.executable).with_name("labgrid-coordinator")
        coordinator = self.start([labgrid, "-l", "127.0.0.1:0"], "coordinator")
        found = wait_for(coordinator, r"listening on (127\.0\.0\.1:\d+)")
        self.address = self.environment["LG_COORDINATOR"] = found[1]

    def start(self, words: list[str | Path], name: str) -> Child:
        child = Child(words, self._folder / f"{name}.log", cwd=self._folder, env=self.environment)
        self._children.append(child)
        return child

    def export(self, name: str, *places: str) -> Child:
        """An exporter, when it offers its routers."""
        words = [*HIL, "export", "qemu-x86_64", "--name", name]
        for place in places:
            words += ["--place", place]
        child = self.start(list(words), name)
        wait_for(child, f"{name} exports ")
        return child

    def client(self, *words: str) -> str:
        """labgrid's own command."""
        program = Path(sys.executable).with_name("labgrid-client")
        done = subprocess.run(
            [program, *words], env=self.environment, capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def close(self) -> None:
        for child in reversed(self._children):
            child.terminate()


class Run:
    """A run of suites in a process of its own, with a report."""

    def __init__(self, lab: Lab, folder: Path, suite: str, *arguments: str) -> None:
        self.folder = folder
        folder.mkdir()
        (folder / "pytest.ini").write_text("[pytest]\naddopts = -p no:labgrid\n")
        (folder / "test_suite.py").write_text(textwrap.dedent(suite))
        words = [
            sys.executable,
            "-m",
            "pytest",
            "-p",
            "no:cacheprovider",
            "-v",
            "--report",
            "report",
        ]
        self._log = folder / "output"
        with self._log.open("wb") as output:
            self._process = subprocess.Popen(
                [*words, *arguments],
                cwd=folder,
                env=lab.environment,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def wait(self) -> int:
        try:
            return self._process.wait(LIMIT)
        except BaseException:
            self.kill()
            raise

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def wait_until_exists(self, name: str) -> None:
        deadline = time.monotonic() + LIMIT
        while not (self.folder / name).exists():
            assert self._process.poll() is None, self.output
            assert time.monotonic() < deadline, self.output
            time.sleep(0.05)

    @property
    def output(self) -> str:
        return self._log.read_text()

    @property
    def result(self) -> dict[str, Any]:
        result: dict[str, Any] = json.loads((self.folder / "report/result.json").read_text())
        return result

    def test(self, name: str) -> dict[str, Any]:
        (found,) = [test for test in self.result["tests"] if test["id"].endswith(f"::{name}")]
        return found


def wait_for(child: Child, pattern: str) -> re.Match[str]:
    deadline = time.monotonic() + LIMIT
    while (found := re.search(pattern, child.log.read_text())) is None:
        assert child.running, child.log.read_text()
        assert time.monotonic() < deadline, child.log.read_text()
        time.sleep(0.05)
    return found
