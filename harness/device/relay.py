"""The wan cable of a device that is only a process: a TCP relay that can go silent."""

from __future__ import annotations

import asyncio
import contextlib

from harness.device import loop


class Relay:
    """Relays 127.0.0.1:`port` to another loopback port, byte for byte.

    Unplugged, it keeps every connection open and passes nothing, as a pulled cable does: no end
    is told, and what was under way arrives after the cable is back, also the end of a connection.

    @param target: the loopback port that it leads to.
    @ivar target: the same; a new connection leads to the one of now. No connection is taken to 0.
    """

    def __init__(self, target: int) -> None:
        self.target = target
        self._connections: set[asyncio.Task[None]] = set()
        self.port: int = loop.run(self._listen(), 10)

    async def _listen(self) -> int:
        self._plugged = asyncio.Event()
        self._plugged.set()
        self._server = await asyncio.start_server(self._relay, "127.0.0.1", 0)
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    @property
    def plugged(self) -> bool:
        return self._plugged.is_set()

    def switch(self, plugged: bool) -> None:
        async def switch() -> None:
            if plugged:
                self._plugged.set()
            else:
                self._plugged.clear()

        loop.run(switch(), 10)

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            await self._plugged.wait()
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.target)
            try:
                async with asyncio.TaskGroup() as pumps:
                    pumps.create_task(self._pump(reader, far_writer))
                    pumps.create_task(self._pump(far_reader, writer))
            finally:
                await self._end(far_writer)
        except (OSError, asyncio.CancelledError):
            pass  # nobody listens there, or we close: the near end sees its connection closed
        finally:
            await self._end(writer)
            self._connections.discard(task)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                await self._plugged.wait()
                writer.write(data)
                await writer.drain()
        await self._plugged.wait()
        with contextlib.suppress(OSError):
            writer.write_eof()

    @staticmethod
    async def _end(writer: asyncio.StreamWriter) -> None:
        # everything was passed on, or nobody wants it: `close` would wait for who does not read
        writer.transport.abort()
        with contextlib.suppress(OSError):
            await writer.wait_closed()

    def close(self) -> None:
        async def close() -> None:
            self._server.close()
            for task in set(self._connections):
                task.cancel()
            await asyncio.gather(*self._connections, return_exceptions=True)

        loop.run(close(), 10)
