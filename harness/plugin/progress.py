"""What takes time is said at once, whatever pytest does with the output of tests."""

from __future__ import annotations

import logging
import os

import pytest


class Progress:
    """Shows the log `harness` on standard error, from any thread of a run or of its workers."""

    def __init__(self) -> None:
        # while pytest is being configured nothing is captured: this is the real one
        self._handler = logging.StreamHandler(os.fdopen(os.dup(2), "w", errors="backslashreplace"))
        self._handler.setFormatter(logging.Formatter("\n%(message)s"))  # a test's name is there
        self._log = logging.getLogger("harness")
        self._log.addHandler(self._handler)
        self._log.setLevel(logging.INFO)

    @pytest.hookimpl(trylast=True)
    def pytest_unconfigure(self) -> None:
        self._log.removeHandler(self._handler)
        self._handler.stream.close()
