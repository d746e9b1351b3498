"""A real crossbar router for one run: started, killed and restarted on ports that stay its own."""

from __future__ import annotations

import contextlib
import secrets
import socket
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from harness.child import Child
from harness.errors import InfrastructureError
from harness.evidence.timeline import Timeline
from harness.fault.injector import Injector
from harness.fault.realm import Revoked
from harness.fault.router import NodeKilled, NodeRestarted, NodeStopped
from harness.machine.functions import RealmFunctions, RouterFunctions
from harness.node import certificates, crossbar
from harness.node.config import crossbar_config
from harness.node.log import message
from harness.node.operator import Event, Operator
from harness.node.ports import ReservedPort
from harness.node.registry import DEVICE, OPERATOR, Registry
from harness.node.uris import PATH, REALM

__all__ = ["Batch", "Event", "Node", "Operator"]


@dataclass(frozen=True)
class Batch:
    """What a device needs to provision itself: the batch's id and key."""

    id: str
    key: str = field(repr=False)


class Node:
    """Crossbar with one realm, a listener with TLS and a plain one, both on the loopback interface.

    The ports, the certificate authority and the registry last as long as this object; crossbar
    comes and goes. Used as a context manager it starts, and ends with nothing left behind.

    @param folder: made if need be; receives configuration, registry, keys and log.
    @param timeline: receives faults, starts and ends, what crossbar prints, who joined and left.
    """

    def __init__(self, folder: Path, timeline: Timeline | None = None) -> None:
        self.folder = folder
        self.realm = REALM
        self.log = folder / "crossbar.log"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._timeline = timeline
        self.injector = Injector(timeline)
        self._router = RouterFunctions(self._end, self._launch, self._pid, self._answers)
        self._realm = RealmFunctions(
            self._sessions, self._end_sessions, self._may_join, self._expel
        )
        self._registry = Registry(folder / "registry.sqlite")
        self._certificates = certificates.issue(folder)
        self._plain, self._tls = ReservedPort(), ReservedPort()
        self._secret = self._registry.enroll("operator", OPERATOR)
        self._child: Child | None = None
        self._wanted = False
        self._present: set[int] = set()
        self._control: Operator | None = None

    @property
    def port(self) -> int:
        return self._plain.number

    @property
    def tls_port(self) -> int:
        return self._tls.number

    @property
    def ca_pem(self) -> bytes:
        """The certificate of the authority that vouches for the router."""
        return self._certificates.ca_pem

    @property
    def running(self) -> bool:
        return self._child is not None and self._child.running

    @property
    def wanted(self) -> bool:
        """Whether it was started and neither stopped nor killed since."""
        return self._wanted

    def url(self, host: str = "127.0.0.1", port: int | None = None, tls: bool = True) -> str:
        """Where to join, as seen from `host`'s network; a forwarded port may stand for ours."""
        ours = self.tls_port if tls else self.port
        return f"{'wss' if tls else 'ws'}://{host}:{port or ours}{PATH}"

    def start(self) -> None:
        """Start crossbar and wait until it can be joined. Does nothing while it runs.

        @raise InfrastructureError: it died, or can't be joined after a minute.
        """
        if not self.running:
            self.injector.end(NodeStopped(), self._router)

    def _launch(self) -> None:
        config = crossbar_config(self.port, self.tls_port, self._certificates, self._registry.path)
        self._launched = self._record("start")
        self._child = crossbar.launch(self.folder, config, self._printed)
        self._wanted = True
        self.wait_ready()

    def wait_ready(self, timeout: float = 60) -> None:
        """Wait until somebody has really joined since the last start.

        @raise InfrastructureError: crossbar died, or nobody could join.
        """
        if self._control is None:
            self._control = Operator(self.url(tls=False), self._secret, self._met)
        deadline = time.monotonic() + timeout
        while True:
            self.check()
            try:
                self._control.wait_ready(min(0.25, deadline - time.monotonic()), self._launched)
            except InfrastructureError as error:
                if time.monotonic() >= deadline:
                    raise InfrastructureError(
                        f"crossbar can't be joined after {timeout:g} s", evidence=self._tail()
                    ) from error
            else:
                self._record("ready", seconds=time.monotonic() - self._launched)
                return

    def check(self) -> None:
        """@raise InfrastructureError: crossbar ended without being asked, or was never started."""
        if self._child is None or not self._wanted:
            raise InfrastructureError("crossbar is not running", hint="start the node first")
        status = self._child.returncode
        if status is not None:
            tail = self._tail()  # with it, all that crossbar printed is on the time line
            self._record("died", status=status)
            raise InfrastructureError(
                f"crossbar ended with status {status} without being asked", evidence=tail
            )

    def stop(self) -> None:
        """End crossbar in good order."""
        self._leave(NodeStopped())

    def kill(self) -> None:
        """End crossbar and its worker at once, as a crash of the machine would."""
        self._leave(NodeKilled())

    def restart(self) -> None:
        """Stop it, and start it on the same ports."""
        if self._child is None:
            self.start()
        else:
            self.injector.begin(NodeRestarted(), self._router)

    def close(self) -> None:
        """Stop, and give the ports back."""
        self._end(True)
        if self._control is not None:
            self._control.close()
            self._control = None
        self._plain.close()
        self._tls.close()

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def enroll(self, pdid: str) -> str:
        """Let a device join; a token it had before is void.

        @return: its token, which the node itself does not keep.
        @raise InfrastructureError: it is not a pdid.
        """
        return self._registry.enroll(pdid, DEVICE)

    def revoke(self, pdid: str) -> None:
        """Let a device join no more, and end the sessions it has."""
        self.injector.begin(Revoked(pdid), self._realm)

    def add_batch(self, router_url: str, size: int = 1000) -> Batch:
        """A batch of `size` devices that may provision themselves.

        @param router_url: the router that they are told to join.
        """
        name = f"batch-{secrets.token_hex(4)}"
        return Batch(name, self._registry.add_batch(name, router_url, size))

    def operator(self) -> Operator:
        """A client that calls and watches the devices; close it after use."""
        return Operator(self.url(tls=False), self._secret, timeline=self._timeline)

    def _leave(self, fault: NodeStopped | NodeKilled) -> None:
        """Be away until the next start."""
        self._wanted = False
        if self._child is not None:
            self.injector.begin(fault, self._router)

    def _end(self, gracefully: bool) -> None:
        self._wanted = False
        if self._child is not None:
            self._child.terminate() if gracefully else self._child.kill()
            self._child = None
            self._record("stop" if gracefully else "kill")

    def _pid(self) -> int | None:
        return self._child.pid if self._child is not None and self._child.running else None

    def _answers(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
            return True
        return False

    def _may_join(self, pdid: str) -> bool:
        return self._registry.find(pdid) is not None

    def _expel(self, pdid: str) -> None:
        self._registry.revoke(pdid)

    def _sessions(self, pdid: str) -> list[int]:
        """None while crossbar is away."""
        return self._control.sessions(pdid) if self.running and self._control is not None else []

    def _end_sessions(self, pdid: str) -> None:
        if self.running and self._control is not None:
            self._control.end_all(pdid)

    def _printed(self, line: str) -> None:
        if text := message(line):
            self._tell("crossbar", "log", line=text)

    def _met(self, topic: str, argument: Any) -> None:
        if topic == "wamp.session.on_join" and argument["session"] not in self._present:
            self._present.add(argument["session"])
            self._record("joined", session=argument["session"], authid=argument["authid"])
        elif topic == "wamp.session.on_leave":
            self._present.discard(argument)
            self._record("left", session=argument)

    def _record(self, event: str, **fields: Any) -> float:
        return self._tell("node", event, **fields)

    def _tell(self, source: str, event: str, **fields: Any) -> float:
        if self._timeline is None:
            return time.monotonic()
        return self._timeline.record(source, event, **fields)

    def _tail(self) -> str:
        return "" if self._child is None else self._child.tail()
