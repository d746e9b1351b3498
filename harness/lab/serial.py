"""The serial port of a machine on a TCP port, for labgrid's `NetworkSerialPort` (protocol raw)."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

from harness.device import loop
from harness.device.console import Console
from harness.errors import InfrastructureError

LOOK_SECONDS = 0.1
"""How often it is looked whether the machine has printed more."""


class SerialPort:
    """Gives whoever connects what is printed from then on, and types what they send.

    @param console: the one of the moment, or None while the machine is off.
    @ivar port: on 127.0.0.1.
    """

    def __init__(self, console: Callable[[], Console | None]) -> None:
        self._console = console
        self._connections: set[asyncio.Task[None]] = set()
        self.port: int = loop.run(self._listen(), 10)

    async def _listen(self) -> int:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        printing = asyncio.ensure_future(self._print(writer))
        try:
            while data := await reader.read(4096):
                if (console := self._console()) is not None:
                    with contextlib.suppress(InfrastructureError):  # it is being powered off
                        console.send(data.decode(errors="replace"))
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            printing.cancel()
            writer.transport.abort()
            self._connections.discard(task)

    async def _print(self, writer: asyncio.StreamWriter) -> None:
        console = self._console()
        seen = len(console.text) if console is not None else 0
        with contextlib.suppress(OSError):
            while True:
                if (now := self._console()) is not console:
                    console, seen = now, 0
                text = console.text if console is not None else ""
                if len(text) > seen:
                    writer.write(text[seen:].encode())
                    seen = len(text)
                    await writer.drain()
                await asyncio.sleep(LOOK_SECONDS)

    def close(self) -> None:
        async def close() -> None:
            self._server.close()
            for task in set(self._connections):
                task.cancel()
            await asyncio.gather(*self._connections, return_exceptions=True)

        loop.run(close(), 10)
