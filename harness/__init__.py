"""Stands up real routers and a real crossbar node, breaks them on purpose, keeps the evidence."""

import sys

# autobahn imports every serializer it finds; this one, which nobody here uses, brings NumPy and
# prints an alarming traceback when NumPy is newer than it knows.
sys.modules.setdefault("bjdata", None)  # type: ignore[arg-type]
