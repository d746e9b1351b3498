"""What users of the library write: functions that give a value, a Deferred or a coroutine."""

from __future__ import annotations

from collections.abc import Callable
from inspect import iscoroutine
from typing import Any

from twisted.internet.defer import Deferred, ensureDeferred, maybeDeferred


def result_of(function: Callable[..., Any], *args: Any) -> Deferred[Any]:
    """
    Call a function, whatever it gives.

    As Twisted's `maybeDeferred`, which does not run coroutines in Twisted 22.4 (Debian 12).

    @return: fires with its result, fails with what it raises.
    """

    def call() -> Any:
        found = function(*args)
        return ensureDeferred(found) if iscoroutine(found) else found

    return maybeDeferred(call)
