"""A router that is away for minutes is neither hammered nor forgotten."""

from __future__ import annotations

import time

import pytest

pytestmark = [pytest.mark.long, pytest.mark.own_device]

AWAY = 125
"""Seconds: with a first delay of 1 s that doubles, the sixth retry or so waits at its longest."""

LONGEST = 60
"""Seconds between two retries at the most; `settings.WAMP_MAX_DELAY`."""


@pytest.mark.timeout(600)
def test_the_delay_grows_and_is_reset(node, operator, pdid, log, rejoins):
    """While the router is away the retries get rarer; once it is back they start over."""
    with rejoins(after="router away for 2 minutes", within=2 * LONGEST):
        node.stop()
        time.sleep(AWAY)  # nothing is waited for: this is the fault
        delays = [record["extra"]["delay"] for record in log.records("wamp.retry")]
        node.start()
    assert len(delays) <= 12
    assert delays[0] < 3
    growing = [delay for delay in delays if delay < 0.8 * LONGEST]
    assert growing == sorted(growing)
    assert LONGEST / 4 < max(delays) <= LONGEST
    retries = len(log.records("wamp.retry"))
    with rejoins(after="session killed"):
        operator.end_sessions(pdid)
    again = log.records("wamp.retry")[retries:]
    assert again[0]["extra"]["delay"] < 3
