"""Whether the cable of a network card is in, as the system that has the card sees it."""

from __future__ import annotations

import shlex

from harness.machine.protocols import Commands


def carrier(on: Commands, card: str) -> bool:
    """@param card: its name on the system. One that is switched off there has no carrier."""
    path = shlex.quote(f"/sys/class/net/{card}/carrier")
    return on.succeed(f"cat {path} 2>/dev/null || echo 0").strip() == "1"
