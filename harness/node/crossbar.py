"""Crossbar as a child of ours: found, started, ended."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from harness.child import Child
from harness.errors import InfrastructureError


def find() -> Path:
    """That of this Python environment, else the one in the search path: what the library needs may
    be too old for a crossbar beside it.

    @raise InfrastructureError: it is not installed.
    """
    program = Path(sys.executable).with_name("crossbar")
    if program.exists():
        return program
    elsewhere = shutil.which("crossbar")
    if elsewhere is None:
        raise InfrastructureError(
            f"crossbar is not installed: there is no {program}",
            hint="pip install 'paradrop[harness]'",
        )
    return Path(elsewhere)


def launch(folder: Path, config: Mapping[str, Any], printed: Callable[[str], None]) -> Child:
    """Start crossbar with its files in `folder` and its output appended to `crossbar.log`.

    See `find` for which one; it speaks with nobody but those who join.

    @param printed: called with each line of its output, in a thread of its own.
    @raise InfrastructureError: it is not installed.
    """
    program = find()
    (folder / "config.json").write_text(json.dumps(config, indent=2))
    (folder / "node.pid").unlink(missing_ok=True)  # of one that was killed; the pid may be reused
    return Child(
        [
            program,
            *("standalone", "start"),
            *("--cbdir", folder),
            *("--loglevel", "info", "--logformat", "standard", "--color", "false"),
        ],
        folder / "crossbar.log",
        env={**os.environ, "PYTHONUNBUFFERED": "1"},  # evidence must not wait for a full buffer
        printed=printed,
    )
