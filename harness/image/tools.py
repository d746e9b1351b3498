"""Runs the programs that a build needs, with errors that say what to install or what broke."""

from __future__ import annotations

import functools
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from harness import environment
from harness.errors import ImageError, MissingToolError

_SHARED = (*environment.NETWORK, *environment.PYTHON, "HOME")
"""What a program of a build may need of ours: it downloads, unpacks, compiles."""


def find(program: str, package: str) -> str:
    """The path of a program.

    @raise MissingToolError: it is not installed.
    """
    path = shutil.which(program, path=environment.search_path())
    if path is None:
        raise MissingToolError(program, package)
    return path


@functools.cache
def version(program: str) -> str:
    """What a program says that it is, when asked for its `--version`."""
    done = subprocess.run(
        [program, "--version"],
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        env=environment.of(),
    )
    return done.stdout.partition("\n")[0]


def run(
    argv: Sequence[str | Path],
    package: str,
    *,
    purpose: str,
    stdin: str | None = None,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
) -> str:
    """Run a program to its end.

    @param package: the Debian package that has it.
    @param purpose: what could not be done, should it fail; begins the error.
    @return: its standard output.
    @raise MissingToolError: it is not installed.
    @raise ImageError: it failed.
    """
    program = find(str(argv[0]), package)
    done = subprocess.run(
        [program, *map(str, argv[1:])],
        input=stdin,
        stdin=subprocess.DEVNULL if stdin is None else None,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        cwd=cwd,
        env=environment.of(_SHARED, **{"TMPDIR": tempfile.gettempdir(), **(env or {})}),
        umask=environment.UMASK,
        check=False,
    )
    if done.returncode:
        output = (done.stderr + done.stdout).strip()
        raise ImageError(
            f"{purpose}: {argv[0]} ended with status {done.returncode}",
            hint=_hint(output),
            evidence="\n".join(output.splitlines()[-20:]),
        )
    return done.stdout


def _hint(output: str) -> str:
    if "No space left on device" in output:
        return "the disk is full: make room, or point XDG_CACHE_HOME and TMPDIR elsewhere"
    if "Temporary failure resolving" in output or "Could not connect" in output:
        return "the Debian mirror can't be reached: check the network and the apt sources"
    return ""
