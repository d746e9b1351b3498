"""A node for the tests that do not stop it, and peers that join it."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from peer import Peer

from harness.node import Node, Operator


@pytest.fixture(scope="session")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """One that runs all the time: a test that stops it makes its own."""
    with Node(tmp_path_factory.mktemp("node")) as node:
        yield node


@pytest.fixture(scope="session")
def operator(node: Node) -> Iterator[Operator]:
    operator = node.operator()
    yield operator
    operator.close()


@pytest.fixture
def join() -> Iterator[Callable[..., Peer]]:
    """Makes peers that are gone when the test is over."""
    peers: list[Peer] = []

    def make(url: str, authid: str, secret: str, **options: Any) -> Peer:
        peers.append(Peer(url, authid, secret, **options))
        return peers[-1]

    yield make
    for peer in peers:
        peer.leave()


_numbers = itertools.count(1)


@pytest.fixture
def pdid() -> str:
    """A name that no other test uses."""
    return f"router-{next(_numbers)}"


@pytest.fixture
def device(node: Node, join: Callable[..., Peer], pdid: str) -> Peer:
    """A device that has joined."""
    return join(node.url(tls=False), pdid, node.enroll(pdid))
