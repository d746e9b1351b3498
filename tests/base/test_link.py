"""Links that come up, in a network namespace of the test's own."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap

import pytest

pytestmark = pytest.mark.skipif(
    subprocess.run(["unshare", "-rn", "true"], check=False).returncode != 0,
    reason="this system does not let us make a network namespace",
)

PROGRAM = """
import json, subprocess, sys, threading, time
from paradrop.base.link import LinkWatch

news = threading.Semaphore(0)
watch = LinkWatch()
watch.subscribe(news.release)
assert watch.watching.wait(20)

def heard(command, timeout=1.0):
    while news.acquire(timeout=0.3):
        pass
    for one in command.split(";"):
        subprocess.run(["ip", *one.split()], check=True)
    return news.acquire(timeout=timeout)

"""


def run(program: str) -> object:
    ended = subprocess.run(
        ["unshare", "-rn", sys.executable, "-c", PROGRAM + textwrap.dedent(program)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout)


def test_what_may_let_a_connection_succeed_is_told() -> None:
    heard = run("""
        print(json.dumps({
            "made": heard("link add v0 type veth peer name v1"),
            "plugged": heard("link set v0 up;link set v1 up"),
            "pulled": heard("link set v1 down", 0.5),
            "plugged again": heard("link set v1 up"),
            "address": heard("addr add 10.99.0.1/24 dev v0"),
            "route": heard("route add 10.98.0.0/24 via 10.99.0.2"),
        }))
    """)
    assert heard == {
        "made": False,
        "plugged": True,
        "pulled": False,
        "plugged again": True,
        "address": True,
        "route": True,
    }


def test_who_unsubscribes_hears_no_more() -> None:
    assert not run("""
        subprocess.run("ip link add v0 type veth peer name v1", shell=True, check=True)
        watch.unsubscribe(news.release)
        print(json.dumps(heard("link set v0 up;link set v1 up")))
    """)


def test_without_pyroute2_nothing_is_told_and_nothing_breaks() -> None:
    ended = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys, time; sys.modules['pyroute2'] = None\n"
            "from paradrop.base.link import LinkWatch\n"
            "watch = LinkWatch(); watch.subscribe(print); time.sleep(0.5)\n"
            "print(watch.watching.is_set())",
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (ended.stdout, ended.stderr) == ("False\n", "")
