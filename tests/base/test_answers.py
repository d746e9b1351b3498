"""A procedure whose answer cannot be sent answers that it cannot, and the session goes on."""

from __future__ import annotations

from typing import Any

import pytest
from autobahn.wamp.exception import SerializationError
from sessions import Devices

pytestmark = pytest.mark.usefixtures("quick")

LIMIT = 10.0


class Mute:
    def __repr__(self) -> str:
        raise RuntimeError("nothing to show")


def nested(depth: int) -> list[Any]:
    made: list[Any] = []
    for _ in range(depth):
        made = [made]
    return made


def circle() -> list[Any]:
    made: list[Any] = []
    made.append(made)
    return made


ODD = {
    "an object": object(),
    "one that cannot be shown": Mute(),
    "a lone surrogate": "caf\udce9",
    "a lone surrogate as key": {"\udce9": 1},
    "a function": len,
    "too deep": nested(5000),
    "a circle": circle(),
}


@pytest.mark.parametrize("value", ODD.values(), ids=ODD)
@pytest.mark.parametrize("raised", [False, True], ids=["returned", "raised"])
def test_an_answer_that_cannot_be_sent(
    value: object, raised: bool, devices: Devices, core: Any, reactor: Any
) -> None:
    session = devices.join()

    def give(pdid: str) -> object:
        if raised:
            raise ValueError(value)
        return value

    reactor(session.register, give, "org.paradrop.give")
    reactor(session.register, lambda pdid: "here", "org.paradrop.here")
    with pytest.raises(SerializationError):
        reactor(session.call, "org.paradrop.give", timeout=LIMIT)
    assert reactor(session.call, "org.paradrop.here", timeout=LIMIT) == "here"
    assert core.session is session


def test_the_error_does_not_repeat_the_answer(devices: Devices, core: Any, reactor: Any) -> None:
    session = devices.join()
    reactor(session.register, lambda pdid: ["t0ken" * 1000, len], "org.paradrop.give")
    with pytest.raises(SerializationError) as caught:
        reactor(session.call, "org.paradrop.give", timeout=LIMIT)
    assert "t0ken" not in str(caught.value)
    assert len(str(caught.value)) < 1000
