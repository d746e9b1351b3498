"""Who is to blame when a call comes to nothing: the suite, the device, or what is between them."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from typing import Any

import pytest
from peer import Peer
from twisted.internet.defer import Deferred

from harness.errors import DeviceError, InfrastructureError, UsageError
from harness.node import Node, Operator, wire


def nested(depth: int) -> list[Any]:
    made: list[Any] = []
    for _ in range(depth):
        made = [made]
    return made


def circle() -> dict[str, Any]:
    made: dict[str, Any] = {}
    made["itself"] = made
    return made


UNSENDABLE = {
    "a large number": 10**30,
    "a small number": -(2**63) - 1,
    "a set": {1},
    "an object": object(),
    "a lone surrogate": "caf\udce9",
    "a lone surrogate as key": {"\udce9": 1},
    "a number as key": [{1: 2}],
    "a date": datetime.datetime.now(),
    "too deep": nested(wire.MAX_DEPTH + 1),
    "a circle": circle(),
    "too large": "x" * wire.MAX_BYTES,
}


@pytest.mark.parametrize("value", UNSENDABLE.values(), ids=UNSENDABLE)
def test_an_argument_that_cannot_be_sent_is_the_suites_fault(
    value: Any, operator: Operator, device: Peer
) -> None:
    device.serve(config=lambda pdid, changes=None, **more: "here")
    session = operator.sessions(device.authid)
    for use in (
        lambda: operator.call(device.authid, "config", value),
        lambda: operator.call(device.authid, "config", name=[value]),
        lambda: operator.config(device.authid, {"LOG_DIR": value}),
        lambda: operator.publish(device.authid, "updatesPending", value),
    ):
        with pytest.raises(UsageError) as caught:
            use()
        assert len(str(caught.value)) < 300
    assert operator.config(device.authid) == "here"
    assert operator.sessions(device.authid) == session


@pytest.mark.parametrize(
    "name", ["", "two words", "a#b", "a..b", ".a", "a\n", "\udce9", None, 7, b"x"]
)
def test_a_name_that_cannot_be_in_a_uri_is_the_suites_fault(
    name: Any, operator: Operator, pdid: str
) -> None:
    for use in (
        lambda: operator.call(name, "status", timeout=1),
        lambda: operator.call(pdid, name, timeout=1),
        lambda: operator.publish(pdid, name),
        lambda: operator.wait_event(pdid, name, timeout=1),
        lambda: operator.wait_event(name, "heartbeat", timeout=1),
        lambda: operator.sessions(name),
        lambda: operator.registrations(name),
        lambda: operator.end_sessions(name),
        lambda: operator.wait_joined(name, timeout=1),
    ):
        with pytest.raises(UsageError):
            use()


def test_a_name_that_is_taken_is_the_suites_fault(operator: Operator, pdid: str) -> None:
    for use in (operator.call, operator.publish):
        with pytest.raises(UsageError, match="options"):
            use(pdid, "status", **{"options": 1})


@pytest.mark.parametrize("value", [2**64 - 1, -(2**63), nested(wire.MAX_DEPTH), 1.5, "", "é", None])
def test_what_can_be_sent_arrives(value: Any, operator: Operator, device: Peer) -> None:
    device.serve(echo=lambda pdid, given: given)
    assert operator.call(device.authid, "echo", value) == value


UNANSWERABLE = {
    "a set": {1},
    "an object": object(),
    "a lone surrogate": "\udce9",
    "a tuple as key": {(1, 2): 3},
}


@pytest.mark.parametrize("value", UNANSWERABLE.values(), ids=UNANSWERABLE)
def test_an_answer_that_cannot_be_sent_is_the_devices_fault(
    value: Any, operator: Operator, device: Peer
) -> None:
    def fail(pdid: str) -> None:
        raise ValueError(value)

    device.serve(status=lambda pdid: value, fail=fail)
    for procedure in ("status", "fail"):
        with pytest.raises(DeviceError, match=r"answered what can't be sent: .*serializ"):
            operator.call(device.authid, procedure)


def test_an_answer_that_cannot_be_read_is_the_devices_fault(
    operator: Operator, device: Peer
) -> None:
    device.serve(status=lambda pdid: nested(450))
    with pytest.raises(DeviceError, match=r"answered what can't be read: .*depth"):
        operator.status(device.authid)


def test_an_answer_that_is_too_large_is_the_devices_fault(operator: Operator, device: Peer) -> None:
    device.serve(status=lambda pdid: "x" * (wire.MAX_BYTES + 1))
    with pytest.raises(DeviceError, match="lost its session"):
        operator.status(device.authid)


@pytest.mark.parametrize(
    "page", [None, "text", [], {"records": []}, {"records": 1, "cursor": None}]
)
def test_a_page_of_records_that_is_none_is_the_devices_fault(
    page: Any, operator: Operator, device: Peer
) -> None:
    device.serve(logs=lambda pdid, since, cursor=None: page)
    with pytest.raises(DeviceError, match="no page of records"):
        operator.logs(device.authid)


def test_records_without_an_end_are_the_devices_fault(operator: Operator, device: Peer) -> None:
    device.serve(logs=lambda pdid, since, cursor=None: {"records": [{}], "cursor": 1})
    with pytest.raises(DeviceError, match="there are more"):
        operator.logs(device.authid, timeout=1)


def test_a_long_error_of_a_device_is_cut(operator: Operator, device: Peer) -> None:
    def fail(pdid: str) -> None:
        raise ValueError("x" * 100_000)

    device.serve(status=fail)
    with pytest.raises(DeviceError) as caught:
        operator.status(device.authid)
    assert len(str(caught.value)) < 1000
    assert str(caught.value).count("wamp.error.runtime_error") == 1


def test_a_node_that_goes_away_is_to_blame(
    tmp_path_factory: pytest.TempPathFactory, join: Callable[..., Peer]
) -> None:
    with Node(tmp_path_factory.mktemp("n")) as node:
        operator = node.operator()
        device = join(node.url(tls=False), "router-x", node.enroll("router-x"))
        device.serve(status=lambda pdid: node.kill() or Deferred())
        with pytest.raises(InfrastructureError, match="router"):
            operator.status("router-x", timeout=20)
        for use in (
            lambda: operator.call("router-x", "status", timeout=0.5),
            lambda: operator.wait_event("router-x", "heartbeat", timeout=0.5),
            lambda: operator.wait_joined("router-x", timeout=0.5),
        ):
            with pytest.raises(InfrastructureError):
                use()
        operator.close()
