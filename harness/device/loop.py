"""One asyncio loop in a thread of its own, for what must go on while a test waits."""

from __future__ import annotations

import asyncio
import functools
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


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
    @raise TimeoutError: it took longer; it is cancelled.
    """
    # the time-out is the loop's, so that a coroutine that is late has ended when this returns
    return asyncio.run_coroutine_threadsafe(asyncio.wait_for(coroutine, timeout), _loop()).result()
