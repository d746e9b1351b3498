"""The exporter: offers routers to a labgrid coordinator, a place each."""

from __future__ import annotations

import asyncio
import contextlib
import io
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar

import grpc
import yaml
from labgrid.remote import exporter as labgrid
from labgrid.remote.common import ResourceEntry
from labgrid.remote.generated import labgrid_coordinator_pb2 as messages

from harness.device.labgrid.place import here, reach
from harness.errors import InfrastructureError
from harness.lab.control import Control
from harness.lab.router import Access, Router

REST = "rest"
"""Labgrid's model of a power switch that is turned by PUT, with `1` or `0`."""


@dataclass(frozen=True)
class Offer:
    """A part of a router as labgrid knows it.

    @param cls: class of the resource. @param always: its parameters while nobody has it.
    @param lent: those that a borrower sees beside them. @param told: the same, of what only the
        harness reads.
    """

    cls: str
    always: Mapping[str, Any]
    lent: Callable[[Access], Mapping[str, Any]]
    told: Callable[[Access], Mapping[str, Any]] = lambda access: {}


OFFERS: Mapping[str, Offer] = MappingProxyType(
    {
        "ssh": Offer(
            "NetworkService",
            {"address": "127.0.0.1", "username": "root", "port": 0},
            lambda access: {"port": access.ssh},
            lambda access: {"key": access.key},
        ),
        "console": Offer(
            "NetworkSerialPort",
            {"host": "127.0.0.1", "port": 0, "protocol": "raw"},
            lambda access: {"port": access.console},
        ),
        "power": Offer(
            "NetworkPowerPort",
            {"model": REST, "host": "http://127.0.0.1", "index": "0"},
            lambda access: {"host": access.power},
        ),
        "wan": Offer(
            "HttpDigitalOutput",
            {
                "url": "http://127.0.0.1",
                "body_asserted": "1",
                "body_deasserted": "0",
                "body_get_asserted": "1",
                "body_get_deasserted": "0",
            },
            lambda access: {"url": access.wan},
        ),
    }
)
"""By name of the resource."""


class Part(labgrid.ResourceExport):  # type: ignore[misc]  # labgrid ships no types
    """One resource of a router: acquired, it is available when the clone has started."""

    routers: ClassVar[dict[str, Router]] = {}

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        self._router = self.routers[self.local_params["router"]]
        self._offer = OFFERS[self.local_params["part"]]
        self.data["cls"] = self._offer.cls

    def poll(self) -> bool:
        loan = self._router.loan if self.acquired else None
        if loan is not None:
            loan.check()
        access = loan.access if loan is not None else None
        params: dict[str, Any] = dict(self._offer.always)
        extra: dict[str, Any] = {"proxy": self.proxy, "proxy_required": self.proxy_required}
        extra |= {"kind": self._router.kind, "here": here()}
        if access is not None:
            params |= self._offer.lent(access)
            extra |= self._offer.told(access)
        if loan is not None and loan.problem:
            extra["problem"] = loan.problem
        avail = loan is None or (access is not None and not loan.problem)
        new = {"avail": avail, "params": params | {"extra": extra}}
        dirty = any(self.data.get(name) != value for name, value in new.items())
        self.data.update(new)
        return dirty

    def acquire(self, place_name: str) -> None:
        ResourceEntry.acquire(self, place_name)
        self._router.take(self)
        self.poll()

    def release(self) -> None:
        ResourceEntry.release(self)
        self._router.give_back(self)
        self.poll()


def export(
    kind: str, places: Sequence[str], coordinator: str, name: str, say: Callable[[str], None]
) -> None:
    """Offer emulated routers until the coordinator is gone, or an exception ends it.

    @param kind: of the routers. @param places: a router for each; made if there is none.
    @param coordinator: host and port. @param name: of this exporter.
    @param say: called with a line when all are offered, and when a router has died.
    @raise InfrastructureError: there is no coordinator, it refuses, or it has gone.
    """
    coordinator = reach(coordinator)
    with tempfile.TemporaryDirectory(prefix="hil-") as folder, contextlib.ExitStack() as held:
        control = Control()
        held.callback(control.close)
        for place in places:
            Part.routers[place] = Router(kind, Path(folder) / place, control, say)
            held.callback(Part.routers[place].close)
        labgrid.exports[Part.__name__] = Part
        resources = Path(folder) / "resources.yaml"
        resources.write_text(
            yaml.safe_dump(
                {
                    place: {
                        part: {"cls": Part.__name__, "router": place, "part": part}
                        for part in OFFERS
                    }
                    for place in places
                }
            )
        )
        config = {
            "name": name,
            "hostname": "127.0.0.1",
            "resources": str(resources),
            "coordinator": coordinator,
            "isolated": False,
        }
        held.enter_context(_quiet())
        asyncio.run(_serve(config, kind, places, say))
    raise InfrastructureError(f"the coordinator at {coordinator} is gone", hint="export again")


async def _serve(
    config: dict[str, Any], kind: str, places: Sequence[str], say: Callable[[str], None]
) -> None:
    exporter = labgrid.Exporter(config)
    running = asyncio.ensure_future(exporter.run())
    try:
        while exporter.poll_task is None and not running.done():  # it says no other way
            await asyncio.sleep(0.05)
        if not running.done():
            for place in places:
                await _place(exporter, place, config["name"], kind)
            say(f"{config['name']} exports {', '.join(places)} to {config['coordinator']}")
        await running
    except grpc.aio.AioRpcError as error:
        raise InfrastructureError(
            f"the coordinator at {config['coordinator']} refuses: {error.details()}"
        ) from error
    finally:
        running.cancel()
        await exporter.channel.close()


async def _place(exporter: Any, place: str, name: str, kind: str) -> None:
    """Have a place of this name with what this exporter offers in a group of the same name, and
    a tag `kind` by which it can be reserved."""
    requests = [
        (exporter.stub.AddPlace, messages.AddPlaceRequest(name=place)),
        (
            exporter.stub.AddPlaceMatch,
            messages.AddPlaceMatchRequest(placename=place, pattern=f"{name}/{place}/*"),
        ),
        (
            exporter.stub.SetPlaceTags,
            messages.SetPlaceTagsRequest(placename=place, tags={"kind": kind}),
        ),
    ]
    for call, request in requests:
        try:
            await call(request)
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.ALREADY_EXISTS:
                raise


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Labgrid's exporter prints its configuration, and each resource."""

    class Nowhere(io.TextIOBase):
        def write(self, text: str) -> int:
            return len(text)

    with contextlib.redirect_stdout(Nowhere()):
        yield
