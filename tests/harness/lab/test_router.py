"""Loans that come and go, of a router that does not start."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import InfrastructureError
from harness.lab import router
from harness.lab.control import Control


def test_loans_that_have_ended_are_not_kept(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def create(*_: object) -> None:
        raise InfrastructureError("no room")

    monkeypatch.setattr(router, "create", create)
    control = Control()
    made = router.Router("qemu-x86_64", tmp_path / "place", control)
    try:
        for number in ("1", "2", "3"):
            made.take("user")
            assert made.loan is not None
            assert len(made._ending) == 0
            made.give_back("user")
            made._ending[0].wait()
            assert made._ending[0].problem == "no room"
            assert not (tmp_path / "place" / number).exists()
    finally:
        made.close()
        control.close()
