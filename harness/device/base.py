"""What every device is to a suite: one small class, and the words that tests use."""

from __future__ import annotations

import shlex
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Set
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Literal, TypeVar, get_args, overload

from harness.errors import CommandError, HarnessError, SuiteError, UsageError
from harness.evidence.timeline import Timeline
from harness.fault.clock import Clock
from harness.fault.fault import Fault
from harness.fault.freeze import Freeze
from harness.fault.injector import Injector
from harness.fault.link import Link, LinkDown
from harness.fault.power import Power
from harness.fault.reboot import Reboot
from harness.machine.protocols import Cable
from paradrop.base import identity

if TYPE_CHECKING:
    from harness.device.wan import Wan

T = TypeVar("T")

CAPABILITIES: Mapping[str, str] = MappingProxyType(
    {
        "clock": "its clock can be stepped",
        "freeze": "it can be stopped and let go on",
        "link": "the cable of wan can be unplugged",
        "power": "its power can be cut",
        "reboot": "it comes back when it reboots by itself",
        "rootfs": "the whole system is the router's own",
        "several": "there can be more than one at a time",
        "snapshot": "it starts from a saved state, and can be kept, restored and forked",
    }
)
"""Everything that a device may be able to do: the words of `@pytest.mark.needs(...)`."""


Action = Literal["start", "stop", "restart"]
"""What can be done to the daemon."""


def check_action(action: str) -> None:
    """@raise SuiteError: it is none of `Action`."""
    if action not in get_args(Action):
        known = ", ".join(get_args(Action))
        raise SuiteError(f"the daemon can't {action!r}", hint=f"there are: {known}")


def check_command(command: object, timeout: object) -> None:
    """@raise SuiteError: it is no command, or its limit is no number of seconds."""
    if not isinstance(command, str) or "\0" in command:
        raise SuiteError(f"{command!r:.80} is no command")
    check_seconds(timeout)


def check_seconds(timeout: object) -> None:
    """@raise SuiteError: it is no number of seconds."""
    if isinstance(timeout, bool) or not isinstance(timeout, int | float):
        raise SuiteError(f"{timeout!r:.80} is no number of seconds")


class Ability(Generic[T]):
    """An attribute of a device that only a test with the right `needs` may use.

    Its name is one of `CAPABILITIES`.

    @param word: makes what a test says, of the device's `part` of that name and its injector.
    """

    def __init__(self, word: Callable[[Any, Injector], T]) -> None:
        self._word = word

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    @overload
    def __get__(self, device: None, owner: type) -> Ability[T]: ...
    @overload
    def __get__(self, device: Device, owner: type) -> T: ...
    def __get__(self, device: Device | None, owner: type) -> Ability[T] | T:
        if device is None:
            return self
        device.demand(self._name)
        return self._word(device.parts[self._name], device.injector)


@dataclass(frozen=True)
class Completed:
    """A command that ended on a device."""

    command: str
    status: int
    stdout: bytes
    stderr: bytes

    @property
    def text(self) -> str:
        """Its standard output, decoded."""
        return self.stdout.decode(errors="replace")

    @property
    def said(self) -> str:
        """Its standard output, then its standard error, decoded."""
        return (self.stdout + self.stderr).decode(errors="replace")


@dataclass(frozen=True)
class Snapshot:
    """A device at one moment: its machine with RAM and processes, its disk, where its cables are.

    @param state: file of the machine's state. @param disk: file of its disk.
    @param plugged: whether the cable of wan was in.
    @param digest: of `state`, as hexadecimal sha256.
    """

    state: Path
    disk: Path
    plugged: bool
    digest: str


def read_or_why(read: Callable[[], str]) -> str:
    """What is read for the evidence; or why it can't be."""
    try:
        return read()
    except HarnessError as error:
        return f"could not be read: {error}"


class Device(ABC):
    """A router under test: it runs the daemon, has a management and a wan network, and suffers.

    A kind of device implements the abstract methods and sets the faults that it can suffer. The
    machine itself failing (QEMU dies, mgmt is silent) is an `InfrastructureError`; a router that
    never comes up is a `BootError`; a router that does the wrong thing is a `DeviceError`.

    @param folder: where everything it leaves is kept.
    @param argument: which one of its kind, where that has to be said; what follows the colon in
        `--device labgrid:PLACE`.
    @ivar config: files for the configuration home, by name, present from the first boot on.
    @ivar asked: the capabilities that the current test asked for with `needs`; None: not in a test,
        everything may be used.
    @ivar parts: what of it suffers faults, by capability: see `harness.machine.protocols`.
    @ivar cables: those of its network cables that can be pulled, by the name of the network.
    @ivar injector: does its faults.
    @ivar forks: those that were made of it; they end with it.
    @ivar give_up: frees memory that can be done without, when there is too little for a fork.
    """

    kind: ClassVar[str]
    capabilities: ClassVar[frozenset[str]]
    """Which of `CAPABILITIES` the kind has."""

    memory: int = 128 << 20
    """Bytes of this computer's memory that one may grow to."""

    config_home: PurePosixPath
    runtime_home: PurePosixPath
    daemon_user: str
    power = Ability(Power)
    clock = Ability(Clock)
    freeze = Ability(Freeze)
    reboot = Ability(Reboot)

    def __init__(self, folder: Path, timeline: Timeline, argument: str = "") -> None:
        self.folder = folder
        self.timeline = timeline
        self.argument = argument
        self.config: dict[str, bytes] = {}
        self.name = f"{self.kind}-{folder.name}"
        self.asked: Set[str] | None = None
        self.parts: dict[str, Any] = {}
        self.cables: dict[str, Cable] = {}
        self.injector = Injector(timeline, device=self.name)
        self.forks: list[Device] = []
        self.give_up: Callable[[], None] = lambda: None

    # -- before there is one

    @classmethod
    def check_host(cls, argument: str) -> None:
        """Look whether this computer can have one; fast, and nothing is made or started but to
        look for the first time at an image that somebody brings.

        @param argument: see `Device`.
        @raise UsageError: the argument is wrong.
        @raise InfrastructureError: this computer can't have one; says what to do.
        @raise BootError: an image that somebody brings does not come up.
        """
        if argument:
            raise UsageError(f"{cls.kind}: takes no argument, not {argument!r}")

    @classmethod
    def lacks(cls, argument: str, needs: Set[str]) -> dict[str, str]:
        """Those of some capabilities that one has not, each with the reason, if there is more to
        say than that it is so."""
        return {need: "" for need in sorted(needs - cls.capabilities)}

    # -- what a kind implements

    @abstractmethod
    def start(self) -> None:
        """Power it on for the first time; returns when it has booted and takes commands.

        @raise BootError: it does not come up.
        """

    def prepare(self, progress: Callable[[str], None]) -> None:  # noqa: B027
        """Make what all devices like this one start from, if that takes time.

        @param progress: called with a line whenever it does.
        """

    @abstractmethod
    def close(self) -> None:
        """End it and free all it holds; its folder stays. May be called twice."""

    @abstractmethod
    def run(self, command: str, timeout: float = 60) -> Completed:
        """Run a shell command as the administrator, over mgmt, whatever its exit status.

        @raise InfrastructureError: no answer within `timeout` seconds.
        """

    @abstractmethod
    def write(
        self,
        path: PurePosixPath | str,
        data: bytes,
        mode: int = 0o644,
        owner: str | None = None,
    ) -> None:
        """Replace a file; it survives a power cut.

        @param owner: a user on the device; else it belongs to the administrator.
        """

    @abstractmethod
    def read(self, path: PurePosixPath | str) -> bytes:
        """The content of a file.

        @raise CommandError: it can't be read.
        """

    @abstractmethod
    def access(self) -> dict[str, str]:
        """How a person gets into it: a command by name."""

    @abstractmethod
    def wan(self, port: int) -> tuple[str, int]:
        """The address at which the device reaches, over wan, a loopback port of this machine."""

    @abstractmethod
    def daemon(self, action: Action) -> None:
        """Start or stop the daemon the way the router's init does."""

    @abstractmethod
    def check(self) -> None:
        """Look whether it still lives; one that reboots does.

        @raise DeviceError: its kernel panicked and hangs, or it powered itself off.
        @raise InfrastructureError: the machine died without being asked to.
        """

    def check_kernel(self) -> None:  # noqa: B027
        """@raise DeviceError: its kernel has panicked, although no test wanted that; it may have
        rebooted since."""

    @abstractmethod
    def evidence(self) -> dict[str, str | Path]:
        """What it leaves for a reader, by name: console and logs as text, packets as a file."""

    @abstractmethod
    def facts(self) -> dict[str, str]:
        """What it is made of, for the report: image, kernel, emulator and their hashes."""

    # -- several at once

    def share(self, network: Wan) -> None:  # noqa: B027
        """Before it is started: be on a wan with others. Those that reach each other anyway, as
        processes of one computer do, have nothing to do."""

    @property
    def wan_address(self) -> str:
        """The IPv4 address at which others on its wan reach it."""
        return "127.0.0.1"

    # -- of kinds with the capability `snapshot`

    def family(self) -> Iterator[Device]:
        """This device, and all that were forked off it or off those."""
        yield self
        for fork in self.forks:
            yield from fork.family()

    def snapshot(self) -> Snapshot:
        """Keep the device as it is now; it goes on. The snapshot lives as long as the run.

        @raise InfrastructureError: it is powered off.
        @raise SuiteError: the device has no snapshots, or the test did not ask for them.
        """
        self.demand("snapshot")
        raise NotImplementedError

    def restore(self, snapshot: Snapshot) -> None:
        """Go back to a snapshot of this device, also from a power cut.

        Its clock is set to now, and its random numbers are new ones. Its connections have ended:
        the other end has gone on.

        @raise InfrastructureError: the snapshot is damaged.
        @raise SuiteError: as in `snapshot`.
        """
        self.demand("snapshot")
        raise NotImplementedError

    def fork(self, count: int) -> list[Device]:
        """So many devices that go on from here beside this one: with its processes and its disk.

        Each is itself, as a fresh device is, and so has no identity yet. Each is on a wan of its
        own, unless this one shares its wan.

        @raise InfrastructureError: it is powered off, or there is no memory.
        @raise SuiteError: as in `snapshot`.
        """
        self.demand("snapshot")
        raise NotImplementedError

    def daemon_log(self) -> str:
        """Today's log of the daemon, for the evidence; or why it can't be read."""
        path = self.config_home / "logs" / "log"
        return read_or_why(lambda: self.read(path).decode(errors="replace"))

    # -- the words of a test

    def python(self, program: str, timeout: float = 60) -> str:
        """Run a Python program with the device's interpreter and libraries; it must exit 0.

        @return: its standard output.
        """
        return self.succeed(shlex.join(["python3", "-c", program]), timeout)

    def succeed(self, command: str, timeout: float = 60) -> str:
        """Run a command that must exit 0.

        @return: its standard output.
        @raise CommandError: it exits otherwise.
        """
        check_command(command, timeout)
        done = self.run(command, timeout)
        if done.status != 0:
            raise CommandError(
                f"`{command}` exited {done.status}",
                device=self.name,
                evidence=done.said[-2000:],
            )
        return done.text

    def fail(self, command: str, timeout: float = 60) -> str:
        """Run a command that must not exit 0.

        @return: its standard output and standard error.
        @raise CommandError: it exits 0.
        """
        check_command(command, timeout)
        done = self.run(command, timeout)
        if done.status == 0:
            raise CommandError(f"`{command}` succeeded unexpectedly", device=self.name)
        return done.said

    def wait_until_succeeds(self, command: str, timeout: float = 60) -> str:
        """Run a command again and again until it exits 0.

        @return: its standard output then.
        @raise CommandError: it still fails after `timeout` seconds.
        """
        check_command(command, timeout)
        # repeated on the device: a connection for each try would keep an emulated one busy
        tries = f'until output=$({command}); do sleep 0.3; done; echo "$output"'
        done = self.run(
            shlex.join(["timeout", f"{max(timeout, 0.1):g}", "sh", "-c", tries]), timeout + 30
        )
        if done.status != 0:
            raise CommandError(
                f"`{command}` still fails after {timeout:g} s",
                device=self.name,
                evidence=done.stderr.decode(errors="replace")[-2000:],
            )
        return done.text

    def wait_blank(self, timeout: float = 60) -> None:
        """Wait until its daemon has started once and found no identity, today or earlier."""
        logs = self.config_home / "logs"
        self.wait_until_succeeds(f"grep -q daemon.unprovisioned {logs}/log*", timeout)

    def demand(self, capability: str) -> None:
        """@raise SuiteError: the device has no such capability, or the test did not ask for it."""
        if capability not in self.capabilities:
            what = f"has no {capability}"
        elif self.asked is not None and capability not in self.asked:
            what = f"the test uses {capability} and did not ask for it"
        else:
            return
        mark = f'@pytest.mark.needs("{capability}") is missing'
        raise SuiteError(what, device=self.name, hint=mark)

    def crash(self) -> None:
        """Take the power away without warning."""
        self.power.cut()

    def link(self, name: str) -> Link:
        """The cable of a network.

        @raise SuiteError: it has no such cable, or the test did not ask for `link`.
        """
        self.demand("link")
        return Link(name, self._cable(name), self.injector)

    @contextmanager
    def suffers(self, fault: Fault[Any]) -> Iterator[None]:
        """Any fault of a device, such as one that is read from a file, for the length of the block;
        one that does not last is over when the block begins.

        @raise SuiteError: it is no fault of this device, or the test did not ask for it.
        """
        if fault.target == "node":
            raise SuiteError(f"{fault.name} is a fault of the node", device=self.name)
        if fault.needs:
            self.demand(fault.needs)
        on: Any = self  # of whom no more is needed than its commands
        if isinstance(fault, LinkDown):
            on = self._cable(fault.link)
        elif fault.needs:
            on = self.parts[fault.needs]
        with self.injector.held(fault, on):
            yield

    def _cable(self, name: str) -> Cable:
        try:
            return self.cables[name]
        except KeyError:
            there = ", ".join(self.cables) or "none that can be unplugged"
            raise SuiteError(
                f"has no cable {name!r}", device=self.name, hint=f"there are: {there}"
            ) from None

    def provision(self, pdid: str, router: str, token: str) -> None:
        """Give the device an identity by hand, the way an administrator does.

        @param router: WebSocket URL of the router, as the device reaches it.
        @raise CommandError: the daemon's command refuses.
        """
        token_file = self.config_home / ".token"
        self.write(token_file, token.encode(), mode=0o600)
        words = ["paradropd", "provision", "--pdid", pdid, "--router", router]
        try:
            self.succeed(shlex.join([*words, "--token-file", str(token_file)]))
        finally:
            self.run(f"rm -f {token_file}")

    def adopt(self, pdid: str, router: str, token: str) -> None:
        """Give the device an identity, in the way that is fastest; see `provision`.

        The daemon's command does the same, but is a Python that an emulated CPU has to start.
        """
        # it may have booted only now, and its daemon writes them first
        self.wait_until_succeeds(f"test -s {self.config_home}/config", 120)
        for path, mode, data in self.identity_files(pdid, router, token):
            self.write(path, data, mode, self.daemon_user)
        self.reload()

    def identity_files(
        self, pdid: str, router: str, token: str
    ) -> list[tuple[PurePosixPath, int, bytes]]:
        """What `provision` leaves, all of it the daemon's: of each file its path, its mode and what
        is in it."""
        info = identity.default_info() | {"pdid": pdid, "wampRouter": router}
        return [
            (self.config_home / "keys" / identity.TOKEN_KEY, 0o600, token.encode()),
            (self.config_home / "config", identity.MODE, identity.dump_yaml(info)),
        ]

    def reload(self) -> None:
        """Have the daemon, once it runs, read its identity again and connect as what it finds."""
        self.wait_until_succeeds(f"kill -HUP $(cat {self.runtime_home}/paradropd.pid)")

    def forget(self) -> None:
        """Take its identity and its keys away from under the running daemon.

        It has noticed when this returns: what it then writes can't replace a new identity.
        """
        self.erase_identity()
        self.reload()
        self.wait_until_succeeds(f"test -s {self.config_home}/config")

    def erase_identity(self) -> None:
        """Take its identity and its keys from its disk."""
        home = self.config_home
        self.succeed(f"rm -rf {home}/config* {home}/keys/* {home}/misc/* {home}/provision.yaml")
