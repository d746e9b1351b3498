"""Paradrop: the base library of a router daemon, and its reference daemon."""

__version__ = "0.1.0"
