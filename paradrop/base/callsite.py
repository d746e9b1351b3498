"""Who called: the package, module and line that stand in a log record."""

import functools
import sys
import traceback
from collections.abc import Sequence
from types import CodeType, FrameType, TracebackType

Site = tuple[str, str, int | str]
"""Package, module, line."""

UNKNOWN: Site = ("unknown", "unknown", "??")

_OWN_MODULES = ("callsite", "hooks", "logdelivery", "output", "redirect", "stdlog", "streams")


def site_of(frame: FrameType | None, steps_up: int = 1) -> Site:
    """
    Find the caller from a frame on; frames of the logging itself never count.

    @param frame: where to begin.
    @param steps_up: 1 for the first frame that counts, 2 for its caller, and so on.
    @return: package, module and line; `UNKNOWN` where the stack is not that deep.
    """
    while frame is not None:
        if not is_own(frame.f_code):
            if steps_up <= 1:
                return (*names(frame.f_code.co_filename), frame.f_lineno)
            steps_up -= 1
        frame = frame.f_back
    return UNKNOWN


def is_own(code: CodeType) -> bool:
    """Whether code is of the logging itself."""
    return code.co_filename in _OWN_FILES


def silentLogPrefix(stepsUp: int) -> Site:
    """
    Find the caller from the stack; frames of the logging itself never count.

    @param stepsUp: 1 for the first frame outside of the logging, 2 for its caller, and so on.
    @return: package, module and line; `UNKNOWN` where the stack is not that deep.
    """
    return site_of(sys._getframe(1), stepsUp)


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
    return (*names(last.filename), "??" if last.lineno is None else last.lineno)


@functools.lru_cache(maxsize=1024)
def names(path: str) -> tuple[str, str]:
    """The package and the module of a source file."""
    folder, _, file = path.rpartition("/")
    return folder.rpartition("/")[2] or "unknown", file.removesuffix(".py")


_FOLDER = silentLogPrefix.__code__.co_filename.rpartition("/")[0]
_OWN_FILES = frozenset(f"{_FOLDER}/{module}.py" for module in _OWN_MODULES)
