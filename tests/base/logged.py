"""What tests of logging share: the records in today's file, and a process as it was before."""

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from paradrop.base.output import out


def logging_ended() -> Iterator[None]:
    """Body of a fixture: whatever a test does, logging is over afterwards, and nothing is left."""
    hooks = sys.excepthook, threading.excepthook
    yield
    out.endLogging()
    out.logToConsole(True)
    out.logpath = None
    out.pdid = "UNSET"
    out._delivery.subscribers = ()
    assert (sys.excepthook, threading.excepthook) == hooks
    assert "PrintLogThread" not in [thread.name for thread in threading.enumerate()]


def written(folder: Path) -> list[dict[str, Any]]:
    """The records in today's file, strictly read."""
    assert out.flush()
    return [json.loads(line) for line in (folder / "log").read_text("ascii").splitlines()]


def messages(folder: Path) -> list[str]:
    return [record["message"] for record in written(folder)]


def run_python(code: str, *arguments: object) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
