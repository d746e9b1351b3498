"""What every Paradrop daemon stands on: WAMP sessions, identity, logging, settings."""
