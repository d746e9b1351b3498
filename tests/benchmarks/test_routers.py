"""What is counted of routers, and how labgrid is told what a router is."""

from __future__ import annotations

import os
import subprocess

import pytest

from benchmarks.labgrid_router import labgrid_router, split
from benchmarks.routers import bench, pss, session


def test_memory_is_that_of_all_processes_of_a_session() -> None:
    command = ["sh", "-c", "sleep 60 & sleep 60 & echo; wait"]
    with subprocess.Popen(command, start_new_session=True, stdout=subprocess.PIPE) as leader:
        assert leader.stdout is not None
        leader.stdout.readline()
        found = session(leader.pid)
        assert leader.pid in found
        assert len(found) == 3
        assert 0 < sum(map(pss, found)) < 50
        os.killpg(leader.pid, 9)


def test_options_of_the_driver_are_taken_out_with_their_values() -> None:
    words = ["-machine", "q35", "-nodefaults", "-m", "256", "-drive", "file=-m", "-serial", "x"]
    given, rest = split(words)
    assert given == {"-machine": "q35", "-m": "256", "-serial": "x"}
    assert rest == ["-nodefaults", "-drive", "file=-m"]


def test_labgrid_boots_a_router_again_and_again_and_is_told_if_an_answer_is_wrong() -> None:
    with bench() as made, labgrid_router(made, "qemu-x86_64") as router:
        assert router.seconds_until("stat -c %U /etc/paradrop/ca.pem", "paradrop") > 0
        with pytest.raises(AssertionError, match="instead of paradrop"):
            router.seconds_until("touch /root/mark && stat -c %U /root", "paradrop")
        assert router.seconds_until("find /root/mark || echo none", "none") > 0
