"""How thoroughly the property tests look: `--hypothesis-profile nightly` takes its time."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

settings.register_profile(
    "nightly", max_examples=2000, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
