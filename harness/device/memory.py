"""Memory of this computer: what can be had, how many tests it carries, and waiting for some."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from harness.errors import InfrastructureError
from harness.image import cache

PROC = Path("/proc")
CGROUPS = Path("/sys/fs/cgroup")

WAIT_SECONDS = 180
"""How long a device is waited for; a test has 300 for everything."""

QUIET_SECONDS = 1
"""How long it waits without a word: what others start has mostly started by then."""

PLENTY = 4
"""Times what a device needs. With so much, nobody looks at what others start at the same moment."""

WORKERS_A_CORE = 2
"""One that mostly waits, and one that computes. With more, emulated routers fight for the caches:
six on two cores took longer than four."""

WORKER_BYTES = 1 << 30
"""What a worker may take: pytest, a crossbar, the router in use and the next one."""


def available() -> int:
    """Bytes of memory that can be had without swapping: of this computer, and of each control
    group that we are in, which is how a container is limited (Linux, Control Group v2)."""
    return min([_of_the_computer(), *_of_the_groups()])


def _of_the_computer() -> int:
    """MemAvailable of proc(5)."""
    return _fields(PROC / "meminfo").get("MemAvailable", 0) << 10


def _of_the_groups() -> Iterator[int]:
    """What is left below the limit of a group. Page cache can be had, as for MemAvailable."""
    member = PROC / "self/cgroup"
    text = member.read_text() if member.exists() else ""  # of a kernel without groups
    ours = re.search(r"^0::/(.*)$", text, re.MULTILINE)
    path = CGROUPS / (ours[1] if ours else "")
    for group in (path, *path.parents):
        if not group.is_relative_to(CGROUPS):
            return
        # the root has no limit, and a limit may be `max`
        with contextlib.suppress(OSError, ValueError):
            limit = int((group / "memory.max").read_text())
            taken = int((group / "memory.current").read_text())
            stat = _fields(group / "memory.stat")
            cached = ("active_file", "inactive_file", "slab_reclaimable")
            yield max(0, limit - taken + sum(stat.get(name, 0) for name in cached))


def _fields(path: Path) -> dict[str, int]:
    """Lines of a name and a number."""
    return {
        found[1]: int(found[2])
        for line in path.read_text().splitlines()
        if (found := re.match(r"(\w+):?\s+(\d+)", line))
    }


def workers(cores: int, memory: int) -> tuple[int, str]:
    """How many tests run at once, and why.

    @param memory: bytes that can be had.
    """
    wanted, possible = WORKERS_A_CORE * cores, max(1, memory // WORKER_BYTES)
    if possible < wanted:
        return possible, f"{memory / 1e9:.1f} GB of memory are free, a worker may take 1"
    return wanted, f"{WORKERS_A_CORE} for each of {cores} cores"


@contextlib.contextmanager
def room(
    what: str,
    needs: int,
    progress: Callable[[str], None] | None = None,
    give_up: Callable[[], None] = lambda: None,
) -> Iterator[None]:
    """Have memory for what is started in the block; wait for it where there is too little.

    Memory that runs out kills whichever QEMU the kernel picks, so better nothing is started. Where
    it is short, the devices of all runs start one after another: two that measure at the same
    time would both take what is there once.

    @param what: is started; for the line and for the error.
    @param needs: bytes.
    @param progress: called with a line if it has to wait; default: the log `harness`.
    @param give_up: frees what can be done without; called before it waits.
    @raise InfrastructureError: there still is too little after `WAIT_SECONDS`.
    """
    say = progress or logging.getLogger("harness").info
    if available() < needs:
        give_up()
    began, said = time.monotonic(), False
    with contextlib.ExitStack() as held:
        while why := _missing(needs, held):
            waited = time.monotonic() - began
            if waited > WAIT_SECONDS:
                raise InfrastructureError(
                    f"{what}: {why}, and after {WAIT_SECONDS:g} s that is still so",
                    hint="run less at once, or on a computer with more memory",
                )
            if waited > QUIET_SECONDS and not said:
                said = True
                say(f"{what}: {why}: waiting for up to {WAIT_SECONDS:g} s")
            time.sleep(0.2)
        yield


def _missing(needs: int, held: contextlib.ExitStack) -> str:
    """Why something can't start now; nothing if it can, and what it may need for that is held."""
    if (free := available()) < needs:
        return f"{free >> 20} MiB of memory are free, it needs {needs >> 20}"
    if free >= PLENTY * needs:
        return ""
    home = cache.folder()
    home.mkdir(parents=True, exist_ok=True)
    turn = (home / ".memory.lock").open("a")
    try:
        fcntl.flock(turn, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        turn.close()
        return "memory is short, and it is the turn of something else that starts"
    held.enter_context(turn)
    return ""
