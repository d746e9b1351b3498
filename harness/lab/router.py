"""A router that can be lent: to each borrower a fresh clone, dropped when it is given back."""

from __future__ import annotations

import contextlib
import itertools
import shutil
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from harness.bench import settings
from harness.device import create, kind_class, memory
from harness.device.console import Console
from harness.device.qemu import QemuDevice
from harness.device.relay import Relay
from harness.errors import BootError, DeviceError, HarnessError, InfrastructureError, UsageError
from harness.evidence.timeline import Timeline
from harness.lab.control import Control, OnOffSwitch
from harness.lab.serial import SerialPort

T = TypeVar("T")


@dataclass(frozen=True)
class Access:
    """How a borrower gets at a router; all of it is on 127.0.0.1, and stays over its power cuts.

    @param ssh: port. @param key: opens it, as OpenSSH's private key.
    @param console: port. @param power: URL of a switch. @param wan: URL of one: the cable.
    """

    ssh: int
    key: str
    console: int
    power: str
    wan: str


class Loan:
    """One clone, from its start in the background to its end.

    @ivar access: known when it has started.
    @ivar problem: why it can't be used, in one line; empty while it can, or starts.
    """

    def __init__(
        self, kind: str, folder: Path, control: Control, say: Callable[[str], None]
    ) -> None:
        self.access: Access | None = None
        self.problem = ""
        self._say = say
        self._said = ""
        self._kind = kind
        self._folder = folder
        self._control = control
        self._held = contextlib.ExitStack()
        self._busy = threading.Lock()
        self._off = False
        self._plugged = True
        self._end: Future[None] | None = None
        # QEMU ends with the thread that started it, so all is done by one that lives as long
        self._worker = ThreadPoolExecutor(1, thread_name_prefix=folder.name)
        self._worker.submit(self._guarded)

    def _guarded(self) -> None:
        try:
            with self._busy:
                self._start()
        except Exception as error:
            self.problem = str(error).partition("\n")[0] or type(error).__name__
            self._say(self.problem)

    def _start(self) -> None:
        self._folder.mkdir(parents=True)
        self._held.callback(shutil.rmtree, self._folder, ignore_errors=True)
        timeline = Timeline(self._folder / "timeline.jsonl")
        self._held.callback(timeline.close)
        made = create(self._kind, self._folder / self._folder.parent.name, timeline)
        assert isinstance(made, QemuDevice)
        self._device = made
        made.config = {"settings.ini": settings(made)}
        with memory.room(made.name, made.memory):
            self._held.callback(made.close)
            made.start()
        self._relay = Relay(made.on.ssh_port())
        self._held.callback(self._relay.close)
        serial = SerialPort(self._console)
        self._held.callback(serial.close)
        self.access = Access(
            ssh=self._relay.port,
            key=made.key.private.decode(),
            console=serial.port,
            power=self._switch(lambda: not self._off, self._set_power),
            wan=self._switch(lambda: self._plugged, self._set_link),
        )

    def _console(self) -> Console | None:
        try:
            return self._device.console
        except (HarnessError, AssertionError):  # off, or not yet on
            return None

    def _switch(self, get: Callable[[], bool], turn: Callable[[bool], None]) -> str:
        url = self._control.add(OnOffSwitch(get, lambda up: self._do(lambda: turn(up))))
        self._held.callback(self._control.remove, url)
        return url

    def _do(self, step: Callable[[], T]) -> T:
        """Have the worker do something, after what it does already."""

        def guarded() -> T:
            with self._busy:
                return step()

        try:
            return self._worker.submit(guarded).result()
        except RuntimeError as error:
            raise InfrastructureError("was given back") from error

    def _set_power(self, on: bool) -> None:
        if on is not self._off:
            return
        if on:
            # a supply does not know whether what it feeds comes up
            with contextlib.suppress(BootError):
                self._device.power.on()
            with contextlib.suppress(DeviceError):
                self._relay.target = self._device.on.ssh_port()
        else:
            self._relay.target = 0
            self._device.power.cut()
        self._off = not on

    def _set_link(self, up: bool) -> None:
        link = self._device.link("wan")
        if up:
            link.up()
        else:
            link.down()
        self._plugged = up

    def check(self) -> None:
        """Look whether it still lives, and say so if it does not.

        What the router itself did, such as to power itself off, is no `problem`: whoever has it
        can switch its power.
        """
        if self.access is not None and not self.problem and self._busy.acquire(blocking=False):
            said = ""
            try:
                self._device.check()
            except HarnessError as error:
                said = str(error).partition("\n")[0]
                if not isinstance(error, DeviceError):
                    self.problem = said
            finally:
                self._busy.release()
            if said and said != self._said:
                self._say(said)
            self._said = said

    def end(self) -> None:
        """Drop it, in the background; may be called while it starts."""
        self._end = self._worker.submit(self._held.close)
        self._worker.shutdown(wait=False)

    @property
    def ended(self) -> bool:
        return self._end is not None and self._end.done()

    def wait(self) -> None:
        """Until it has ended."""
        self._worker.shutdown()


def check_kind(kind: str) -> None:
    """@raise UsageError: devices of this kind can't be exported."""
    if not issubclass(kind_class(kind), QemuDevice):
        raise UsageError(
            f"a device of kind {kind!r} can't be exported", hint="an emulated router can"
        )


class Router:
    """What one place of a lab has: a router that is there while somebody uses any part of it.

    @param folder: of the place's name; its clones' folders are made below it.
    @param say: called with a line when a clone does not start, or has died.
    """

    def __init__(
        self,
        kind: str,
        folder: Path,
        control: Control,
        say: Callable[[str], None] = lambda line: None,
    ) -> None:
        check_kind(kind)
        self.kind = kind
        self.loan: Loan | None = None
        self._folder = folder
        self._control = control
        self._say = say
        self._users: set[object] = set()
        self._ending: list[Loan] = []
        self._numbers = itertools.count(1)

    def take(self, user: object) -> None:
        """Use a part of it; the first to do so has a clone started."""
        self._users.add(user)
        self._ending = [loan for loan in self._ending if not loan.ended]
        if self.loan is None:
            self.loan = Loan(
                self.kind, self._folder / str(next(self._numbers)), self._control, self._say
            )

    def give_back(self, user: object) -> None:
        """Use a part no longer; with the last its clone ends."""
        self._users.discard(user)
        if not self._users and self.loan is not None:
            self.loan.end()
            self._ending.append(self.loan)
            self.loan = None

    def close(self) -> None:
        self._users.clear()
        self.give_back(None)
        for loan in self._ending:
            loan.wait()
