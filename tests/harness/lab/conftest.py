"""The lab that tests share, and runs that end with their test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from laboratory import Lab, Run


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A coordinator, and nothing yet."""
    made = Lab(tmp_path_factory.mktemp("lab"))
    try:
        yield made
    finally:
        made.close()


@pytest.fixture
def run(lab: Lab, tmp_path: Path) -> Iterator[Callable[..., Run]]:
    """`run("…suite…", "--device", …)`: started, not waited for."""
    made: list[Run] = []

    def start(suite: str, *arguments: str) -> Run:
        made.append(Run(lab, tmp_path / f"run-{len(made)}", suite, *arguments))
        return made[-1]

    yield start
    for each in made:
        each.kill()
