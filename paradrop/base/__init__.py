"""What every Paradrop daemon stands on: WAMP sessions, identity, logging, settings."""

import os

# autobahn's native code kills the process on an x86 without SSE4, and loading it costs a small
# router seconds at every start; our messages are small. Whoever wants it sets this to 1.
os.environ.setdefault("AUTOBAHN_USE_NVX", "0")
