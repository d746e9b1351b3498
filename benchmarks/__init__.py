"""What the project promises of its speed: `python -m benchmarks`."""

import harness  # noqa: F401  - before autobahn: see there
