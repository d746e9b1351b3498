"""`python -m paradrop` is `paradropd`."""

import sys

from paradrop.daemon.cli import main

if __name__ == "__main__":
    sys.exit(main())
