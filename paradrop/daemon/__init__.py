"""The reference router daemon: what every image boots, and the first user of the library.

`cli` is the face of it and stays light; everything that needs Twisted is imported when the daemon
really runs.
"""

from paradrop.daemon.cli import main

__all__ = ["main"]
