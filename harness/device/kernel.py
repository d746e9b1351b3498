"""What the kernel of a device says on its console when it panics, stops, or is damaged."""

from __future__ import annotations

import re
from dataclasses import dataclass

BEFORE, AFTER = 20, 40
"""Lines around a panic: what led to it, such as an Oops, and the kernel's stack."""

_TIME = r"\[ *\d+\.\d{6}\](?:\[ *[TC]\d+\])? "
_PANIC = re.compile(rf"(?:(?P<time>{_TIME})|^)Kernel panic - not syncing: (?P<why>[^\r\n]*)", re.M)
_AFTERWARDS = re.compile(
    r"(?:[^\n]*\n){1,3}"
    r"(?:CPU: \d+ |Kernel Offset: |Rebooting in \d+ seconds|---\[ end Kernel panic)"
)
"""What follows a panic within three lines."""

_HANGS = re.compile(r"^[^\r\n]*---\[ end Kernel panic - not syncing: ", re.M)
_BOOTS = re.compile(r"Linux version \d|^U-Boot \d|^paradrop: \S+, kernel ", re.M)
_ENDS = re.compile(
    rf"(?:{_TIME}|^)reboot: (?P<how>Restarting system|Power down|System halted)", re.M
)
_OOPS = re.compile(
    rf"^.*{_TIME}.*(?:\bOops: |\bOops - |\bBUG: |kernel BUG at |general protection fault|"
    r"Internal error: |Unable to handle kernel|Out of memory: |watchdog: ).*$",
    re.M,
)


@dataclass(frozen=True)
class Panic:
    """@param why: the kernel's own words. @param printed: what the console showed around them."""

    why: str = ""
    printed: str = ""

    def __str__(self) -> str:
        return f"the kernel panicked: {self.why}" if self.why else "the kernel panicked"


def panic(text: str) -> Panic | None:
    """The last panic that a console shows; None if it shows none.

    Without the kernel's clock before it, the line counts only if the kernel went on to print what
    follows a panic: anybody can print that line alone. A kernel that restarts or stops in order
    has not panicked.

    @param text: of the console.
    """
    if "Kernel panic" not in text:
        return None
    for found in reversed(list(_PANIC.finditer(text))):
        if _ENDS.search(text, found.end()):
            return None
        if found["time"] is not None or _AFTERWARDS.match(text, found.end()):
            before = text[: found.start()].splitlines()[-BEFORE:]
            after = text[found.start() :].splitlines()[:AFTER]
            return Panic(found["why"].strip(), "\n".join(before + after))
    return None


def rebooted(text: str) -> bool:
    """Whether a system boots after the last panic that a console shows."""
    panics = list(_PANIC.finditer(text))
    return bool(panics) and _BOOTS.search(text, panics[-1].end()) is not None


def hangs(text: str) -> bool:
    """Whether a kernel has panicked and stays so: this line is its last one."""
    return _HANGS.search(text) is not None


def halted(text: str) -> bool:
    """Whether the last line is that of a kernel that halts the system, and leaves its power on."""
    ends = list(_ENDS.finditer(text))
    return bool(ends) and ends[-1]["how"] == "System halted" and not text[ends[-1].end() :].strip()


def damage(text: str) -> str:
    """The lines in which a kernel tells of damage that it survived, or of its panic."""
    lines = {match.start(): match[0].strip() for match in _OOPS.finditer(text)}
    lines |= {match.start(): match[0].strip() for match in _PANIC.finditer(text)}
    return "\n".join(lines[start] for start in sorted(lines))
