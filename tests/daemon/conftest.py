"""The daemon as a real process in a home of its own, and a real router for it."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.child import Child
from harness.node import Node, Operator
from paradrop.base.concealment import Concealment
from paradrop.base.output import out

numbers = itertools.count()


@pytest.fixture(scope="session")
def operator(node: Node) -> Iterator[Operator]:
    made = node.operator()
    yield made
    made.close()


@pytest.fixture(autouse=True)
def secrets() -> Iterator[None]:
    """What a test has told the log to conceal is no secret in the next one."""
    yield
    out._delivery.concealment = Concealment()


class Daemon:
    """`paradropd` with its homes below a folder."""

    def __init__(self, folder: Path, **settings: object) -> None:
        self.folder = folder
        self.home = folder / "etc"
        self.runtime = folder / "run"
        self.console = folder / "console.log"
        self.home.mkdir(mode=0o750)
        self.environment = {
            **os.environ,
            "CONFIG_HOME_DIR": str(self.home),
            "RUNTIME_HOME_DIR": str(self.runtime),
            **{name: str(value) for name, value in settings.items()},
        }
        self.child: Child | None = None

    def start(self) -> None:
        self.child = Child(
            [sys.executable, "-m", "paradrop"],
            self.console,
            cwd=self.folder,
            env=self.environment,
        )

    def run(
        self, *words: str, environment: dict[str, str] | None = None, **options: Any
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "paradrop", *words],
            env=environment or self.environment,
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
            **options,
        )

    def provision(self, pdid: str, router: str, token: str) -> subprocess.CompletedProcess[str]:
        done = self.run(
            "provision", "--pdid", pdid, "--router", router, "--token-file", "-", input=token
        )
        assert done.returncode == 0, done.stderr
        return done

    def hang_up(self) -> None:
        assert self.child is not None
        os.kill(self.child.pid, signal.SIGHUP)

    def records(self, event: str = "") -> list[dict[str, Any]]:
        """What it has logged, of an event or all."""
        try:
            lines = (self.home / "logs" / "log").read_text().splitlines()
        except FileNotFoundError:
            return []
        found = [json.loads(line) for line in lines]
        return [one for one in found if not event or one["extra"].get("event") == event]

    def wait(self, event: str, count: int = 1, timeout: float = 20) -> list[dict[str, Any]]:
        wait_until(lambda: len(self.records(event)) >= count, timeout, f"{count} {event}")
        return self.records(event)

    @property
    def state(self) -> Any:
        return yaml.safe_load((self.home / "config").read_text())


def wait_until(condition: Callable[[], Any], timeout: float, what: str) -> None:
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, f"not within {timeout:g} s: {what}"
        time.sleep(0.02)


@pytest.fixture
def daemon(tmp_path: Path, node: Node) -> Iterator[Daemon]:
    (tmp_path / "ca.pem").write_bytes(node.ca_pem)
    made = Daemon(
        tmp_path,
        WAMP_CA_FILE=tmp_path / "ca.pem",
        WAMP_INITIAL_DELAY=0.2,
        HEARTBEAT_INTERVAL=0.5,
    )
    yield made
    if made.child is not None:
        made.child.kill()


@pytest.fixture
def new_daemon() -> type[Daemon]:
    """Makes one that knows no router, below a folder."""
    return Daemon


@pytest.fixture
def pdid() -> str:
    return f"daemon-{next(numbers)}"
