"""Ports that stay ours while nobody listens on them."""

from __future__ import annotations

import socket


class ReservedPort:
    """A TCP port of the loopback interface, chosen by the kernel.

    A socket is bound to it and never listens, so connections are refused and nobody else gets the
    port, until a child binds it with SO_REUSEPORT as well (socket(7)) and listens.
    """

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        self._socket.bind(("127.0.0.1", 0))
        self.number: int = self._socket.getsockname()[1]

    def close(self) -> None:
        self._socket.close()
