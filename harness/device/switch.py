"""An Ethernet switch between Unix sockets, as QEMU's `-netdev dgram` speaks: a frame a datagram.

It learns who is where (IEEE 802.1D, 7.8). A hub would not do: at one port is the way to this
computer, and QEMU's user-mode network carries whatever reaches it on, out into the network that
this computer is in.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from pathlib import Path

from harness.device import loop

GROUP = 1
"""The bit of an address's first byte that says: to many (IEEE 802, 8.2)."""


class Switch:
    """Forwards frames until it is closed.

    @param path: of its socket, at most 107 bytes. Each port has a socket that sends to this one.
    @raise OSError: there can be no socket.
    """

    def __init__(self, path: Path) -> None:
        self._ports: set[str] = set()
        self._learned: dict[bytes, str] = {}
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        try:
            self._socket.bind(os.fspath(path))
            loop.run(self._listen())
        except BaseException:
            self._socket.close()
            raise

    async def _listen(self) -> None:
        asyncio.get_running_loop().add_reader(self._socket, self._forward)

    def plug(self, path: Path) -> None:
        """Add the port whose socket is, or will be, at `path`."""
        loop.run(self._plug(os.fspath(path)))

    async def _plug(self, port: str) -> None:
        self._ports.add(port)

    def unplug(self, path: Path) -> None:
        """Remove a port."""
        loop.run(self._unplug(os.fspath(path)))

    async def _unplug(self, port: str) -> None:
        self._ports.discard(port)
        self._learned = {who: where for who, where in self._learned.items() if where != port}

    def _forward(self) -> None:
        frame, source = self._socket.recvfrom(1 << 16)
        if source not in self._ports or len(frame) < 12:
            return
        target, sender = frame[:6], frame[6:12]
        if not sender[0] & GROUP:
            self._learned[sender] = source
        known = None if target[0] & GROUP else self._learned.get(target)
        for port in self._ports if known is None else {known}:
            # nobody waits for a router that has no power, or that stands still: its frame is lost
            if port != source:
                with contextlib.suppress(OSError):
                    self._socket.sendto(frame, port)

    def close(self) -> None:
        """End it."""
        loop.run(self._close())

    async def _close(self) -> None:
        asyncio.get_running_loop().remove_reader(self._socket)
        self._socket.close()
