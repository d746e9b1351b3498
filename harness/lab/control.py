"""Switches of exported routers: power and cable, over HTTP, on this computer's loopback alone.

What is spoken is what labgrid's drivers speak: its power model `rest` and `HttpDigitalOutput` send
a PUT with `1` or `0`, and get the same as answer to a GET.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import cast

from harness.errors import HarnessError


@dataclass(frozen=True)
class OnOffSwitch:
    """Something that is on or off. Both functions are called from any thread."""

    get: Callable[[], bool]
    set: Callable[[bool], None]


class Control:
    """Serves switches, each at a URL that can't be guessed: the loopback is open to every user."""

    def __init__(self) -> None:
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.daemon_threads = True
        threading.Thread(
            target=self._server.serve_forever, args=(0.05,), name="control", daemon=True
        ).start()

    def add(self, switch: OnOffSwitch) -> str:
        """@return: the URL of a switch."""
        path = f"/{secrets.token_hex(16)}"
        self._server.switches[path] = switch
        return f"http://127.0.0.1:{self._server.server_port}{path}"

    def remove(self, url: str) -> None:
        self._server.switches.pop(f"/{url.rpartition('/')[2]}", None)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    block_on_close = False

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        self.switches: dict[str, OnOffSwitch] = {}
        super().__init__(address, handler)


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self._answer(lambda switch: b"1" if switch.get() else b"0")

    def do_PUT(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0))).strip()

        def turn(switch: OnOffSwitch) -> bytes:
            switch.set(body == b"1")
            return b""

        if body in (b"0", b"1"):
            self._answer(turn)
        else:
            self.send_error(HTTPStatus.BAD_REQUEST, "neither 0 nor 1")

    def _answer(self, use: Callable[[OnOffSwitch], bytes]) -> None:
        switch = cast(_Server, self.server).switches.get(self.path)
        if switch is None:
            self.send_error(HTTPStatus.NOT_FOUND, "no such switch: was the place released?")
            return
        try:
            content = use(switch)
        except HarnessError as error:  # who gets it sees the first line of an answer, and no more
            why = str(error).partition("\n")[0].encode("ascii", "replace").decode()
            self.send_error(HTTPStatus.INTERNAL_SERVER_ERROR, why)
            return
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        pass  # the addresses are secrets
