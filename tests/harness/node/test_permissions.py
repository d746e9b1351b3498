"""What a role may do is decided by the router itself, whatever the client says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from autobahn.wamp.exception import ApplicationError
from autobahn.wamp.types import PublishOptions, RegisterOptions, SubscribeOptions
from peer import Peer

from harness.node import Node, Operator
from harness.node.registry import OPERATOR, Registry

ACKNOWLEDGE = PublishOptions(acknowledge=True)
ACTIONS = {
    "register": lambda peer, uri: peer.run("register", print, uri),
    "subscribe": lambda peer, uri: peer.run("subscribe", print, uri),
    "publish": lambda peer, uri: peer.run("publish", uri, options=ACKNOWLEDGE),
    "call": lambda peer, uri: peer.run("call", uri),
}


def refusal(act: Callable[[], Any]) -> str:
    with pytest.raises(ApplicationError) as caught:
        act()
    error: str = caught.value.error
    return error


@pytest.mark.parametrize("action", ["register", "subscribe", "publish"])
def test_a_device_owns_the_names_that_end_in_its_pdid(device: Peer, action: str) -> None:
    ACTIONS[action](device, f"org.paradrop.thing.{device.authid}")


def test_a_device_may_call_what_is_its_own(device: Peer) -> None:
    device.serve(echo=lambda text: text)
    assert device.run("call", f"org.paradrop.echo.{device.authid}", "hello") == "hello"


@pytest.mark.parametrize(
    "name",
    [
        "org.paradrop.status.another",
        "org.paradrop.status",
        "org.paradrop.status.not-{0}",
        "org.paradrop.{0}.status",
        "{0}",
        "org.paradrop.provision",
        "wamp.session.list",
        "wamp.session.kill",
    ],
)
@pytest.mark.parametrize("action", ACTIONS)
def test_a_device_is_refused_every_other_name(device: Peer, action: str, name: str) -> None:
    assert refusal(lambda: ACTIONS[action](device, name.format(device.authid))) in (
        "wamp.error.not_authorized",
        "wamp.error.invalid_uri",  # of what is the router's own, before anybody is asked
        "wamp.error.procedure_already_exists",  # crossbar says it of a refused one as well
    )


@pytest.mark.parametrize(
    ("match", "name"),
    [
        ("prefix", "org.paradrop.status.{0}"),
        ("wildcard", "org.paradrop..{0}"),
        ("wildcard", "org..{0}"),
        ("wildcard", "..{0}"),
    ],
)
def test_a_device_is_refused_patterns_even_of_its_own_names(
    device: Peer, match: str, name: str
) -> None:
    uri = name.format(device.authid)
    for act in (
        lambda: device.run("register", print, uri, RegisterOptions(match=match)),
        lambda: device.run("subscribe", print, uri, SubscribeOptions(match=match)),
    ):
        assert refusal(act) == "wamp.error.not_authorized"


def test_a_device_can_not_take_over_the_procedure_of_another(
    node: Node, operator: Operator, device: Peer, join: Callable[..., Peer], pdid: str
) -> None:
    device.serve(echo=lambda pdid, text: text)
    intruder = join(node.url(tls=False), f"{pdid}-b", node.enroll(f"{pdid}-b"))
    force = RegisterOptions(force_reregister=True)
    uri = f"org.paradrop.echo.{device.authid}"
    assert refusal(lambda: intruder.run("register", print, uri, force)) == (
        "wamp.error.not_authorized"
    )
    assert operator.call(device.authid, "echo", "mine") == "mine"


@pytest.mark.parametrize("name", ["provision", "authorize"])
def test_a_pdid_that_sounds_like_the_node_gets_nothing_of_the_node(
    node: Node, join: Callable[..., Peer], name: str
) -> None:
    peer = join(node.url(tls=False), name, node.enroll(name))
    uri = {"provision": "org.paradrop.provision", "authorize": "org.paradrop.node.authorize"}[name]
    replace = RegisterOptions(force_reregister=True)
    for act in (
        lambda: peer.run("call", uri),
        lambda: peer.run("register", print, uri, replace),
    ):
        assert refusal(act) == "wamp.error.not_authorized"


@pytest.mark.parametrize("name", ["org.paradrop.status.x", "org.paradrop.provision.x", "wamp.a"])
@pytest.mark.parametrize("action", ACTIONS)
def test_a_provisioner_is_refused_everything_but_one_call(
    node: Node, join: Callable[..., Peer], action: str, name: str
) -> None:
    batch = node.add_batch("wss://unused/ws")
    peer = join(node.url(tls=False), batch.id, batch.key)
    assert peer.role == "provisioner"
    assert refusal(lambda: ACTIONS[action](peer, name)).startswith("wamp.error.")
    replace = RegisterOptions(force_reregister=True)
    assert refusal(lambda: peer.run("register", print, "org.paradrop.provision", replace)) == (
        "wamp.error.not_authorized"
    )
    assert peer.run("call", "org.paradrop.provision", {"batch": batch.id, "nonce": None})


def test_an_operator_can_not_stand_in_for_a_device(node: Node, join: Callable[..., Peer]) -> None:
    secret = Registry(node.folder / "registry.sqlite").enroll("operator-2", OPERATOR)
    peer = join(node.url(tls=False), "operator-2", secret)
    assert refusal(lambda: ACTIONS["register"](peer, "org.paradrop.status.x")) == (
        "wamp.error.not_authorized"
    )


def test_the_caller_is_disclosed_to_the_device(operator: Operator, device: Peer) -> None:
    device.run(
        "register",
        lambda pdid, details: details.caller_authid,
        f"org.paradrop.who.{device.authid}",
        RegisterOptions(details_arg="details"),
    )
    assert operator.call(device.authid, "who") == "operator"
    uri = f"org.paradrop.who.{device.authid}"
    assert device.run("call", uri, "somebody else") == device.authid
