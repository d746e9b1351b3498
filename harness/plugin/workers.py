"""What the workers of pytest-xdist tell the process that controls them."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from pathlib import Path
from typing import Any

import pytest

from harness.evidence.fitting import fit

PLANS = "hil_plans"
"""Where workers write which tests there are: an input of theirs."""


class _Fitting:
    """The channel of a worker; whatever is sent is made fit for it.

    execnet ends the worker if it can't express a value: a lone surrogate, an object.
    """

    def __init__(self, channel: Any) -> None:
        self._channel = channel

    def send(self, event: Any) -> None:
        self._channel.send(fit(event))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._channel, name)


def mend_channel(config: pytest.Config) -> None:
    """Call this in a worker before it sends anything about tests."""
    for plugin in config.pluginmanager.get_plugins():
        if type(plugin).__name__ == "WorkerInteractor":
            plugin.channel = _Fitting(plugin.channel)


def check_arguments(config: pytest.Config) -> None:
    """@raise pytest.UsageError: execnet can't give the arguments to workers."""
    given = [str(each) for each in config.invocation_params.args]
    if fit(given) != given:
        raise pytest.UsageError("with workers (-n), all arguments must be valid UTF-8")
    for what, folder in (("this folder", str(Path.cwd())), ("TMPDIR", tempfile.gettempdir())):
        if fit(folder) != folder:
            raise pytest.UsageError(f"with workers (-n), the name of {what} must be valid UTF-8")


class Plans:
    """What the tests of a run would be in the report, by their names.

    Only the process that collects tests knows more of them than their names. With xdist those are
    the workers, and one that dies can't be asked any more: so it writes a file in advance.
    """

    def __init__(self) -> None:
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._known: dict[str, dict[str, Any]] = {}

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        with contextlib.suppress(OSError):  # a crashed test will be known by its name alone
            if self._folder is None:
                self._folder = tempfile.TemporaryDirectory(prefix="hil-plans-")
            node.workerinput[PLANS] = self._folder.name

    def find(self, name: str) -> dict[str, Any] | None:
        if name not in self._known and self._folder is not None:
            for path in Path(self._folder.name).glob("*.json"):
                with contextlib.suppress(OSError, ValueError):
                    self._known |= json.loads(path.read_text())
        found = self._known.get(name)
        return None if found is None else dict(found)

    def pytest_unconfigure(self) -> None:
        if self._folder is not None:
            self._folder.cleanup()


def write_plan(config: pytest.Config, plan: dict[str, dict[str, Any]]) -> None:
    """Call this in a worker that has collected its tests."""
    folder = getattr(config, "workerinput", {}).get(PLANS)
    if folder is not None:
        with contextlib.suppress(OSError):
            path = Path(folder) / f"{os.getpid()}"
            path.write_text(json.dumps(fit(plan)))
            path.rename(path.with_suffix(".json"))
