"""What tests of several rooms use.

Property tests look more thoroughly, and take their time, with `--hypothesis-profile nightly`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

from harness.node import Node
from paradrop.base import settings

hypothesis.settings.register_profile(
    "nightly",
    max_examples=2000,
    deadline=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)


@pytest.fixture(scope="session")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    made = Node(tmp_path_factory.mktemp("node"))
    try:
        made.start()
        yield made
    finally:
        made.close()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A configuration home of the test's own; the settings are loaded."""
    monkeypatch.setenv("CONFIG_HOME_DIR", str(tmp_path / "etc"))
    monkeypatch.setenv("RUNTIME_HOME_DIR", str(tmp_path / "run"))
    settings.loadSettings("unittest")
    yield tmp_path / "etc"
    monkeypatch.undo()
    settings.loadSettings("production", make_folders=False)
