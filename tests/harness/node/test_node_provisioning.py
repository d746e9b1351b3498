"""The batch server: devices that provision themselves."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from autobahn.wamp.exception import ApplicationError
from peer import Peer, Refused

from harness.node import Batch, Node

Join = Callable[..., Peer]
ROUTER = "wss://10.0.3.2:1234/ws"


def provision(peer: Peer, batch: Batch, nonce: str | None = None) -> dict[str, str]:
    answer: dict[str, str] = peer.run(
        "call", "org.paradrop.provision", {"batch": batch.id, "nonce": nonce}
    )
    return answer


def test_a_device_gets_an_identity_and_joins_with_it(node: Node, join: Join) -> None:
    batch = node.add_batch(ROUTER)
    given = provision(join(node.url(tls=False), batch.id, batch.key), batch)
    assert set(given) == {"pdid", "router", "token"}
    assert given["router"] == ROUTER
    assert join(node.url(tls=False), given["pdid"], given["token"]).role == "device"


def test_a_batch_ends(node: Node, join: Join) -> None:
    batch = node.add_batch(ROUTER, size=2)
    peer = join(node.url(tls=False), batch.id, batch.key)
    assert provision(peer, batch)["pdid"] != provision(peer, batch)["pdid"]
    with pytest.raises(ApplicationError, match=batch.id) as caught:
        provision(peer, batch)
    assert caught.value.error == "org.paradrop.error.batch_exhausted"


def test_asking_again_with_a_nonce_gives_the_same_identity(node: Node, join: Join) -> None:
    batch = node.add_batch(ROUTER, size=1)
    peer = join(node.url(tls=False), batch.id, batch.key)
    first, second = provision(peer, batch, "serial 1"), provision(peer, batch, "serial 1")
    assert first["pdid"] == second["pdid"]
    join(node.url(tls=False), second["pdid"], second["token"])
    with pytest.raises(Refused):
        join(node.url(tls=False), first["pdid"], first["token"])


def test_a_wrong_batch_key_is_refused(node: Node, join: Join) -> None:
    with pytest.raises(Refused, match=r"wamp\.error\.not_authorized"):
        join(node.url(tls=False), node.add_batch(ROUTER).id, "wrong")


def test_a_batch_is_of_no_use_to_another(node: Node, join: Join) -> None:
    mine, other = node.add_batch(ROUTER), node.add_batch(ROUTER)
    peer = join(node.url(tls=False), mine.id, mine.key)
    with pytest.raises(ApplicationError) as caught:
        provision(peer, other)
    assert caught.value.error == "org.paradrop.error.wrong_batch"


@pytest.mark.parametrize("request_", [None, {}, [], "text", {"batch": None}])
def test_nonsense_is_an_error_not_an_identity(node: Node, join: Join, request_: object) -> None:
    batch = node.add_batch(ROUTER)
    peer = join(node.url(tls=False), batch.id, batch.key)
    with pytest.raises(ApplicationError) as caught:
        peer.run("call", "org.paradrop.provision", request_)
    assert caught.value.error == "org.paradrop.error.wrong_batch"


def test_the_key_is_not_shown(node: Node) -> None:
    batch = node.add_batch(ROUTER)
    assert batch.key not in repr(batch)
