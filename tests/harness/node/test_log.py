"""Crossbar's log as evidence."""

from __future__ import annotations

from datetime import UTC, datetime

from harness.node import Node
from harness.node.log import entries, evidence

LOG = """\
what a shell may say before
2026-11-23T14:46:23+0000 [Controller  12600] started
2026-11-23T14:46:24+0000 [Router      12607] session attached
2026-11-23T14:46:25+0000 [Router      12607] Traceback (most recent call last):
  File "x.py", line 1
ZeroDivisionError
2026-11-23T14:46:26+0000 [Router      12607] session detached
"""
LINES = LOG.splitlines(keepends=True)


def at(second: int) -> float:
    return datetime(2026, 11, 23, 14, 46, second, tzinfo=UTC).timestamp()


def test_a_message_has_all_its_lines() -> None:
    found = list(entries(LINES))
    assert [time for time, _ in found] == [at(23), at(24), at(25), at(26)]
    assert "".join(text for _, text in found) == LOG.partition("\n")[2]


def test_evidence_is_of_a_time_and_names_the_exceptions() -> None:
    found = evidence(LINES, at(24) + 0.9)
    assert found["crossbar"] == "".join(LINES[2:])
    assert found["crossbar's exceptions"] == "".join(LINES[3:6])


def test_without_exceptions_there_is_no_text_of_them() -> None:
    assert evidence(LINES, at(26)) == {"crossbar": LINES[-1]}
    assert evidence([], 0) == {"crossbar": ""}


def test_a_node_that_starts_raises_no_alarm(node: Node) -> None:
    assert "Traceback" not in node.log.read_text()
    assert "NumPy" not in node.log.read_text()
