"""Which worker of pytest-xdist runs which test: those that share a device stay together."""

from __future__ import annotations

from typing import Any

from xdist.scheduler import LoadScopeScheduling

from harness.device import KINDS


class ByDevice(LoadScopeScheduling):  # type: ignore[misc]  # xdist's class has no types
    """The tests of a module on one kind of device are one piece of work; in the order of their
    collection, not the biggest first."""

    def __init__(self, config: Any, log: Any = None) -> None:
        super().__init__(config, log)
        config.option.loadscopereorder = False

    def _split_scope(self, nodeid: str) -> str:
        name, _, parameters = nodeid.partition("[")
        for kind in KINDS:
            if parameters.rstrip("]") == kind or parameters.startswith(f"{kind}-"):
                return f"{name.partition('::')[0]}@{kind}"
        return nodeid
