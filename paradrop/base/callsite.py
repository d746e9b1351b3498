"""Who called: the package, module and line that stand in a log record."""

import functools
import sys
import traceback
from collections.abc import Sequence
from types import TracebackType

Site = tuple[str, str, int | str]
"""Package, module, line."""

UNKNOWN: Site = ("unknown", "unknown", "??")

_OWN_MODULES = frozenset(
    f"paradrop.base.{name}" for name in ("callsite", "hooks", "output", "redirect", "streams")
)


def silentLogPrefix(stepsUp: int) -> Site:
    """
    Find the caller from the stack; frames of the logging itself never count.

    @param stepsUp: 1 for the first frame outside of the logging, 2 for its caller, and so on.
    @return: package, module and line; `UNKNOWN` where the stack is not that deep.
    """
    frame = sys._getframe(1)
    while frame.f_globals.get("__name__") in _OWN_MODULES or (stepsUp := stepsUp - 1) > 0:
        if frame.f_back is None:
            return UNKNOWN
        frame = frame.f_back
    return (*_names(frame.f_code.co_filename), frame.f_lineno)


def parseLogPrefix(tb: TracebackType | Sequence[traceback.FrameSummary] | None) -> Site:
    """
    Find where a traceback ends, which is where the exception was raised.

    @param tb: a traceback, or what `traceback.extract_tb` made of it.
    @return: package, module and line; `UNKNOWN` for an empty one.
    """
    frames = traceback.extract_tb(tb) if isinstance(tb, TracebackType) else tb
    if not frames:
        return UNKNOWN
    last = frames[-1]
    return (*_names(last.filename), "??" if last.lineno is None else last.lineno)


@functools.lru_cache(maxsize=1024)
def _names(path: str) -> tuple[str, str]:
    folder, _, file = path.rpartition("/")
    return folder.rpartition("/")[2] or "unknown", file.removesuffix(".py")
