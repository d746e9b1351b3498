"""Functions of others may give a value, a Deferred or a coroutine."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from twisted.internet.defer import Deferred, succeed

from paradrop.base.coroutines import result_of


async def coroutine(number: int) -> int:
    """Waits once."""
    return await succeed(number) + 1


async def raises(number: int) -> int:
    raise ValueError(number)


def raises_at_once(number: int) -> int:
    raise ValueError(number)


@pytest.mark.parametrize(
    "function", [lambda number: number + 1, lambda number: succeed(number + 1), coroutine]
)
def test_what_a_function_gives(function: Callable[[int], Any]) -> None:
    found: list[Any] = []
    result_of(function, 1).addCallback(found.append)
    assert found == [2]


@pytest.mark.parametrize("function", [raises, raises_at_once])
def test_what_a_function_raises(function: Callable[[int], Any]) -> None:
    failures: list[Any] = []
    made: Deferred[Any] = result_of(function, 1)
    made.addErrback(failures.append)
    assert failures[0].check(ValueError)
