"""The shell that a command was started from: made fit for one, whatever it is like.

Streams that are closed, encodings without our characters, a umask that takes from us what is ours,
a width of nothing.
"""

from __future__ import annotations

import io
import os
import shutil
import sys
from typing import Any

from rich.console import Console


def prepare() -> None:
    """Make standard streams that can be used, and files that we can read ourselves."""
    while (opened := os.open(os.devnull, os.O_RDWR)) <= 2:  # else a file of ours gets the number
        pass
    os.close(opened)
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: PTH123, SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    os.umask(os.umask(0o077) & 0o077)


def shows(text: str) -> bool:
    """Whether standard output has the characters of a text."""
    try:
        text.encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return False
    return True


def console(**options: Any) -> Console:
    """Where we print, as wide as the terminal. `rich` alone takes `COLUMNS=0` at its word."""
    return Console(width=shutil.get_terminal_size().columns, **options)
