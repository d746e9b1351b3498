"""Crossbar comes, goes, dies and comes back; its ports and its members stay."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from peer import Peer, Refused

from harness.errors import InfrastructureError
from harness.evidence.timeline import Timeline
from harness.node import Node, crossbar
from harness.node.log import evidence

Join = Callable[..., Peer]


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """A node that a test may stop, as long as it starts it again."""
    folder = tmp_path_factory.mktemp("own")
    timeline = Timeline(folder / "timeline.jsonl")
    with Node(folder / "node", timeline) as node:
        yield node
    timeline.close()


def family(node: Node) -> list[psutil.Process]:
    """Crossbar's controller and its worker; the worker runs in the node's folder."""
    ours = psutil.Process().children(recursive=True)
    groups = {os.getpgid(p.pid) for p in ours if p.cwd() == str(node.folder)}
    return [process for process in ours if os.getpgid(process.pid) in groups]


def wait_until_dead(processes: list[psutil.Process], timeout: float = 10) -> None:
    deadline = time.monotonic() + timeout
    while any(p.is_running() and p.status() != psutil.STATUS_ZOMBIE for p in processes):
        assert time.monotonic() < deadline, processes
        time.sleep(0.02)


def told(node: Node, since: float = 0.0) -> list[dict[str, Any]]:
    """What the node wrote into its time line, but for the operator's sessions."""
    timeline = node._timeline
    assert timeline is not None
    return [
        event
        for event in timeline.events(since)
        if event.get("authid") != "operator" and event["source"] != "crossbar"
    ]


def wait_told(node: Node, since: float, **fields: Any) -> None:
    deadline = time.monotonic() + 20
    while not any(fields.items() <= event.items() for event in told(node, since)):
        assert time.monotonic() < deadline, fields
        time.sleep(0.01)


def test_a_restart_keeps_ports_members_and_certificate(own: Node, join: Join, pdid: str) -> None:
    token, before = own.enroll(pdid), (own.port, own.tls_port, own.ca_pem)
    first = join(own.url(), pdid, token, ca_pem=own.ca_pem)
    own.restart()
    assert first.gone.wait(5)
    assert (own.port, own.tls_port, own.ca_pem) == before
    second = join(own.url(), pdid, token, ca_pem=own.ca_pem)
    operator = own.operator()
    assert operator.sessions(pdid) == [second.id]
    operator.close()


def test_kill_leaves_no_process_refuses_connections_and_keeps_the_ports(
    own: Node, join: Join, pdid: str
) -> None:
    token = own.enroll(pdid)
    peer = join(own.url(tls=False), pdid, token)
    operator = own.operator()
    assert operator.wait_joined(pdid) == peer.id
    processes = family(own)
    assert len(processes) == 2, "a controller and one worker"
    own.kill()
    assert not own.running
    wait_until_dead(processes, 0.5)
    assert peer.gone.wait(5)
    for port in (own.port, own.tls_port):
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), 5)
        with socket.socket() as other, pytest.raises(OSError, match="in use"):
            other.bind(("127.0.0.1", port))
    with pytest.raises(InfrastructureError, match="not joined"):
        operator.status(pdid, timeout=0.2)

    while_down = f"{pdid}-down"  # enrolled and revoked while nobody is there to be told
    token_down = own.enroll(while_down)
    own.revoke(pdid)
    own.start()
    with pytest.raises(Refused, match="not_authorized"):
        join(own.url(tls=False), pdid, token)
    again = join(own.url(tls=False), while_down, token_down)
    assert operator.wait_joined(while_down, 10) == again.id, "the operator rejoins by itself"
    operator.close()


def test_the_time_line_tells_it_in_order(own: Node, join: Join, pdid: str) -> None:
    began = time.monotonic()
    token = own.enroll(pdid)
    first = join(own.url(tls=False), pdid, token)
    wait_told(own, began, event="joined", authid=pdid, session=first.id)
    first.leave()
    wait_told(own, began, event="left", session=first.id)
    second = join(own.url(tls=False), pdid, token)
    wait_told(own, began, event="joined", authid=pdid, session=second.id)
    own.kill()
    own.start()
    story = [
        event
        for event in told(own, began)
        if event.get("session", first.id) in (first.id, second.id)
    ]
    names = [event.get("fault", "") + event["event"] for event in story]
    assert names == [
        *("joined", "left", "joined"),
        *("node killbegins", "start", "ready", "node killends"),
    ]
    assert 0 < story[-2]["seconds"] < 60


def test_what_crossbar_prints_is_on_the_time_line(own: Node, join: Join, pdid: str) -> None:
    """The start, a join, a kill and a restart, in the order in which they happened."""
    own.stop()
    began = time.monotonic()
    own.start()
    token = own.enroll(pdid)
    batch = own.add_batch(own.url())
    operator = own.operator()
    peer = join(own.url(tls=False), pdid, token)
    wait_printed(own, began, f"session={peer.id}")
    own.kill()
    own.start()
    own.restart()
    own.revoke(pdid)
    wanted = [
        *("start", "Booting standalone node", "NODE_BOOT_COMPLETE", "ready"),
        f'new session attached for realm="{own.realm}", session={peer.id}, authid="{pdid}"',
        *("node kill begins", "start", "Booting standalone node", "ready", "node kill ends"),
        *(
            "node restart begins",
            "Received SIGTERM",
            "Booting standalone node",
            "node restart ends",
        ),
        *("revoke begins", "revoke ends"),
    ]
    told = [says(event) for event in own._timeline.events(began)]
    places = []
    for what in wanted:
        start = places[-1] + 1 if places else 0
        places.append(next(at for at in range(start, len(told)) if what in told[at]))
    everything = "\n".join(told)
    for secret in (token, batch.key, own._secret):
        assert secret not in everything
    operator.close()
    times = [event["t"] for event in own._timeline.events(began)]
    assert times == sorted(times)
    assert own.log.read_text().count("Booting standalone node") >= 3


def says(event: dict[str, Any]) -> str:
    """An event as one line."""
    what = str(event.get("line", event["event"]))
    return f"{event['fault']} {what}" if "fault" in event else what


def wait_printed(node: Node, since: float, text: str) -> None:
    deadline = time.monotonic() + 20
    assert node._timeline is not None
    while not any(text in says(event) for event in node._timeline.events(since)):
        assert time.monotonic() < deadline, text
        time.sleep(0.01)


def test_the_last_words_of_a_crossbar_that_dies_are_before_its_death(own: Node) -> None:
    began = time.monotonic()
    own.check()
    for process in family(own):
        process.kill()
    deadline = time.monotonic() + 20
    while own.running and time.monotonic() < deadline:
        time.sleep(0.01)
    with pytest.raises(InfrastructureError, match="status -9"):
        own.check()
    assert own._timeline is not None
    assert [event["event"] for event in own._timeline.events(began)][-1] == "died"
    own.stop()
    own.start()


def test_who_joined_before_the_node_could_watch_is_told_once(
    own: Node, join: Join, pdid: str
) -> None:
    began = time.monotonic()
    peer = join(own.url(tls=False), pdid, own.enroll(pdid))
    wait_told(own, began, event="joined", session=peer.id)
    own._present.discard(peer.id)  # as if it had not been heard of
    for _ in range(2):
        rejoined = time.monotonic()
        assert own._control is not None
        own._control._client.run(own._control._client._connector.disconnect, 5)
        own._control.wait_ready(10, since=rejoined)
    assert [e["session"] for e in told(own, began) if e["event"] == "joined"] == [peer.id] * 2


def test_the_log_tells_who_joined_and_left(own: Node, join: Join, pdid: str) -> None:
    peer = join(own.url(tls=False), pdid, own.enroll(pdid))
    peer.leave()

    def said() -> str:
        with own.log.open() as lines:
            return evidence(lines, time.time() - 60)["crossbar"]

    deadline = time.monotonic() + 20
    while "detached from realm" not in said() and time.monotonic() < deadline:
        time.sleep(0.02)
    for what in ("new session attached for", "session detached from"):
        (line,) = [line for line in said().splitlines() if what in line and pdid in line]
        assert f"session={peer.id}" in line


def test_death_is_noticed_and_shown(own: Node) -> None:
    own.check()
    controller = next(p for p in family(own) if p.pid == os.getpgid(p.pid))
    controller.kill()
    deadline = time.monotonic() + 20
    while own.running and time.monotonic() < deadline:
        time.sleep(0.01)
    with pytest.raises(InfrastructureError, match=r"status -9 without being asked\n(.*\n)*.*\["):
        own.check()
    assert "died" in [event["event"] for event in told(own)]
    for _ in range(2):  # the second finds nothing to stop
        own.stop()
        with pytest.raises(InfrastructureError, match="start the node first"):
            own.check()
    own.start()
    own.check()


def test_two_nodes_do_not_meet(own: Node, node: Node, join: Join, pdid: str) -> None:
    token = own.enroll(pdid)
    join(own.url(tls=False), pdid, token)
    with pytest.raises(Refused, match="not_authorized"):
        join(node.url(tls=False), pdid, token)
    with pytest.raises(Refused):
        join(own.url(), pdid, token, ca_pem=node.ca_pem)
    assert len({own.port, own.tls_port, node.port, node.tls_port}) == 4


@pytest.mark.timeout(60)
def test_nothing_outlives_a_harness_that_is_killed(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from harness.node import Node\n"
        "node = Node(Path(sys.argv[1])); node.start(); print('ready', flush=True)\n"
        "sys.stdin.read()"
    )
    harness = subprocess.Popen(
        [sys.executable, "-c", script, tmp_path / "node"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert harness.stdout is not None
    assert harness.stdout.readline() == "ready\n"
    children = psutil.Process(harness.pid).children(recursive=True)
    assert len(children) == 2
    harness.send_signal(signal.SIGKILL)
    harness.communicate()
    wait_until_dead(children)


def test_a_crossbar_that_can_not_start_shows_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.node.crossbar_config", lambda *_: {"version": 2, "workers": 1})
    node = Node(tmp_path)
    try:
        with pytest.raises(InfrastructureError, match=r"(?s)ended with status 1.*workers"):
            node.start()
    finally:
        node.close()


def test_a_python_without_crossbar_takes_that_of_the_search_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = crossbar.find()
    monkeypatch.setattr(crossbar.sys, "executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(program.parent))
    assert crossbar.find() == program


def test_a_missing_crossbar_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crossbar.sys, "executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    node = Node(tmp_path / "node")
    with pytest.raises(InfrastructureError, match=r"crossbar is not installed.*pip install"):
        node.start()
    node.close()
