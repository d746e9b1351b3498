"""A real router for the benchmarks of sessions, and the two sides that join it."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import crochet
from autobahn.twisted.wamp import ApplicationSession

from harness.node import Node
from paradrop.base import settings
from paradrop.base.cxbr import BaseSession
from paradrop.base.output import out
from paradrop.daemon.session import sign

PDID = "bench"


class Ours(BaseSession):
    def onConnect(self) -> None:
        self.join(self.config.realm, ["wampcra"], self.pdid)

    def onChallenge(self, challenge: Any) -> str:
        return sign(challenge, self.extra)


class Bare(ApplicationSession):
    """Autobahn's, with what the caller of it has to write anyway."""

    def onConnect(self) -> None:
        self.join("paradrop", ["wampcra"], PDID)

    def onChallenge(self, challenge: Any) -> str:
        return sign(challenge, self.config.extra["token"])


class Router(NamedTuple):
    """A running node, and the token of `PDID` there."""

    node: Node
    token: str


@contextmanager
def router() -> Iterator[Router]:
    """A node that the settings trust, and a reactor that runs; the console is silent."""
    crochet.setup()
    out.logToConsole(False)
    with tempfile.TemporaryDirectory() as folder, Node(Path(folder)) as node:
        ca_file = Path(folder, "ca.pem")
        ca_file.write_bytes(node.ca_pem)
        settings.WAMP_CA_FILE = str(ca_file)
        yield Router(node, node.enroll(PDID))


def in_reactor(function: Callable[..., Any], *args: Any) -> Any:
    """@return: what it gives, once that is there."""
    return crochet.run_in_reactor(function)(*args).wait(120)
