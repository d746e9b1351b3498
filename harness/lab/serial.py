"""The serial port of a machine on a TCP port, for labgrid's `NetworkSerialPort` (protocol raw)."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable
from pathlib import Path

from harness.device import loop

LOOK_SECONDS = 0.1
"""How often it is looked whether the machine has printed more."""


class SerialPort:
    """Gives whoever connects what is printed from then on, and types what they send.

    @param log: the file that all goes into that the machine prints; may come later.
    @param send: types on the console. Errors of it are the machine's being off, and ignored.
    @ivar port: on 127.0.0.1.
    """

    def __init__(self, log: Path, send: Callable[[str], None]) -> None:
        self._log = log
        self._send = send
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
                with contextlib.suppress(Exception):
                    self._send(data.decode(errors="replace"))
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            printing.cancel()
            writer.transport.abort()
            self._connections.discard(task)

    async def _print(self, writer: asyncio.StreamWriter) -> None:
        while not self._log.exists():
            await asyncio.sleep(LOOK_SECONDS)
        with self._log.open("rb") as log, contextlib.suppress(OSError):
            log.seek(0, os.SEEK_END)
            while True:
                if data := log.read(65536):
                    writer.write(data)
                    await writer.drain()
                else:
                    await asyncio.sleep(LOOK_SECONDS)

    def close(self) -> None:
        async def close() -> None:
            self._server.close()
            for task in set(self._connections):
                task.cancel()
            await asyncio.gather(*self._connections, return_exceptions=True)

        loop.run(close(), 10)
