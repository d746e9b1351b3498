"""QEMU's control socket: commands, and every event that QEMU tells of."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from qemu.qmp import ExecuteError, QMPClient
from qemu.qmp.error import QMPError

from harness.device import loop
from harness.errors import InfrastructureError


class RefusedError(InfrastructureError):
    """QEMU won't do what it was told."""


def escape(path: Path) -> str:
    """A path as QEMU's option parser reads it back (a comma is doubled)."""
    return os.fspath(path).replace(",", ",,")


class Monitor:
    """The harness's end of a QMP connection; QEMU connects to it when it starts.

    @param device: name for errors.
    @param path: of the Unix socket, at most 107 bytes.
    @param on_event: called with each asynchronous event, from another thread.
    @raise InfrastructureError: there can't be a socket at `path`.
    """

    def __init__(self, device: str, path: Path, on_event: Callable[[dict[str, Any]], None]) -> None:
        self._device = device
        self.path = path
        self._on_event = on_event
        self._client = QMPClient(device)
        self._events: asyncio.Task[None] | None = None
        path.unlink(missing_ok=True)
        try:
            loop.run(self._client.start_server(str(path)), 10)
        except (QMPError, OSError) as error:
            raise InfrastructureError(
                f"no control socket at {path}: {error}",
                device=device,
                hint="is TMPDIR too long? its path may have 107 bytes",
            ) from error

    @property
    def option(self) -> list[str]:
        """What QEMU's command line needs to find us."""
        return ["-qmp", f"unix:{escape(self.path)},server=off"]

    def accept(self, timeout: float = 30, check: Callable[[], None] = lambda: None) -> None:
        """Wait until QEMU has connected.

        @param check: called now and then meanwhile; what it raises ends the wait.
        @raise InfrastructureError: it did not, in `timeout` seconds.
        """

        async def accept() -> None:
            accepting = asyncio.create_task(self._client.accept())
            try:
                while not accepting.done():
                    check()
                    await asyncio.wait({accepting}, timeout=0.1)
            finally:
                accepting.cancel()
                await asyncio.wait({accepting})
            await accepting
            self._events = asyncio.create_task(self._listen())

        try:
            loop.run(accept(), timeout)
        except (TimeoutError, QMPError) as error:
            raise InfrastructureError(
                f"QEMU does not answer on its control socket: {str(error) or 'time-out'}",
                device=self._device,
            ) from error

    async def _listen(self) -> None:
        with self._client.listener() as listener:
            async for event in listener:
                self._on_event(dict(event))

    def execute(self, command: str, arguments: dict[str, Any], timeout: float = 10) -> Any:
        """Run a QMP command (QEMU QMP Reference Manual).

        @return: its `return` value.
        @raise RefusedError: QEMU refuses.
        @raise InfrastructureError: it is gone, or says nothing for `timeout` seconds.
        """
        try:
            return loop.run(self._client.execute(command, arguments), timeout)
        except ExecuteError as error:
            raise RefusedError(f"QEMU refuses {command}: {error}", device=self._device) from error
        except (QMPError, TimeoutError, OSError) as error:
            raise InfrastructureError(
                f"QEMU did not carry out {command}: {str(error) or 'time-out'}", device=self._device
            ) from error

    def human(self, command: str) -> str:
        """Run a command of the human monitor, for what QMP has no command for."""
        return str(self.execute("human-monitor-command", {"command-line": command}))

    def close(self) -> None:
        """Drop the connection; QEMU goes on."""

        async def close() -> None:
            if self._events is not None:
                self._events.cancel()
            # QEMU is mostly dead already, and then says so here
            with contextlib.suppress(QMPError, OSError, EOFError, TimeoutError):
                await asyncio.wait_for(self._client.disconnect(), 5)

        loop.run(close(), 10)
        self.path.unlink(missing_ok=True)
