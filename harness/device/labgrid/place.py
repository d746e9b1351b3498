"""Places of a labgrid lab: looked at, reserved, taken, watched, and released."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import logging
import os
import socket
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import grpc
from labgrid.remote.client import ClientSession
from labgrid.remote.common import Reservation, ReservationState
from labgrid.remote.generated import labgrid_coordinator_pb2 as messages
from labgrid.util.proxy import proxymanager

from harness.device import loop
from harness.errors import InfrastructureError, UsageError

T = TypeVar("T")

DEFAULT = "127.0.0.1:20408"
"""Where labgrid looks for a coordinator if `LG_COORDINATOR` is not set."""

ANSWER_SECONDS = 30
"""How long a coordinator is waited for."""

PART_SECONDS = 10
"""As long it waits itself for an exporter, for each part that is acquired or released."""

WAIT_SECONDS = 180
"""How long a place is waited for that others have; a test has 300 for everything."""

READY_SECONDS = 120
"""From the moment that a place is ours until all it has is available: a router is started."""

log = logging.getLogger("harness")


def here() -> str:
    """What is the same in all processes that share a loopback interface, and nowhere else."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return f"{boot}/{Path('/proc/self/ns/net').readlink()}"


def reach(address: str) -> str:
    """@param address: of a coordinator, with or without its port.
    @return: where it listens, with its port.
    @raise InfrastructureError: there is none.
    """
    try:
        found: str = proxymanager.get_grpc_address(address, default_port=20408)
        host, _, port = found.rpartition(":")
        socket.create_connection((host.strip("[]"), int(port)), ANSWER_SECONDS).close()
    except Exception as error:  # of any class, if LG_PROXY has to be passed
        why = getattr(error, "strerror", None) or getattr(error, "msg", None) or error
        raise InfrastructureError(
            f"no labgrid coordinator at {address}: {' '.join(str(why).split())}",
            hint="set LG_COORDINATOR to HOST:PORT of one",
        ) from error
    return found


@dataclass(frozen=True)
class Part:
    """A resource of a place, as its exporter describes it.

    @param path: exporter, group, class and name, joined by slashes.
    @param extra: what is no parameter of it.
    """

    path: str
    cls: str
    name: str
    avail: bool
    extra: Mapping[str, Any]


class _Refused(InfrastructureError):
    """A coordinator did not do what it was asked to."""


class Lab:
    """A session at a coordinator, which tells it of every change.

    @raise InfrastructureError: there is no coordinator.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        where = reach(address)
        self.session: Any = self._do(lambda: self._connect(where))
        self._me = f"{self.session.gethostname()}/{self.session.getuser()}"

    async def _connect(self, where: str) -> Any:
        session = ClientSession(where, asyncio.get_running_loop())
        await session.start()
        return session

    def _do(self, step: Callable[[], Coroutine[Any, Any, T]], limit: float = ANSWER_SECONDS) -> T:
        try:
            return loop.run(step(), limit)
        except grpc.aio.AioRpcError as error:
            raise _Refused(f"the coordinator at {self.address}: {error.details()}") from None
        except Exception as error:
            why = str(error) or f"no answer within {limit:g} s"
            raise InfrastructureError(f"the coordinator at {self.address}: {why}") from error

    def _call(
        self, call: Callable[[Any], Awaitable[Any]], request: Any, limit: float = ANSWER_SECONDS
    ) -> Any:
        async def both() -> Any:
            answer = await call(request)
            await self.session.sync_with_coordinator()
            return answer

        return self._do(both, limit)

    def _limit(self, place: str) -> float:
        """Until all of a place is acquired, or released."""
        parts = sum(1 for _ in self._parts(self.session.places[place]))
        return ANSWER_SECONDS + parts * PART_SECONDS

    # -- looking

    def find(self, name: str) -> str:
        """The name of a place that is there.

        @param name: of it, or `+TOKEN` for the one of a reservation; `+` for that of `LG_TOKEN`.
        @raise UsageError: there is none.
        """
        places = self.session.places
        if name.startswith("+"):
            token = name[1:] or os.environ.get("LG_TOKEN", "")
            for place in places.values():
                if token and place.reservation == token:
                    return str(place.name)
            raise UsageError(
                f"no place at {self.address} is reserved as {token or name}",
                hint="labgrid-client reserve --wait",
            )
        if name not in places:
            there = ", ".join(sorted(places)) or "none"
            raise UsageError(f"no place {name!r} at {self.address}", hint=f"there are: {there}")
        return name

    def parts(self, name: str) -> list[Part]:
        """What a place has, whoever has it.

        @raise InfrastructureError: nothing, as no exporter is there that offers it.
        """
        found = list(self._parts(self.session.places[name]))
        if not found:
            raise InfrastructureError(
                f"place {name!r} at {self.address} has nothing: is its exporter running?"
            )
        return found

    def _parts(self, place: Any) -> Iterator[Part]:
        for exporter, groups in sorted(self.session.resources.items()):
            for group, resources in sorted(groups.items()):
                for resource, entry in sorted(resources.items()):
                    if not entry.data:  # its exporter has gone
                        continue
                    path = (exporter, group, entry.cls, resource)
                    match = place.getmatch(path)
                    if match is not None:
                        name_of = match.rename or resource
                        joined = "/".join(path)
                        yield Part(joined, entry.cls, name_of, entry.avail, entry.extra)

    # -- taking

    def take(self, name: str) -> str:
        """Reserve and acquire a place; wait for those who were first.

        @param name: as for `find`. Of a reservation that somebody made, the place is only acquired.
        @return: the name of the place.
        @raise InfrastructureError: others have it for longer than `WAIT_SECONDS`.
        """
        place = self.find(name)
        if not name.startswith("+"):
            self._reserve(place)
        request = messages.AcquirePlaceRequest(placename=place)
        try:
            self._call(self.session.stub.AcquirePlace, request, self._limit(place))
        except _Refused:  # another run of ours may have it
            raise
        except BaseException:
            self.release(place)
            raise
        return place

    def _reserve(self, place: str) -> None:
        key = (self.address, place)
        began, said = time.monotonic(), False
        while True:
            if (token := _reserved.get(key)) is None:
                token = _reserved[key] = self._ask_for(place)
            request = messages.PollReservationRequest(token=token)
            try:
                answer = self._call(self.session.stub.PollReservation, request)
                state = Reservation.from_pb2(answer.reservation).state
            except InfrastructureError:
                state = ReservationState.expired
            holder = self.session.places[place].acquired
            if state is ReservationState.allocated and holder is None:
                return
            if state in (ReservationState.expired, ReservationState.invalid):
                del _reserved[key]
                continue
            if time.monotonic() - began > WAIT_SECONDS:
                raise InfrastructureError(
                    f"place {place!r} is held by {holder or 'a reservation'}, "
                    f"and after {WAIT_SECONDS:g} s still is",
                    hint=f"labgrid-client -p {place} release, if nobody uses it",
                )
            if holder is not None and not said:
                said = True
                log.info(
                    f"place {place!r} is held by {holder}: waiting for up to {WAIT_SECONDS:g} s"
                )
            time.sleep(0.3)

    def _ask_for(self, place: str) -> str:
        main = messages.Reservation.Filter(filter={"name": place})
        request = messages.CreateReservationRequest(filters={"main": main}, prio=0.0)
        answer = self._call(self.session.stub.CreateReservation, request)
        return str(answer.reservation.token)

    def wait_ready(self, name: str) -> None:
        """Until all that a place of ours has is available.

        @raise InfrastructureError: it does not become so within `READY_SECONDS`.
        """
        deadline = time.monotonic() + READY_SECONDS
        while missing := [part for part in self.parts(name) if not part.avail]:
            self.check(name)
            if time.monotonic() > deadline:
                paths = ", ".join(part.path for part in missing)
                raise InfrastructureError(
                    f"place {name!r}: not available after {READY_SECONDS} s: {paths}"
                )
            time.sleep(0.05)

    def check(self, name: str) -> None:
        """@raise InfrastructureError: a place that we have taken is not ours any more, or what it
        had is gone."""
        if self.session.stopping.is_set():
            raise InfrastructureError(f"the coordinator at {self.address} is gone")
        place = self.session.places.get(name)
        holder = place.acquired if place is not None else None
        if place is None or holder != self._me:
            now = f"; {holder} has it" if holder else ""
            raise InfrastructureError(f"place {name!r} was released by somebody else{now}")
        parts = list(self._parts(place))
        there = {part.path for part in parts}
        for path in map("/".join, place.acquired_resources):
            if path not in there:
                exporter = path.partition("/")[0]
                raise InfrastructureError(
                    f"place {name!r} has lost its {path.split('/')[2]}: exporter {exporter} is gone"
                )
        for part in parts:
            if why := part.extra.get("problem"):
                raise InfrastructureError(f"place {name!r}: {why}")

    def release(self, name: str) -> None:
        """Give a place back, if it is still ours; the reservation of it stays until this process
        ends, so that no other gets it between two devices of one run."""
        request = messages.ReleasePlaceRequest(placename=name, fromuser=self._me)
        with contextlib.suppress(InfrastructureError, KeyError):  # it was deleted
            self._call(self.session.stub.ReleasePlace, request, self._limit(name))

    def cancel(self, token: str) -> None:
        """End a reservation."""
        with contextlib.suppress(InfrastructureError):
            self._call(
                self.session.stub.CancelReservation, messages.CancelReservationRequest(token=token)
            )

    def close(self) -> None:
        async def close() -> None:
            self.session.stopping.set()
            await self.session.stop()
            await self.session.close()

        with contextlib.suppress(InfrastructureError):
            self._do(close)


@contextlib.contextmanager
def visit(address: str) -> Iterator[Lab]:
    """A short session, to look. @raise InfrastructureError: there is no coordinator."""
    lab = Lab(address)
    try:
        yield lab
    finally:
        lab.close()


_reserved: dict[tuple[str, str], str] = {}
"""The tokens of this process's reservations, by address of the coordinator and the place."""


@atexit.register
def give_up() -> None:
    """End this process's reservations. Those of a process that is killed end after a minute."""
    for address, place in list(_reserved):
        token = _reserved.pop((address, place))
        with contextlib.suppress(Exception), visit(address) as lab:
            lab.cancel(token)
