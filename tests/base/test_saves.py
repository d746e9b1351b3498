"""Saves do not keep the reactor waiting, are not more than are needed, and are not forgotten."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from paradrop.base import durable, nexus, settings, statefile
from paradrop.base.nexus import NexusBase
from paradrop.base.output import out

pytestmark = pytest.mark.usefixtures("home")


@pytest.fixture
def core(reactor: Any) -> Iterator[NexusBase]:
    """One whose `info` may only be changed where the reactor runs."""
    made: NexusBase = reactor(NexusBase, False, False)
    yield made
    out.endLogging()


class Disk:
    """Lets writes of the state through, or holds them; knows what they were."""

    def __init__(self) -> None:
        self.written: list[dict[str, Any]] = []
        self.broken = False
        self.begun = threading.Semaphore(0)
        self.open = threading.Event()
        self.open.set()
        self.threads: set[int] = set()

    def write(self, path: Any, data: bytes, mode: int) -> None:
        self.threads.add(threading.get_ident())
        self.begun.release()
        assert self.open.wait(20)
        if self.broken:
            raise OSError(5, "Input/output error")
        durable.write_durably(path, data, mode)
        self.written.append(yaml.safe_load(data))


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch, core: NexusBase) -> Iterator[Disk]:
    made = Disk()
    monkeypatch.setattr(statefile, "write_durably", made.write)
    yield made
    made.open.set()


def on_disk() -> Any:
    return yaml.safe_load(Path(settings.CONFIG_FILE).read_text())


def test_many_changes_of_one_turn_are_one_write(core: NexusBase, disk: Disk, reactor: Any) -> None:
    def change() -> Any:
        for number in range(100):
            core.info.number = number
        assert disk.written == []
        return core.save()

    reactor(change)
    assert [one["number"] for one in disk.written] == [99]
    assert on_disk()["number"] == 99


def test_the_reactor_goes_on_while_the_disk_does_not(
    core: NexusBase, disk: Disk, reactor: Any
) -> None:
    disk.open.clear()
    saved = reactor.begin(core.save)
    assert disk.begun.acquire(timeout=20)
    assert reactor(threading.get_ident) not in disk.threads
    disk.open.set()
    saved.wait(20)


def test_what_is_asked_for_meanwhile_is_one_more_write_of_the_newest(
    core: NexusBase, disk: Disk, reactor: Any
) -> None:
    disk.open.clear()
    first = reactor.begin(core.save)
    assert disk.begun.acquire(timeout=20)

    def change(number: int) -> Any:
        core.info.number = number
        return core.save()

    later = [reactor.begin(change, number) for number in range(5)]
    disk.open.set()
    for one in (first, *later):
        one.wait(20)
    assert [one.get("number") for one in disk.written] == [None, 4]


def test_what_is_waited_for_is_on_the_disk(core: NexusBase, disk: Disk, reactor: Any) -> None:
    def check(_: Any) -> None:
        assert on_disk()["number"] == 5

    def change() -> Any:
        core.info.number = 5
        return core.save().addCallback(check)

    reactor(change)


def test_all_saves_are_on_the_disk_before_onstop_ends(
    core: NexusBase, disk: Disk, reactor: Any
) -> None:
    disk.open.clear()

    def change() -> None:
        core.info.number = 1

    reactor(change)
    assert disk.begun.acquire(timeout=20)

    def change_and_stop() -> Any:
        core.info.number = 2
        return core.onStop()

    stopped = reactor.begin(change_and_stop)
    disk.open.set()
    stopped.wait(20)
    assert on_disk()["number"] == 2


def test_a_save_that_fails_says_so_and_is_made_up_for_at_the_stop(
    core: NexusBase, disk: Disk, reactor: Any, records: Any
) -> None:
    disk.broken = True

    def change() -> None:
        core.info.number = 1

    reactor(change)
    records.wait("state.unsaved")
    with pytest.raises(OSError, match="Input/output"):
        reactor(core.save)
    assert "number" not in on_disk()
    disk.broken = False
    reactor(core.onStop)
    assert on_disk()["number"] == 1


def test_a_stop_ends_also_if_the_disk_is_broken(
    core: NexusBase, disk: Disk, reactor: Any, records: Any
) -> None:
    def change_and_stop() -> Any:
        core.info.number = 1
        return core.onStop()

    disk.broken = True
    reactor(change_and_stop)
    assert len(records.events("state.unsaved")) == 2  # of the change, and of the stop


def test_a_value_that_cannot_be_written_is_said(
    core: NexusBase, reactor: Any, records: Any
) -> None:
    def change() -> None:
        core.info.strange = object()

    reactor(change)
    records.wait("state.unsaved")
    assert "strange" not in on_disk()


def test_reading_the_state_again_forgets_no_save(core: NexusBase, disk: Disk, reactor: Any) -> None:
    def change() -> None:
        core.info.number = 1
        core.reload()
        assert core.info.number == 1

    reactor(change)
    reactor(core.onStop)
    assert on_disk()["number"] == 1


def test_an_identity_is_on_the_disk_at_once(core: NexusBase, reactor: Any) -> None:
    def provision() -> None:
        core.info.number = 1
        core.provision("r1")
        assert core.provisioned()
        assert on_disk() == core.info.contents

    reactor(provision)
    reactor(core.save)
    assert on_disk()["pdid"] == "r1"


PROGRAM = """
import sys
from twisted.internet import reactor, task
from paradrop.base import nexus, settings

settings.loadSettings("unittest")

class Mine(nexus.NexusBase):
    def onStart(self):
        change("onStart")
        if {when!r} == "before":
            self.stop_late()
        reactor.addSystemEventTrigger("after", "shutdown", change, "after")
        reactor.callLater(0, reactor.stop)

    def stop_late(self):
        late = (task.deferLater, reactor, 0.2, change, "before")
        reactor.addSystemEventTrigger("before", "shutdown", *late)

    def onStop(self):
        change("onStop")
        {stop}

def change(when):
    if when == {when!r}:
        core.info.changed = when

core = Mine(False, False)
change("start")
reactor.run()
"""


@pytest.mark.parametrize(
    ("when", "stop"),
    [
        ("start", "pass"),
        ("onStart", "pass"),
        ("onStop", "pass"),
        ("onStop", "raise OSError"),
        ("onStop", "return super().onStop()"),
        ("before", "return super().onStop()"),
        ("after", "return super().onStop()"),
    ],
)
def test_a_process_that_ends_has_saved_everything(when: str, stop: str) -> None:
    """Also where a subclass stops in its own way, or something is changed when it has stopped."""
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(stop=stop, when=when)],
        cwd=Path(nexus.__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert on_disk().get("changed") == when


def test_outside_of_the_reactor_a_save_is_on_the_disk_when_it_returns(core: NexusBase) -> None:
    heard: list[Any] = []
    core.info.contents["number"] = 7
    core.save().addCallback(heard.append)
    assert heard == [None]
    assert on_disk()["number"] == 7
