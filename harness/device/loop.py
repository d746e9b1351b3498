"""One asyncio loop in a thread of its own, for what must go on while a test waits."""

from __future__ import annotations

import asyncio
import functools
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

_ENDING_SECONDS = 10.0

_starting = threading.Lock()


@functools.cache
def _started() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="harness-loop", daemon=True).start()
    return loop


def _loop() -> asyncio.AbstractEventLoop:
    with _starting:  # of threads that come first together, each would start one
        return _started()


def run(coroutine: Coroutine[Any, Any, T], timeout: float | None = None) -> T:
    """Run a coroutine on the loop and wait for its result.

    @param timeout: seconds.
    @raise TimeoutError: it took longer.

    Whatever ends the wait, a signal too, the coroutine has ended when this returns.
    """
    loop = _loop()
    tasks: list[asyncio.Task[T]] = []
    ended = threading.Event()

    def start() -> None:
        task = loop.create_task(asyncio.wait_for(coroutine, timeout))
        tasks.append(task)
        task.add_done_callback(lambda _: ended.set())

    def cancel() -> None:
        for task in tasks:
            task.cancel()
        if not tasks:
            ended.set()

    try:
        loop.call_soon_threadsafe(start)
        ended.wait()
    except BaseException:  # a signal was raised in this thread
        loop.call_soon_threadsafe(cancel)
        ended.wait(_ENDING_SECONDS)
        raise
    return tasks[0].result()
