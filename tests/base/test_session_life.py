"""
The life of a session against a model of it: a real router, a link that breaks at random moments.

Some examples are tried in every run, 500 with `--hypothesis-profile nightly`.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from collections.abc import Callable, Iterator
from typing import Any

import hypothesis
import pytest
from autobahn.wamp.exception import ApplicationError, TransportLost
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)
from sessions import Device

from harness.device import loop
from harness.device.relay import Relay
from harness.node import Node, Operator
from paradrop.base import settings
from paradrop.base.cxbr import NotConnected, State
from paradrop.base.exceptions import CallTimeout

pytestmark = pytest.mark.usefixtures("quick")

LOST = (NotConnected, TransportLost, CallTimeout, ApplicationError)
NAMES = st.sampled_from(["a", "b", "c"])
numbers = itertools.count()


class Breaker(Relay):
    """A link that is cut now, or when so many more bytes have passed."""

    budget: float = float("inf")

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(256):
                await self._plugged.wait()
                self.budget -= len(data)
                if self.budget < 0:
                    self._cut_all()
                writer.write(data)
                await writer.drain()
        await self._plugged.wait()
        with contextlib.suppress(OSError):
            writer.write_eof()

    def _cut_all(self) -> None:
        self.budget = float("inf")
        for task in set(self._connections):
            task.cancel()

    def cut(self) -> None:
        async def cut() -> None:
            self._cut_all()

        loop.run(cut(), 10)


def life(
    node: Node, operator: Operator, reactor: Any, core: Any, breaker: Breaker
) -> type[RuleBasedStateMachine]:
    class Life(RuleBasedStateMachine):
        @initialize()
        def start(self) -> None:
            self.pdid = f"life-{next(numbers)}"
            self.fired = 0
            self.registered: dict[str, Any] = {}
            self.subscribed: dict[str, Any] = {}
            self.heard: list[int] = []
            self.published = 0
            self.half_open = False
            token = node.enroll(self.pdid)
            url = node.url(port=breaker.port, tls=False)

            def begin() -> Any:
                started = Device.start(url, self.pdid, extra={"token": token, "made": []})
                started.addCallback(count)
                return started

            def count(session: Any) -> Any:
                self.fired += 1
                return session

            self.first = reactor(begin, timeout=30)
            self.client = self.first.client

        def ask(self, function: Callable[..., Any], *args: Any) -> Any:
            """@return: what the router answered; None where it did not."""
            try:
                return reactor(function, *args, timeout=10)
            except LOST:
                return None

        @rule()
        def cut(self) -> None:
            breaker.cut()

        @rule(count=st.integers(0, 3000))
        def cut_in_the_middle(self, count: int) -> None:
            breaker.budget = count

        @rule()
        def nothing_comes_through(self) -> None:
            self.half_open = True
            breaker.switch(False)
            time.sleep(1.8)
            breaker.switch(True)

        @rule()
        def end_the_session(self) -> None:
            operator.end_sessions(self.pdid)

        @rule(seconds=st.sampled_from([0.0, 0.01, 0.05, 0.2]))
        def time_goes_by(self, seconds: float) -> None:
            time.sleep(seconds)

        @rule(name=NAMES)
        def register(self, name: str) -> None:
            if name not in self.registered:
                made = self.ask(
                    self.first.register
                    if self.client.session is None
                    else self.client.session.register,
                    lambda pdid: name,
                    f"org.paradrop.{name}",
                )
                if made is not None:
                    self.registered[name] = made

        @rule(name=NAMES)
        def unregister(self, name: str) -> None:
            if name in self.registered:
                self.ask(self.registered.pop(name).unregister)

        @rule(name=NAMES)
        def call(self, name: str) -> None:
            if name in self.registered:
                session = self.client.session or self.first
                assert self.ask(session.call, f"org.paradrop.{name}") in (name, None)

        @rule()
        def publish(self) -> None:
            self.published += 1
            number = self.published
            reactor(lambda: self.first.publish("org.paradrop.numbers", number) and None)

        @invariant()
        def the_nexus_knows(self) -> None:
            session, connected = reactor(lambda: (core.session, core.wamp_connected))
            assert connected is (session is not None)
            if session is not None:
                assert session.pdid == self.pdid

        def teardown(self) -> None:
            if not hasattr(self, "client"):
                return
            try:
                self.heal()
            finally:
                reactor(self.client.goodbye)

        def heal(self) -> None:
            breaker.budget = float("inf")
            breaker.switch(True)
            for _ in range(4):  # what broke the last time may only now be noticed
                with contextlib.suppress(AssertionError):
                    self.is_whole()
                    return
            self.is_whole()

        def is_whole(self) -> None:
            session = self.ask(self.client.when_ready, 15)
            assert session is not None, self.client.lastReason
            for name in self.registered:
                assert self.ask(session.call, f"org.paradrop.{name}") == name
            have = {one.procedure for one in session._registrations.values()}
            assert have == {f"org.paradrop.{name}.{self.pdid}" for name in self.registered}
            if not self.half_open:
                assert operator.sessions(self.pdid) == [session._session_id]
            assert self.client.state is State.READY
            assert self.fired == 1
            assert len(self.client.outbox) == 0

    return Life


@pytest.fixture
def breaker(node: Node) -> Iterator[Breaker]:
    made = Breaker(node.port)
    yield made
    made.switch(True)
    made.close()


@pytest.fixture
def operator(node: Node) -> Iterator[Operator]:
    made = node.operator()
    yield made
    made.close()


@pytest.mark.timeout(3600)
def test_life_of_a_session(
    node: Node,
    operator: Operator,
    reactor: Any,
    core: Any,
    breaker: Breaker,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in {
        "WAMP_INITIAL_DELAY": 0.02,
        "WAMP_MAX_DELAY": 0.2,
        "WAMP_PING_INTERVAL": 0.5,
        "WAMP_PING_TIMEOUT": 1,
        "WAMP_CALL_TIMEOUT": 2,
        "WAMP_OUTBOX_LIMIT": 100,
    }.items():
        monkeypatch.setattr(settings, name, value)
    thorough = hypothesis.settings.get_current_profile_name() == "nightly"
    run_state_machine_as_test(
        life(node, operator, reactor, core, breaker),
        settings=hypothesis.settings(
            max_examples=500 if thorough else 12,
            stateful_step_count=12,
            deadline=None,
            suppress_health_check=list(hypothesis.HealthCheck),
        ),
    )
