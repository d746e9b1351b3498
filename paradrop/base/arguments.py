"""Arguments that a handler does not take are the mistake of who has sent them."""

from __future__ import annotations

import functools
import inspect
from typing import Any

from autobahn.wamp.exception import ApplicationError


def refusing(handler: Any) -> Any:
    """
    @return: the handler, which answers arguments that it does not take with the error of WAMP for
        that, `wamp.error.invalid_argument`. What is no function stays as it is.
    """
    try:
        signature = inspect.signature(handler)
    except (TypeError, ValueError):
        return handler

    @functools.wraps(handler)
    def refuse_or_call(*args: Any, **kwargs: Any) -> Any:
        try:
            signature.bind(*args, **kwargs)
        except TypeError as error:
            raise ApplicationError(ApplicationError.INVALID_ARGUMENT, str(error)) from None
        return handler(*args, **kwargs)

    refuse_or_call.__dict__["taking"] = handler
    return refuse_or_call


def given(handler: Any) -> Any:
    """@return: what `refusing` was given to make this handler; a handler of another kind itself."""
    return getattr(handler, "__dict__", {}).get("taking", handler)
