"""A test bench: a router node, an operator, and devices wired to them."""

from __future__ import annotations

import functools
import itertools
import json
import secrets
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from harness import device as devices
from harness.device import Device, memory
from harness.device.daemon_log import DaemonLog
from harness.device.pool import Pool
from harness.device.wan import Wan
from harness.errors import DeviceError
from harness.evidence.results import Measurement
from harness.evidence.timeline import Timeline
from harness.node import Batch, Node, Operator, log

JOIN_SECONDS = 60
"""How long a device that can reach its router may take to join: the longest delay of its retry."""

STALE_SECONDS = 30
"""How long the node may keep a session whose device is gone: its ping interval and time-out."""

STEADY_SECONDS = 3
"""How long a device is watched for a second session: the first retry of a connection comes within
1 s (`settings.WAMP_INITIAL_DELAY`), and an emulated router takes up to 2 s to connect and join."""

PROCEDURES = ("config", "logs", "status")
"""What a joined device has registered, below `org.paradrop`."""


@dataclass
class Identity:
    """Who a device is on the node. @param token: its secret; never shown."""

    pdid: str
    token: str = field(repr=False)


def settings(device: Device | type[Device]) -> bytes:
    """The daemon's settings on a bench."""
    home = device.config_home
    return f"[base]\nwamp_ca_file = {home}/ca.pem\nheartbeat_interval = 5\n".encode()


def _start(device: Device, *, used: bool = False) -> Device:
    """@param used: have it run what tests begin with: an emulated CPU is slow the first time."""
    try:
        device.start()
        if used:
            device.run("stat /")
    except BaseException:
        device.close()
        raise
    return device


def _evidence_of(device: Device, whose: str) -> dict[str, str | Path]:
    return {f"{name}{whose}": what for name, what in device.evidence().items()}


def prepare(kind: str, progress: Callable[[str], None]) -> None:
    """Make what devices of a kind start from, so that none has to wait for it.

    @param progress: called with a line whenever that takes time.
    """
    with tempfile.TemporaryDirectory(prefix="hil-") as folder:
        timeline = Timeline(Path(folder) / "timeline.jsonl")
        try:
            device = devices.create(kind, Path(folder) / devices.split(kind)[0], timeline)
            device.config = {"settings.ini": settings(device)}
            with memory.room(device.name, device.memory, progress):
                device.prepare(progress)
        finally:
            timeline.close()


class Bench:
    """Owns a node and the devices made with it; everything ends with `close`.

    @param folder: a short path: Unix sockets are made below it (unix(7) allows 107 bytes).
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.timeline = Timeline(folder / "timeline.jsonl")
        self.measurements: list[Measurement] = []
        self._numbers = itertools.count(1)
        self._devices: list[Device] = []
        self._pool = Pool(lambda kind: _start(self.new(kind), used=True))
        self._wan = Wan(folder / "wan", self.timeline)

    @functools.cached_property
    def node(self) -> Node:
        """The crossbar node, started when it is first asked for."""
        node = Node(self.folder / "node", self.timeline)
        node.start()
        return node

    @functools.cached_property
    def operator(self) -> Operator:
        return self.node.operator()

    def device(self, kind: str) -> Device:
        """A new device, its daemon running and not provisioned; the one kept warm, if any.

        @raise InfrastructureError: there is no memory for one, and none comes free.
        """
        spare = self._pool.take(kind)
        device = spare if spare is not None else self.new(kind)
        self._devices.append(device)
        if spare is None:
            self._start(device)
        return device

    def devices(self, kind: str, count: int) -> list[Device]:
        """So many new devices at once, on one wan; see `device`."""
        made: list[Device] = []
        try:
            for _ in range(count):
                made.append(self.new(kind))
                self._devices.append(made[-1])
                made[-1].share(self._wan)
                self._start(made[-1])
        except BaseException:
            for device in made:
                self.drop(device)
            raise
        return made

    def _start(self, device: Device) -> None:
        with memory.room(device.name, device.memory, give_up=device.give_up):
            _start(device)

    def warm(self, kind: str) -> None:
        """Have the next device of a kind started in the background, as far as memory allows."""
        self._pool.warm(kind)

    def wait_warm(self, kind: str) -> None:
        """Wait until the device that is started in the background, if any, is ready."""
        self._pool.wait(kind)

    def new(self, kind: str) -> Device:
        """A device that has not been started; whoever starts it gives it to `drop` in the end."""
        folder = self.folder / f"{devices.split(kind)[0]}-{next(self._numbers)}"
        device = devices.create(kind, folder, self.timeline)
        device.config = {"ca.pem": self.node.ca_pem, "settings.ini": settings(device)}
        device.give_up = self._pool.empty
        return device

    def router_url(self, device: Device, *, tls: bool = True) -> str:
        """The node's address as the device reaches it over wan."""
        host, port = device.wan(self.node.tls_port if tls else self.node.port)
        return self.node.url(host, port, tls)

    def provision(self, device: Device) -> Identity:
        """Enrol a new identity and give it to the device; returns when it has joined.

        The harness writes its files: where these are looked at, see `provision_itself`.
        The router's word for that comes before the device knows. `status` is what it offers last:
        a device that answers it is ready.
        """
        pdid = f"pd-{secrets.token_hex(4)}"
        identity = Identity(pdid, self.node.enroll(pdid))
        device.adopt(pdid, self.router_url(device), identity.token)
        self.operator.wait_joined(pdid, JOIN_SECONDS)
        self.operator.status(pdid, JOIN_SECONDS)
        return identity

    def give_batch(self, device: Device, batch: Batch, key: str = "") -> None:
        """Give a device what a factory gives it; its daemon provisions itself by that.

        @param key: another key than that of the batch.
        """
        content = {"server": self.router_url(device), "batch": batch.id, "key": key or batch.key}
        path = device.config_home / "provision.yaml"
        device.write(path, yaml.safe_dump(content).encode(), 0o600, device.daemon_user)
        device.reload()

    def provision_itself(self, device: Device) -> str:
        """Have a device without an identity provision itself from a new batch.

        Its daemon writes its files, whereas with `provision` the harness does.

        @return: its pdid; it has joined.
        @raise DeviceError: it does not provision itself, or does not join.
        """
        log = DaemonLog(device)
        self.give_batch(device, self.node.add_batch(self.router_url(device)))
        pdid: str = log.wait_for("daemon.provisioned")["extra"]["pdid"]
        self.operator.wait_joined(pdid, JOIN_SECONDS)
        self.operator.status(pdid, JOIN_SECONDS)
        return pdid

    def assert_healthy(self, pdid: str, session: int | None = None) -> None:
        """The device answers, all it offers is registered, and it has exactly one session.

        That is watched for `STEADY_SECONDS`, as a second connection may come a moment later. Before
        that, sessions whose device is gone may stay for `STALE_SECONDS`.

        @param session: the one that the device has to have; default: any.
        @raise DeviceError: otherwise.
        """
        answers = self.operator.status(pdid)["session"]
        self.operator.wait_single(pdid, answers, STALE_SECONDS)
        if session not in (None, answers):
            raise DeviceError(f"joined as {session}, and answers from {answers}", device=pdid)
        self.operator.watch_single(pdid, answers, STEADY_SECONDS)
        wanted = [f"org.paradrop.{name}.{pdid}" for name in PROCEDURES]
        registered = sorted(self.operator.registrations(pdid))
        if registered != wanted:
            raise DeviceError(f"{pdid} has registered {registered}, not {wanted}")
        again = self.operator.status(pdid)["session"]
        if again != answers:
            raise DeviceError(f"answered from {answers}, and now from {again}", device=pdid)

    @contextmanager
    def rejoins(self, pdid: str, after: str, within: float = JOIN_SECONDS) -> Iterator[None]:
        """The device loses its session in the block, and is back, healthy, soon after its end.

        What it took from the end of the block to the new session is kept as a measurement.

        @param after: what happens in the block, for the report: `router killed`.
        @param within: seconds.
        """
        before = self.operator.sessions(pdid)
        yield
        mended = time.monotonic()
        session = self.operator.wait_joined(pdid, within, not_in=before)
        seconds = time.monotonic() - mended
        self.measurements.append(Measurement("rejoin", round(seconds, 3), after))
        self.timeline.record("bench", "rejoined", pdid=pdid, session=session, after=after)
        self.assert_healthy(pdid, session)

    def _everyone(self) -> Iterator[Device]:
        for device in self._devices:
            yield from device.family()

    def check(self) -> None:
        """@raise HarnessError: see `check_alive` and `check_kernels`."""
        self.check_alive()
        self.check_kernels()

    def check_kernels(self) -> None:
        """@raise DeviceError: the kernel of a device has panicked; it may have rebooted since."""
        for device in self._everyone():
            device.check_kernel()

    def check_alive(self) -> None:
        """@raise HarnessError: a device or crossbar died without being asked to."""
        for device in self._everyone():
            device.check()
        self._wan.check()
        if "node" in self.__dict__ and self.node.wanted:
            self.node.check()

    def evidence(self, since: float = 0.0) -> dict[str, str | Path]:
        """What there is to read about the last test, by name: text, or a file.

        @param since: where the time line starts, in seconds of `time.monotonic`.
        """
        everyone = list(self._everyone())
        parts: list[tuple[str, Callable[[], Mapping[str, str | Path]]]] = []
        for device in everyone:
            whose = f" of {device.name}" if len(everyone) > 1 else ""
            parts.append((device.name, functools.partial(_evidence_of, device, whose)))
        if "node" in self.__dict__ and self.node.log.exists():
            parts.append(("crossbar", functools.partial(self._node_log, since)))
        parts.append(("time line", functools.partial(self._time_line, since)))
        found: dict[str, str | Path] = {}
        for name, collect in parts:
            try:
                found |= collect()
            except Exception as error:  # what else there is must not be lost for it
                found[name] = f"could not be collected: {error}"
        return found

    def _node_log(self, since: float) -> Mapping[str, str]:
        wall = time.time() - time.monotonic() + since
        with self.node.log.open(errors="replace") as lines:
            return log.evidence(lines, wall)

    def _time_line(self, since: float) -> dict[str, str]:
        events = self.timeline.events(since)
        return {"time line": "".join(f"{json.dumps(event)}\n" for event in events)}

    def drop(self, device: Device) -> None:
        """End a device for good."""
        device.close()
        if device in self._devices:
            self._devices.remove(device)

    def close(self) -> None:
        """End everything, in the opposite order of its making."""
        for device in reversed(self._devices):
            device.close()
        self._devices.clear()
        self._pool.close()
        self._wan.close()
        if "operator" in self.__dict__:
            self.operator.close()
        if "node" in self.__dict__:
            self.node.close()
        self.timeline.close()
