"""There is one loop, whoever comes first."""

from __future__ import annotations

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from harness.device import loop


async def running() -> asyncio.AbstractEventLoop:
    return asyncio.get_running_loop()


def test_threads_that_come_first_together_share_it(monkeypatch: pytest.MonkeyPatch) -> None:
    loop._started.cache_clear()
    new = asyncio.new_event_loop

    def slow() -> asyncio.AbstractEventLoop:
        time.sleep(0.1)
        return new()

    monkeypatch.setattr(asyncio, "new_event_loop", slow)
    together = threading.Barrier(4)

    def ask(_: int) -> asyncio.AbstractEventLoop:
        together.wait(10)
        return loop.run(running(), 10)

    with ThreadPoolExecutor(4) as threads:
        assert len(set(threads.map(ask, range(4)))) == 1
