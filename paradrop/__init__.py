"""Paradrop: the base library of a router daemon, and its reference daemon."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("paradrop")
except PackageNotFoundError:  # run from a source tree that was never installed
    __version__ = "0+unknown"
