"""A wan that routers share: they reach each other, each by its own address, and this computer."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from emulated import started

from harness.device.qemu import QemuDevice
from harness.device.wan import Wan
from harness.errors import InfrastructureError
from harness.evidence.timeline import Timeline


@pytest.fixture(scope="module")
def network() -> Iterator[Wan]:
    with tempfile.TemporaryDirectory(prefix="wan-") as folder:
        timeline = Timeline(Path(folder) / "timeline.jsonl")
        network = Wan(Path(folder) / "wan", timeline)
        try:
            yield network
        finally:
            network.close()
            timeline.close()


@pytest.fixture(scope="module")
def routers(network: Wan) -> Iterator[list[QemuDevice]]:
    with contextlib.ExitStack() as stack:
        names = ("one", "two", "three")
        yield [stack.enter_context(started(name=name, network=network)) for name in names]


def ping(device: QemuDevice, address: str) -> bool:
    return device.run(f"ping -c 1 -W 3 {address}").status == 0


def test_each_has_an_address_and_reaches_the_others(routers: list[QemuDevice]) -> None:
    assert len({router.wan_address for router in routers}) == 3
    for router in routers:
        shown = router.succeed("ip -4 -o address show dev eth1")
        assert f" {router.wan_address}/24 " in shown
        assert shown.count("inet") == 1
        for other in routers:
            assert ping(router, other.wan_address)


def test_each_reaches_this_computer(routers: list[QemuDevice]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(10)
        host, port = routers[0].wan(server.getsockname()[1])
        for router in routers:
            program = f"import socket; socket.create_connection(({host!r}, {port}), 10)"
            router.python(program)
            server.accept()[0].close()


def test_a_cable_that_is_pulled_is_one_routers(routers: list[QemuDevice]) -> None:
    one, two, three = routers
    with one.link("wan").unplugged():
        assert not ping(one, two.wan_address)
        assert not ping(two, one.wan_address)
        assert ping(two, three.wan_address)
    assert ping(one, two.wan_address)


def test_after_a_power_cycle_it_has_its_place_again(routers: list[QemuDevice]) -> None:
    one, two, _ = routers
    one.power.cycle()
    assert f" {one.wan_address}/24 " in one.succeed("ip -4 -o address show dev eth1")
    assert ping(one, two.wan_address)
    assert ping(two, one.wan_address)


def test_forks_are_on_the_wan_of_their_origin(routers: list[QemuDevice]) -> None:
    one, two, _ = routers
    (fork,) = one.fork(1)
    assert fork.wan_address not in [router.wan_address for router in routers]
    assert isinstance(fork, QemuDevice)
    assert ping(fork, one.wan_address)
    assert ping(two, fork.wan_address)


def test_places_are_given_back_and_are_not_without_end(network: Wan) -> None:
    ports = []
    with pytest.raises(InfrastructureError, match="no place is left"):
        while True:
            ports.append(network.plug())
    assert len({port.address for port in ports}) == len(ports) > 200
    for port in ports:
        network.unplug(port)
    assert network.plug().address == ports[0].address


def test_one_that_does_not_start_is_not_there_the_next_time_either(tmp_path: Path) -> None:
    timeline = Timeline(tmp_path / "timeline.jsonl")
    network = Wan(tmp_path / ("long" * 30), timeline)  # too long for the path of a socket
    for _ in range(2):
        with pytest.raises(InfrastructureError, match="shared-wan: does not start: AF_UNIX path"):
            network.plug()
    timeline.close()


def test_a_switch_that_died_is_no_fault_of_the_routers(
    network: Wan, routers: list[QemuDevice]
) -> None:
    """The last one: the network is gone."""
    network.check()
    assert network._child is not None
    os.kill(network._child.pid, signal.SIGKILL)
    network._child.wait(5)
    with pytest.raises(InfrastructureError, match="shared-wan: QEMU ended by itself, status -9"):
        network.check()
    for router in routers:
        router.close()
