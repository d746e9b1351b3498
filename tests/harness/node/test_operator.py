"""What suites see of the devices: answers, events, sessions, and errors that name the culprit."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from autobahn.wamp.exception import ApplicationError
from peer import Peer
from twisted.internet.defer import Deferred

from harness.errors import DeviceError, InfrastructureError
from harness.node import Node, Operator


def test_status_is_the_devices_answer(operator: Operator, device: Peer) -> None:
    device.serve(status=lambda pdid: {"pdid": pdid, "version": "1"})
    assert operator.status(device.authid) == {"pdid": device.authid, "version": "1"}


def test_logs_are_read_page_by_page(operator: Operator, device: Peer) -> None:
    records = [{"message": str(number)} for number in range(7)]
    asked: list[float] = []

    def logs(pdid: str, since: float, cursor: Any = None, limit: int = 3) -> dict[str, Any]:
        asked.append(since)
        start = cursor or 0
        more = start + limit < len(records)
        return {
            "records": records[start : start + limit],
            "cursor": start + limit if more else None,
        }

    device.serve(logs=logs)
    assert operator.logs(device.authid, since=2.5) == records
    assert asked == [2.5] * 3


def test_config_passes_the_changes(operator: Operator, device: Peer) -> None:
    device.serve(config=lambda pdid, changes=None: {"A": 1, **(changes or {})})
    assert operator.config(device.authid) == {"A": 1}
    assert operator.config(device.authid, {"A": 2}) == {"A": 2}


def test_a_call_waits_for_the_procedure_to_be_registered(operator: Operator, device: Peer) -> None:
    answers: list[Any] = []
    caller = threading.Thread(
        target=lambda: answers.append(operator.status(device.authid, timeout=10))
    )
    caller.start()
    device.serve(status=lambda pdid: "here")
    caller.join(10)
    assert answers == ["here"]


def test_a_device_without_the_procedure_is_to_blame(operator: Operator, pdid: str) -> None:
    with pytest.raises(DeviceError, match=rf"{pdid}: org\.paradrop\.status\.{pdid} was not reg"):
        operator.status(pdid, timeout=3)


def test_a_device_that_does_not_answer_is_to_blame(operator: Operator, device: Peer) -> None:
    device.serve(status=lambda pdid: Deferred())
    with pytest.raises(DeviceError, match=r"did not answer within 0\.3 s"):
        operator.status(device.authid, timeout=0.3)


def test_a_device_that_leaves_during_a_call_is_to_blame(operator: Operator, device: Peer) -> None:
    called = threading.Event()
    device.serve(status=lambda pdid: called.set() or Deferred())
    errors: list[BaseException] = []

    def ask() -> None:
        try:
            operator.status(device.authid)
        except DeviceError as error:
            errors.append(error)

    caller = threading.Thread(target=ask)
    caller.start()
    assert called.wait(5)
    device.leave()
    caller.join(5)
    assert "lost its session" in str(errors[0])


def test_an_error_of_the_device_is_passed_on(operator: Operator, device: Peer) -> None:
    def config(pdid: str, changes: Any = None) -> None:
        raise ApplicationError("org.paradrop.error.invalid_setting", "no such setting")

    device.serve(config=config)
    with pytest.raises(DeviceError, match="invalid_setting: no such setting") as caught:
        operator.config(device.authid, {"X": 1})
    assert isinstance(caught.value.__cause__, ApplicationError)
    assert caught.value.__cause__.error == "org.paradrop.error.invalid_setting"


def test_publish_reaches_the_device_with_its_pdid_first(operator: Operator, device: Peer) -> None:
    got: list[Any] = []
    came = threading.Event()

    def pending(*args: Any, **kwargs: Any) -> None:
        got.append((args, kwargs))
        came.set()

    device.run("subscribe", pending, f"org.paradrop.updatesPending.{device.authid}")
    operator.publish(device.authid, "updatesPending", 1, two=2)
    assert came.wait(5)
    assert got == [((device.authid, 1), {"two": 2})]


def beat(device: Peer, number: int) -> None:
    device.run("publish", f"org.paradrop.heartbeat.{device.authid}", device.authid, seq=number)


def test_an_event_is_waited_for(operator: Operator, device: Peer) -> None:
    with pytest.raises(DeviceError, match="no event on"):
        operator.wait_event(device.authid, "heartbeat", timeout=0.1)
    start = time.monotonic()
    beat(device, 1)
    event = operator.wait_event(device.authid, "heartbeat", timeout=5, since=start)
    assert (event.args, event.kwargs) == ((device.authid,), {"seq": 1})
    assert start < event.at <= time.monotonic()


def test_only_events_after_the_call_count_unless_since_says_otherwise(
    operator: Operator, device: Peer
) -> None:
    start = time.monotonic()
    with pytest.raises(DeviceError):
        operator.wait_event(device.authid, "heartbeat", timeout=0.1)
    beat(device, 1)
    assert operator.wait_event(device.authid, "heartbeat", 5, since=start).kwargs == {"seq": 1}
    with pytest.raises(DeviceError):
        operator.wait_event(device.authid, "heartbeat", timeout=0.1)


def test_sessions_and_registrations_are_the_devices_own(
    node: Node, operator: Operator, device: Peer, join: Callable[..., Peer]
) -> None:
    other = join(node.url(tls=False), f"x{device.authid}", node.enroll(f"x{device.authid}"))
    other.serve(status=print)
    device.serve(status=print, logs=print)
    assert operator.sessions(device.authid) == [device.id]
    assert operator.registrations(device.authid) == [
        f"org.paradrop.logs.{device.authid}",
        f"org.paradrop.status.{device.authid}",
    ]


def test_joining_and_leaving_are_waited_for(
    node: Node, operator: Operator, join: Callable[..., Peer], pdid: str
) -> None:
    token = node.enroll(pdid)
    with pytest.raises(DeviceError, match="did not join within"):
        operator.wait_joined(pdid, timeout=0.1)
    first = join(node.url(tls=False), pdid, token)
    assert operator.wait_joined(pdid, timeout=5) == first.id
    with pytest.raises(DeviceError, match=f"still in session {first.id}"):
        operator.wait_left(pdid, first.id, timeout=0.1)
    second = join(node.url(tls=False), pdid, token)
    assert operator.wait_joined(pdid, timeout=5, not_in=[first.id]) == second.id
    first.leave()
    operator.wait_left(pdid, first.id, timeout=5)
    assert operator.sessions(pdid) == [second.id]


def test_a_wait_wakes_up_at_once(
    node: Node, operator: Operator, join: Callable[..., Peer], pdid: str
) -> None:
    woken: list[float] = []

    def wait() -> None:
        operator.wait_joined(pdid, timeout=10)
        woken.append(time.monotonic())

    waiter = threading.Thread(target=wait)
    waiter.start()
    join(node.url(tls=False), pdid, node.enroll(pdid))
    joined = time.monotonic()
    waiter.join(10)
    assert woken[0] - joined < 2


def test_a_session_that_stays_the_only_one_is_watched_for_its_time(
    operator: Operator, device: Peer
) -> None:
    began = time.monotonic()
    beat(device, 1)  # whatever else the device does
    operator.watch_single(device.authid, device.id, 0.3)
    assert time.monotonic() - began >= 0.3


def test_a_second_session_is_noticed_though_it_comes_later(
    node: Node, operator: Operator, join: Callable[..., Peer], pdid: str
) -> None:
    token = node.enroll(pdid)
    first = join(node.url(tls=False), pdid, token)
    operator.wait_single(pdid, first.id, 5)
    joining = threading.Timer(0.3, join, [node.url(tls=False), pdid, token])
    joining.start()
    with pytest.raises(DeviceError, match=f"joined again, beside session {first.id}"):
        operator.watch_single(pdid, first.id, 30)
    joining.join()
    with pytest.raises(DeviceError, match="joined again"):  # at once
        operator.wait_single(pdid, first.id, 600)


def test_an_older_session_may_take_a_while_to_end(
    node: Node, operator: Operator, join: Callable[..., Peer], pdid: str
) -> None:
    token = node.enroll(pdid)
    old, new = (join(node.url(tls=False), pdid, token) for _ in range(2))
    with pytest.raises(DeviceError, match=rf"has not {new.id} as its only session.*{old.id}"):
        operator.wait_single(pdid, new.id, 0.1)
    leaving = threading.Timer(0.3, old.leave)
    leaving.start()
    operator.wait_single(pdid, new.id, 30)
    leaving.join()
    operator.watch_single(pdid, new.id, 0.1)


def test_a_second_session_is_noticed_though_it_has_left_again(
    node: Node, operator: Operator, join: Callable[..., Peer], pdid: str
) -> None:
    token = node.enroll(pdid)
    first = join(node.url(tls=False), pdid, token)
    operator.wait_single(pdid, first.id, 5)
    live = operator.sessions

    def blind(pdid: str) -> list[int]:
        """As if the second one were always gone when the router is asked."""
        return [session for session in live(pdid) if session == first.id]

    operator.sessions = blind  # type: ignore[method-assign]
    try:
        leaving = threading.Timer(0.3, lambda: join(node.url(tls=False), pdid, token).leave())
        leaving.start()
        with pytest.raises(DeviceError, match="joined again"):
            operator.watch_single(pdid, first.id, 30)
        leaving.join()
    finally:
        del operator.sessions  # type: ignore[method-assign]


def test_a_session_that_is_lost_again_is_noticed(operator: Operator, device: Peer) -> None:
    operator.wait_single(device.authid, device.id, 5)
    leaving = threading.Timer(0.3, device.leave)
    leaving.start()
    with pytest.raises(DeviceError, match=f"lost session {device.id} again"):
        operator.watch_single(device.authid, device.id, 30)
    leaving.join()


def test_a_closed_operator_blames_the_infrastructure(node: Node, pdid: str) -> None:
    operator = node.operator()
    operator.wait_ready(10)
    operator.close()
    with pytest.raises(InfrastructureError, match="has not joined"):
        operator.status(pdid, timeout=0.3)
