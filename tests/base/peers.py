"""What else may listen where a router is expected: each plays one fault to whoever connects."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import socket
import ssl
import threading
from collections.abc import Callable
from typing import Any

Fault = Callable[[socket.socket], None]

WELCOME = [2, 7, {"roles": {"broker": {}, "dealer": {}}, "realm": "paradrop", "authid": "d"}]


class Peer:
    """
    Listens, and plays a fault to each connection, until it is told to lead to a real router.

    @ivar served: connections that were played the fault.
    """

    def __init__(self, fault: Fault, host: str = "127.0.0.1", port: int = 0) -> None:
        self.served = 0
        self._fault: Fault = fault
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._listener = socket.create_server((host, port), family=family)
        self.port: int = self._listener.getsockname()[1]
        self._open: set[socket.socket] = set()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def play(self, fault: Fault) -> None:
        """From the next connection on."""
        self._fault = fault

    def lead_to(self, port: int) -> None:
        """Connections from now on lead to this port of 127.0.0.1."""
        self._fault = to(port)

    def close(self) -> None:
        with contextlib.suppress(OSError):  # it is closed already
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(5)
        for connection in list(self._open):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.served += 1
            threading.Thread(target=self._play, args=[connection], daemon=True).start()

    def _play(self, connection: socket.socket) -> None:
        self._open.add(connection)
        connection.settimeout(30)
        with connection, contextlib.suppress(OSError):
            self._fault(connection)
        self._open.discard(connection)


def relay(near: socket.socket, port: int) -> None:
    with socket.create_connection(("127.0.0.1", port)) as far:
        near.settimeout(None)
        back = threading.Thread(target=pump, args=[far, near], daemon=True)
        back.start()
        pump(near, far)
        back.join(5)


def pump(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


def request(connection: socket.socket) -> bytes:
    """What a client asks, up to the end of its headers."""
    got = b""
    while b"\r\n\r\n" not in got:
        data = connection.recv(65536)
        if not data:
            break
        got += data
    return got


def says(answer: bytes) -> Fault:
    """Sends this, whatever it was asked, and closes."""

    def fault(connection: socket.socket) -> None:
        connection.sendall(answer)
        connection.shutdown(socket.SHUT_WR)
        rest(connection)

    return fault


def answers(answer: bytes) -> Fault:
    """Sends this when it was asked, and waits for the end."""

    def fault(connection: socket.socket) -> None:
        request(connection)
        connection.sendall(answer)
        rest(connection)

    return fault


def page(status: str, *headers: str, body: str = "<html>portal</html>") -> Fault:
    head = "\r\n".join([f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", ""])
    return answers(f"{head}{body}".encode())


def endless(begin: bytes, more: bytes) -> Fault:
    """Never stops sending."""

    def fault(connection: socket.socket) -> None:
        request(connection)
        connection.sendall(begin)
        while True:
            connection.sendall(more)

    return fault


def handshake(
    connection: socket.socket, protocol: str | None = "wamp.2.json", **other: str
) -> None:
    """Open the WebSocket as a router does."""
    asked = request(connection)
    key = next(
        line.split(b":", 1)[1].strip()
        for line in asked.split(b"\r\n")
        if line.lower().startswith(b"sec-websocket-key")
    )
    digest = hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()
    headers = {
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Accept": base64.b64encode(digest).decode(),
    }
    if protocol:
        headers["Sec-WebSocket-Protocol"] = protocol
    headers |= {name.replace("_", "-"): value for name, value in other.items()}
    lines = [f"{name}: {value}" for name, value in headers.items() if value]
    connection.sendall("\r\n".join(["HTTP/1.1 101 Switching", *lines, "", ""]).encode())


def opens(protocol: str | None = "wamp.2.json", **other: str) -> Fault:
    """Opens the WebSocket, badly, and waits for the end."""

    def fault(connection: socket.socket) -> None:
        handshake(connection, protocol, **other)
        rest(connection)

    return fault


def frame(payload: bytes, opcode: int = 1, first: int | None = None) -> bytes:
    """As a server sends it (RFC 6455, 5.2)."""
    length = len(payload)
    size = bytes([length]) if length < 126 else b"\x7e" + length.to_bytes(2, "big")
    return bytes([first if first is not None else 0x80 | opcode]) + size + payload


def frames(*sent: bytes) -> Fault:
    """Opens the WebSocket well, and answers the HELLO with these frames."""

    def fault(connection: socket.socket) -> None:
        handshake(connection)
        connection.recv(65536)
        for one in sent:
            connection.sendall(one)
        rest(connection)

    return fault


def messages(*sent: Any) -> Fault:
    """Opens the WebSocket well, and answers the HELLO with these WAMP messages, or texts."""
    return frames(
        *(frame((one if isinstance(one, str) else json.dumps(one)).encode()) for one in sent)
    )


def rest(connection: socket.socket) -> None:
    """Read until the client hangs up."""
    while connection.recv(65536):
        pass


def over_tls(context: ssl.SSLContext, fault: Fault) -> Fault:
    """The same, once TLS is spoken; a client that does not like the certificate sees no more."""

    def secure(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as wrapped:
            fault(wrapped)

    return secure


def to(port: int) -> Fault:
    """Leads to this port of 127.0.0.1."""
    return lambda near: relay(near, port)
