"""The next device is ready when it is asked for, or it is made then."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from harness.device import pool
from harness.device.pool import Pool
from harness.errors import InfrastructureError


class Spare:
    """As much of a device as a pool knows."""

    def __init__(self) -> None:
        self.closed = False
        self.dead = False
        self.thread = threading.current_thread()

    def check(self) -> None:
        if self.dead:
            raise InfrastructureError("QEMU ended by itself")

    def close(self) -> None:
        self.closed = True


class Maker:
    def __init__(self) -> None:
        self.made: list[Spare] = []
        self.fails = False

    def __call__(self, kind: str) -> Any:
        if self.fails:
            raise InfrastructureError("no memory")
        self.made.append(Spare())
        return self.made[-1]


@pytest.fixture
def maker() -> Maker:
    return Maker()


@pytest.fixture
def kept(maker: Maker) -> Iterator[Pool]:
    made = Pool(maker)
    yield made
    made.close()


def test_nothing_is_made_before_it_is_wanted(kept: Pool, maker: Maker) -> None:
    assert kept.take("x") is None
    assert maker.made == []


def test_one_is_made_by_a_thread_that_lives_on_and_taken_once(kept: Pool, maker: Maker) -> None:
    assert kept.warm("x")
    assert kept.warm("x")
    taken: Any = kept.take("x")
    assert [taken] == maker.made
    assert taken.thread is not threading.current_thread()
    assert taken.thread.is_alive()
    assert kept.take("x") is None
    kept.close()
    assert not taken.closed


def test_one_that_died_or_could_not_be_made_is_none(kept: Pool, maker: Maker) -> None:
    kept.warm("x")
    kept.wait("x")
    maker.made[0].dead = True
    assert kept.take("x") is None
    assert maker.made[0].closed
    maker.fails = True
    kept.warm("x")
    assert kept.take("x") is None


def test_where_memory_is_short_none_is_made(
    kept: Pool, maker: Maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "NEEDS", 1 << 60)
    assert not kept.warm("x")
    assert kept.take("x") is None


def test_what_nobody_took_ends_with_the_pool(kept: Pool, maker: Maker) -> None:
    kept.warm("x")
    kept.close()
    assert maker.made[0].closed
