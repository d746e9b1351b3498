"""The WebSocket connection to a WAMP router, which may be anything that answers on its port."""

from __future__ import annotations

from typing import Any

from autobahn.exception import PayloadExceededError
from autobahn.twisted.websocket import WampWebSocketClientProtocol
from autobahn.wamp.exception import ProtocolError
from autobahn.websocket.types import ConnectingRequest
from twisted.internet.error import ConnectionAborted
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure

from paradrop.base.address import shown
from paradrop.base.connector import bracketed
from paradrop.base.endings import one_line
from paradrop.base.output import out

ANSWER_LIMIT = 64 * 1024
"""Bytes of a router's answer to the WebSocket handshake, which have to be its headers."""

_HTTP = b"HTTP/"
_TLS_RECORDS = (b"\x15\x03", b"\x16\x03")  # an alert, a handshake (RFC 8446, 5.1)


class _Log:
    """
    The log of autobahn's protocols: what ends a connection is the reason that our factory logs,
    and need not be logged twice. A fault of this program is the exception.
    """

    def _silent(self, *args: object, **kwargs: object) -> None:
        pass

    trace = debug = info = warn = _silent

    def error(self, text: str, **values: Any) -> None:
        out.err(text.format(**values) if values else text)

    def critical(self, text: str, **values: Any) -> None:
        out.err("a session can't be opened or closed", traceback=values.get("tb", text))


class ClientProtocol(WampWebSocketClientProtocol):
    """
    Tells its factory why the connection ended: a connector only sees a TCP connection that closed.

    Whatever the peer sends, the worst that comes of it is the end of the connection, with a reason.

    @ivar heard: when anything came last, in seconds of the reactor.
    @ivar answered: whether anything came at all.
    @ivar silent: whether it ended because nothing came any more.
    """

    log = _Log()
    heard = 0.0
    answered = False
    silent = False

    def connectionMade(self) -> None:
        self.heard = self.factory.reactor.seconds()
        super().connectionMade()

    def onConnecting(self, transport_details: Any) -> ConnectingRequest:
        """The request, with the host as RFC 7230, 5.4, wants it."""
        factory = self.factory
        return ConnectingRequest(
            host=bracketed(factory.host),
            port=factory.port,
            resource=factory.resource,
            headers=factory.headers,
            useragent=factory.useragent,
            origin=factory.origin,
            protocols=factory.protocols,
        )

    def dataReceived(self, data: bytes) -> None:
        self.heard = self.factory.reactor.seconds()
        self.answered = True
        try:
            super().dataReceived(data)
        except Exception as error:  # autobahn does not expect everything
            self.refuse(f"what it sent can't be understood: {type(error).__name__}: {error}")

    def processHandshake(self) -> None:
        """Look at the beginning of the router's answer, and at its end, if there is one."""
        begun = bytes(self.data[: len(_HTTP)])
        if not _HTTP.startswith(begun):
            self.refuse(_no_http(bytes(self.data[:30])))
        elif b"\r\n\r\n" in self.data:
            super().processHandshake()  # type: ignore[no-untyped-call]
        elif len(self.data) > ANSWER_LIMIT:
            self.refuse(f"the answer has headers of more than {ANSWER_LIMIT // 1024} KiB")

    def failHandshake(self, reason: str) -> None:
        """The router's answer is no WebSocket handshake: say what it is."""
        status, _, rest = self.http_status_line.strip().partition(" ")
        code = rest.partition(" ")[0]
        if status.startswith("HTTP/") and code != "101":
            reason = f"the answer is no WebSocket but {status} {rest}"
            location = self.http_headers.get("location")
            if location:
                reason += f", to {shown(location)}"
            if "retry-after" in self.http_headers:
                reason += f", retry after {self.http_headers['retry-after']}"
        self.refuse(reason)

    def failProxyConnect(self, reason: str) -> None:
        self.refuse(f"the proxy refuses: {reason}")

    def onConnect(self, response: Any) -> None:
        if response.protocol not in self.factory.protocols:
            self.refuse(
                f"the router speaks none of {', '.join(self.factory.protocols)}"
                f" but {response.protocol or 'no subprotocol'}"
            )
            return
        super().onConnect(response)

    def onOpen(self) -> None:
        if self.state == self.STATE_OPEN:  # not refused meanwhile
            super().onOpen()  # type: ignore[no-untyped-call]

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        try:
            for message in self._serializer.unserialize(payload, isBinary):
                session: Any = self._session
                if session is None:
                    return
                session.onMessage(message)
        except ProtocolError as error:
            self.refuse(f"WAMP protocol error: {error}")
        except PayloadExceededError as error:
            self.refuse(str(error))
        except Exception as error:
            self.refuse(f"WAMP message that can't be handled: {type(error).__name__}: {error}")

    def onCloseFrame(self, code: int, reasonRaw: bytes) -> bool | None:
        """The router wants to close: it has our answer, and need not be waited for."""
        by_us = self.state == self.STATE_CLOSING
        failed = super().onCloseFrame(code, reasonRaw)
        if not by_us and self.state == self.STATE_CLOSING:
            transport: Any = self.transport
            transport.loseConnection()
        return failed

    def onOpenHandshakeTimeout(self) -> None:
        transport: Any = self.transport
        secure = self.factory.isSecure and not self.factory.proxy
        if secure and transport.getPeerCertificate() is None:
            self.refuse("no answer to the TLS handshake in time; without TLS it is ws://")
        super().onOpenHandshakeTimeout()

    def onAutoPingTimeout(self) -> None:
        self.silent = True
        super().onAutoPingTimeout()

    def refuse(self, reason: str) -> None:
        """End the connection, and say why; the first reason stands."""
        if self.state == self.STATE_CLOSED:
            return
        self.wasClean = False
        self.wasNotCleanReason = one_line(reason)
        self.dropConnection(abort=True)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.factory.protocolLost(self, reason)
        super().connectionLost(Failure(ConnectionAborted()))  # of TLS it would log the reason


def _no_http(begin: bytes) -> str:
    if begin.startswith(_TLS_RECORDS):
        return "TLS is spoken on this port: use wss://"
    return f"the answer is no HTTP; it begins with {begin!r}"
