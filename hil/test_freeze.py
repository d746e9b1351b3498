"""A router that stands still for a while comes back."""

from __future__ import annotations

import pytest


@pytest.mark.needs("freeze")
def test_frozen_longer_than_the_ping_timeout(device, operator, pdid, rejoins):
    """A router that stood still until its session was gone joins again."""
    (session,) = operator.sessions(pdid)
    with rejoins(after="frozen"), device.freeze.held():
        operator.wait_left(pdid, session)
