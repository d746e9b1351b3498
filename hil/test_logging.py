"""What a router says of itself is kept, in order and whole, and can be fetched."""

from __future__ import annotations

import json
import time

import pytest

KEYS = {"message", "type", "extra", "package", "module", "timestamp", "pdid", "line"}

UNFLUSHED = 2.5
"""Seconds of records that a power cut may cost: the log is synced every second while it grows."""

ROOM = 1 << 20
"""Bytes; `settings.LOG_MAX_BYTES` for a test."""

BURST = """
import threading
from paradrop.base.output import out
out.startLogging(filePath={folder!r}, printToConsole=False)
def burst(thread):
    for number in range({count}):
        out.info("burst", extra={{"thread": thread, "number": number}})
threads = [threading.Thread(target=burst, args=(t,)) for t in range(4)]
[t.start() for t in threads]
[t.join() for t in threads]
out.endLogging()
"""

ENDLESS = """
import time
from paradrop.base.output import out
out.startLogging(filePath={folder!r}, printToConsole=False)
for number in range(1000000):
    out.info("tick", extra={{"number": number}})
    time.sleep(0.01)
"""

STOLEN = """
import sys, threading
from paradrop.base.output import out
out.startLogging(filePath={folder!r}, stealStdio=True, printToConsole=False)
print("said on stdout")
print("said on stderr", file=sys.stderr)
thread = threading.Thread(target=lambda: 1 / 0)
thread.start()
thread.join()
raise RuntimeError("nobody caught this")
"""


@pytest.fixture
def folder(device):
    """A folder on the device for a log of its own."""
    folder = f"{device.config_home}/misc/log-{time.monotonic_ns()}"
    device.succeed(f"mkdir -p {folder}")
    return folder


def records(text):
    """The records of a log file's text; a line that is none is an error."""
    return [json.loads(line) for line in text.splitlines()]


def test_a_record_has_what_is_documented(device, operator, pdid, log):
    """Every record has its documented fields, and the device's identity."""
    operator.publish(pdid, "updatesPending")
    record = log.wait_for("updates.pending")
    assert set(record) >= KEYS
    assert record["pdid"] == pdid
    assert abs(record["timestamp"] - float(device.succeed("date +%s"))) < 60


def test_a_burst_arrives_complete_and_in_order(device, folder):
    """Of 4 threads that log as fast as they can, every record arrives, in each one's order."""
    device.python(BURST.format(folder=folder, count=500))
    found = [r["extra"] for r in records(device.read(f"{folder}/log").decode())]
    for thread in range(4):
        assert [e["number"] for e in found if e.get("thread") == thread] == list(range(500))


def test_events_are_logged_in_order(operator, pdid, log):
    """What reaches the device over WAMP is in its log in the order in which it was sent."""
    for number in range(20):
        operator.publish(pdid, "updatesPending", number)
    log.wait_for("updates.pending", where=lambda r: r["extra"]["args"] == [19])
    assert [r["extra"]["args"] for r in log.records("updates.pending")] == [
        [number] for number in range(20)
    ]


@pytest.mark.smoke
def test_logs_over_wamp_equal_the_file(operator, pdid, log):
    """`getLogsSince` over WAMP gives what the files hold."""
    held = [json.loads(line) for line in log.lines()]
    fetched = operator.logs(pdid)
    assert held
    assert fetched[: len(held)] == held  # it goes on logging meanwhile


def test_logs_over_wamp_in_pages(operator, pdid, log):
    """What one answer can't hold follows in the next: nothing is lost, nothing sent twice."""
    for number in range(9):
        operator.publish(pdid, "updatesPending", number)
    log.wait_for("updates.pending", where=lambda r: r["extra"]["args"] == [8])
    held = [json.loads(line) for line in log.lines()]
    limit = len(held) // 3
    page = operator.call(pdid, "logs", 0.0, None, limit)
    fetched = page["records"]
    while page["cursor"] is not None and len(fetched) < len(held):
        page = operator.call(pdid, "logs", 0.0, page["cursor"], limit)
        assert 0 < len(page["records"]) <= limit
        fetched += page["records"]
    assert fetched[: len(held)] == held


def test_logs_since_a_time(operator, pdid, log):
    """Only records later than the time that was asked for are sent."""
    for number in range(3):
        operator.publish(pdid, "updatesPending", number)
    log.wait_for("updates.pending", where=lambda r: r["extra"]["args"] == [2])
    held = operator.logs(pdid)
    middle = log.records("updates.pending")[1]["timestamp"]
    wanted = [record for record in held if record["timestamp"] > middle]
    later = operator.logs(pdid, since=middle)
    assert wanted
    assert later[: len(wanted)] == wanted


def test_the_log_goes_on_after_a_restart(device, pdid, log):
    """A daemon that is restarted appends to its log."""
    before = log.lines()
    device.daemon("restart")
    log.wait_for("wamp.joined")
    assert log.lines()[: len(before)] == before


def test_a_log_of_yesterday_gets_its_date(device, pdid, log):
    """A daemon that starts on another day begins a new log, and keeps the old one."""
    today = device.config_home / "logs" / "log"
    device.daemon("stop")
    old = records(device.read(today).decode())
    aged = [json.dumps(r | {"timestamp": r["timestamp"] - 86400}) for r in old]
    device.write(today, "".join(f"{line}\n" for line in aged).encode(), 0o640, device.daemon_user)
    now = int(device.succeed("date +%s"))
    device.daemon("start")
    log.wait_for("daemon.started", where=lambda r: r["timestamp"] >= now)
    assert set(aged) <= set(device.run(f"cat {today}.*").text.splitlines()), "it has no date"
    assert not set(aged) & set(device.read(today).decode().splitlines())


def test_the_log_takes_no_more_room_than_it_may(device, operator, pdid):
    """Old records make way for new ones, of which the last is there."""
    logs = device.config_home / "logs"
    operator.config(pdid, {"LOG_MAX_BYTES": ROOM})
    try:
        for number in range(30):
            operator.publish(pdid, "updatesPending", f"number-{number}", "x" * (ROOM // 15))
        device.wait_until_succeeds(f"grep -q number-29 {logs}/log")
        assert int(device.succeed(f"cat {logs}/log* | wc -c")) <= ROOM
        assert device.succeed(f"ls {logs}/log.*")
    finally:
        operator.config(pdid, {"LOG_MAX_BYTES": 64 << 20})


@pytest.mark.needs("clock")
def test_rotation_at_midnight(device, operator, pdid, log):
    """At midnight yesterday's log gets its date, and nothing of it is lost."""
    before = log.lines()
    try:
        midnight = (device.clock.now() // 86400 + 1) * 86400
        device.clock.set(midnight - 2)
        day = time.strftime("%Y_%m_%d", time.gmtime(midnight - 2))
        device.wait_until_succeeds(f"test $(date +%s) -gt {midnight}")
        operator.publish(pdid, "updatesPending", "tomorrow")
        log.wait_for("updates.pending", where=lambda r: r["extra"]["args"] == ["tomorrow"])
        rotated = device.read(device.config_home / "logs" / f"log.{day}").decode().splitlines()
        today = device.read(device.config_home / "logs" / "log").decode()
        assert set(before) <= set(rotated)
        assert '"tomorrow"' in today
        assert all(r["timestamp"] >= midnight for r in records(today))
        assert '"tomorrow"' in json.dumps(operator.logs(pdid))
    finally:
        device.clock.reset()
    operator.wait_joined(pdid)
    operator.status(pdid)


@pytest.mark.needs("clock")
def test_a_clock_set_back_stops_nothing(device, operator, pdid):
    """A clock that is stepped back an hour delays no timer: the heartbeat goes on."""
    operator.config(pdid, {"HEARTBEAT_INTERVAL": 2})
    try:
        operator.wait_event(pdid, "heartbeat")
        device.clock.set(device.clock.now() - 3600)
        operator.wait_event(pdid, "heartbeat", timeout=20)
    finally:
        device.clock.reset()
        operator.config(pdid, {"HEARTBEAT_INTERVAL": 5})


@pytest.mark.needs("power", "clock")
def test_a_power_cut_costs_the_last_moments_only(device, folder):
    """A power cut loses at most what was not yet flushed, and harms nothing before it."""
    program = f"{folder}/endless.py"
    device.write(program, ENDLESS.format(folder=folder).encode())
    device.succeed(f"python3 {program} >/dev/null 2>&1 </dev/null & true")
    device.wait_until_succeeds(f"grep -q '\"number\": \\?300' {folder}/log")
    cut = float(device.succeed("date +%s"))
    device.power.cycle()
    lines = device.read(f"{folder}/log").decode(errors="replace").splitlines()
    whole = records("\n".join(lines[:-1]))
    ticks = [r["extra"]["number"] for r in whole if r["message"] == "tick"]
    assert ticks, "nothing of the log is left"
    assert ticks == list(range(len(ticks)))
    assert whole[-1]["timestamp"] > cut - UNFLUSHED


def test_what_is_printed_and_what_nobody_catches(device, folder):
    """Stolen stdout and stderr, and unhandled exceptions of any thread, are in the log."""
    device.fail(
        f"python3 -c '{STOLEN.format(folder=folder)}'".replace("'" + folder + "'", f'"{folder}"')
    )
    text = device.read(f"{folder}/log").decode()
    messages = [str(r["message"]) for r in records(text)]
    assert any("said on stdout" in m for m in messages)
    assert any("said on stderr" in m for m in messages)
    assert any("ZeroDivisionError" in m for m in messages)
    assert any("nobody caught this" in m for m in messages)
    unhandled = [r["extra"] for r in records(text) if "exception" in r["extra"]]
    assert [extra["exception"] for extra in unhandled] == ["ZeroDivisionError", "RuntimeError"]
