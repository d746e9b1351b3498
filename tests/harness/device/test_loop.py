"""All threads share one loop. A caller that a signal interrupts leaves no work on it."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from collections.abc import Iterator
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


class Interrupt(Exception):
    pass


@pytest.fixture
def interrupting() -> Iterator[None]:
    def interrupt(*_: object) -> None:
        raise Interrupt

    before = signal.signal(signal.SIGUSR1, interrupt)
    yield
    signal.signal(signal.SIGUSR1, before)


@pytest.mark.usefixtures("interrupting")
def test_what_a_signal_interrupts_has_ended_on_the_loop() -> None:
    ended: list[str] = []

    async def work() -> None:
        os.kill(os.getpid(), signal.SIGUSR1)
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0.05)
            ended.append("work")

    with pytest.raises(Interrupt):
        loop.run(work(), 60)
    assert ended == ["work"]
