"""What a machine or a node can do: a small protocol for each thing that a fault needs."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Protocol


class Commands(Protocol):
    """A way into the machine that no fault touches."""

    def succeed(self, command: str, /) -> str:
        """Run a shell command as the administrator; it has to exit 0. @return: what it printed."""


class Cable(Protocol):
    """A network cable. A machine without power has it, too."""

    def plug(self, plugged: bool, /) -> None:
        """Put it in, or pull it: nothing passes in either direction, and neither end is told."""

    def is_plugged(self) -> bool:
        """Whether it is in, as the machine or the other end of the cable sees it."""


class Supply(Protocol):
    """The power of the machine."""

    def cut(self) -> None:
        """Take it away at once: nothing on the machine gets to run."""

    def give(self) -> None:
        """Give it back; returns when the machine has booted. @raise BootError: it does not boot."""

    def is_on(self) -> bool:
        """Whether the machine has power."""


class Pause(Protocol):
    """The machine can stand still, with its memory and its connections."""

    def pause(self) -> object: ...

    def resume(self) -> object: ...

    def is_paused(self) -> bool: ...


class Reboots(Commands, Protocol):
    """The machine comes back when it reboots by itself."""

    def rebooting(self) -> AbstractContextManager[None]:
        """The machine reboots in the block; it has booted when the block ends."""


class Router(Protocol):
    """The WAMP router of a node, on ports that stay its own."""

    def end(self, gracefully: bool, /) -> None:
        """End its process in good order, or at once as a crash of its computer would."""

    def launch(self) -> None:
        """Start a process, if there is none; returns when the router can be joined."""

    def process(self) -> int | None:
        """The pid of its process; None while there is none."""

    def answers(self) -> bool:
        """Whether it takes connections."""


class Sessions(Protocol):
    """Who has joined."""

    def sessions(self, pdid: str, /) -> Sequence[int]:
        """Ids of the sessions of a device."""

    def end(self, pdid: str, /) -> None:
        """End them."""


class Realm(Sessions, Protocol):
    """Who may join, and who has joined."""

    def may_join(self, pdid: str, /) -> bool: ...

    def expel(self, pdid: str, /) -> None:
        """Let a device join no more; a session that it has goes on."""
