"""Text of a router, made fit for a page or an XML file."""

from __future__ import annotations

import re

# ECMA-48 escape sequences: a console is full of colours and cursor movements.
ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])")
# What XML 1.0 (2.2 Characters) excludes; HTML allows none of it either.
ILLEGAL = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def printable(text: str) -> str:
    """Without escape sequences, with U+FFFD for each character that can't be shown."""
    return ILLEGAL.sub("\ufffd", ESCAPES.sub("", text).replace("\r\n", "\n"))
