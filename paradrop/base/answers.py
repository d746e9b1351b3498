"""
An answer of ours that cannot be sent becomes an error that can: its caller is not left waiting.

autobahn says so itself, with the whole answer as text, and is silent where that text cannot be had
or sent in turn: deep nesting, a `repr` that raises.
"""

from __future__ import annotations

from typing import Any

from autobahn.exception import PayloadExceededError
from autobahn.twisted.websocket import WampWebSocketClientProtocol
from autobahn.wamp.exception import ApplicationError, SerializationError
from autobahn.wamp.message import Error, Invocation, Yield

_MOST = 500
"""Characters of the reason that are sent."""


class AnsweringProtocol(WampWebSocketClientProtocol):
    """A connection on which each call of a procedure is answered."""

    def send(self, msg: Any) -> None:
        try:
            super().send(msg)  # type: ignore[no-untyped-call]
        except (SerializationError, PayloadExceededError) as error:
            if not _ends_a_call(msg):
                raise
            uri = ApplicationError.INVALID_PAYLOAD
            if isinstance(error, PayloadExceededError):
                uri = ApplicationError.PAYLOAD_SIZE_EXCEEDED
            reason = f"the answer cannot be sent: {error}"[:_MOST]
            text = reason.encode(errors="backslashreplace").decode()
            answer = Error(Invocation.MESSAGE_TYPE, msg.request, uri, args=[text])
            super().send(answer)  # type: ignore[no-untyped-call]


def _ends_a_call(message: Any) -> bool:
    if isinstance(message, Yield):
        return not message.progress
    return isinstance(message, Error) and message.request_type == Invocation.MESSAGE_TYPE
