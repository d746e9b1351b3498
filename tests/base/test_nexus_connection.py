"""The session of a nexus, with a real router."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from sessions import Device, drop

from harness.node import Node
from paradrop.base import nexus, settings
from paradrop.base.nexus import NexusBase
from paradrop.base.output import out
from paradrop.base.states import State


class Router(Device):
    """Joins as the router of the nexus, with its key."""

    def onConnect(self) -> None:
        self.join(self.config.realm, ["wampcra"], self.pdid)

    def onChallenge(self, challenge: Any) -> Any:
        self.extra = {"token": nexus.core.getKey("apitoken")}
        return super().onChallenge(challenge)

    def onJoin(self, details: Any) -> Any:
        return super(Device, self).onJoin(details)

    def onLeave(self, details: Any) -> None:
        pass


class Mine(NexusBase):
    """Keeps what it is told of its connection."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.told: list[Any] = []

    def onConnectionState(self, was: State, now: State, reason: str) -> None:
        self.told.append(now)


@pytest.fixture
def mine(home: Path, reactor: Any, request: pytest.FixtureRequest) -> Iterator[Mine]:
    request.getfixturevalue("quick")  # after the settings were loaded
    nexus.core = made = reactor(Mine, False, False)
    yield made
    reactor(made.disconnect)
    out.endLogging()
    nexus.core = None


def provision(node: Node, mine: Mine, pdid: str) -> None:
    mine.provision_with_token(pdid, node.enroll(pdid), wampRouter=node.url())


def test_the_state_from_the_beginning_to_the_end(
    node: Node, mine: Mine, reactor: Any, records: Any
) -> None:
    assert mine.connection_state is State.UNPROVISIONED
    reactor(provision, node, mine, "nx-1")
    assert mine.connection_state is State.STOPPED
    session = reactor(mine.connect, Router)
    assert mine.connection_state is State.READY
    reactor(drop, session)
    records.wait("wamp.joined", 2)
    reactor(mine.disconnect)
    assert mine.connection_state is State.STOPPED
    first = [State.JOINING, State.READY]
    assert mine.told == [*first, State.BACKOFF, State.CONNECTING, *first, State.STOPPED]


def test_a_connection_that_is_away_ends_with_the_next_one(
    node: Node, mine: Mine, reactor: Any, records: Any
) -> None:
    reactor(provision, node, mine, "nx-2")
    old = reactor(mine.connect, Router).client

    def away_and_anew() -> Any:
        old.connector.port = 1
        drop(mine.session)

    reactor(away_and_anew)
    records.wait("wamp.retry", 2)
    assert mine.session is None
    reactor(provision, node, mine, "nx-3")
    session = reactor(mine.connect, Router)
    assert old.state is State.STOPPED
    assert old._callID is None
    assert mine.session is session


def test_a_token_that_is_refused_is_told(
    node: Node, mine: Mine, reactor: Any, records: Any
) -> None:
    reactor(provision, node, mine, "nx-4")
    reactor(mine.saveKey, "not-the-token", "apitoken")
    reactor.begin(mine.connect, Router)
    records.wait("wamp.refused")
    assert mine.told[-1] is State.AUTH_FAILED
    assert mine.connection_state is State.AUTH_FAILED


@pytest.mark.parametrize("within", ["a transaction", "nothing"])
def test_a_new_token_is_tried_at_once(
    node: Node,
    mine: Mine,
    reactor: Any,
    records: Any,
    monkeypatch: pytest.MonkeyPatch,
    within: str,
) -> None:
    reactor(provision, node, mine, "nx-5")
    token = mine.getKey("apitoken")
    reactor(mine.saveKey, "not-the-token", "apitoken")
    monkeypatch.setattr(settings, "WAMP_MAX_DELAY", 600)
    joining = reactor.begin(mine.connect, Router)
    records.wait("wamp.refused")
    records.wait("wamp.retry", 2)

    def save() -> None:
        with mine.transaction() if within == "a transaction" else nullcontext():
            mine.saveKey(token, "apitoken")

    reactor(save)
    assert joining.wait(5).client.state is State.READY


def test_who_ends_a_connection_that_is_ending_waits_for_it_too(
    node: Node, mine: Mine, reactor: Any
) -> None:
    reactor(provision, node, mine, "nx-6")
    client = reactor(mine.connect, Router).client

    def twice() -> Any:
        mine.disconnect()
        return mine.disconnect()

    reactor(twice)
    assert client._connection is None
