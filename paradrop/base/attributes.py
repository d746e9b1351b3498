"""Attributes that somebody watches."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class AttrWrapper:
    """
    Attributes kept in a dictionary, `contents`, with somebody told of every change.

    Fill it, then `setOnChange`, or `_lock` it against any change.
    """

    contents: dict[str, Any]

    def __init__(self) -> None:
        self.__dict__.update(contents={}, locked=False, onChange=None)

    def __getattr__(self, name: str) -> Any:
        contents = self.__dict__.get("contents", {})
        if name not in contents:
            raise AttributeError(f"no attribute {name!r}")
        return contents[name]

    def __setattr__(self, name: str, value: Any) -> None:
        if self.__dict__["locked"]:
            raise AttributeError(f"{name!r} cannot be set: the attributes are locked")
        self.__dict__["contents"][name] = value
        if self.__dict__["onChange"] is not None:
            self.__dict__["onChange"](name, value)

    def __repr__(self) -> str:
        return repr(self.__dict__.get("contents"))

    def _lock(self) -> None:
        """Make every later write an AttributeError."""
        self.__dict__["locked"] = True

    def setOnChange(self, func: Callable[[str, Any], object]) -> None:
        """Have `func(key, value)` called after every write."""
        self.__dict__["onChange"] = func
