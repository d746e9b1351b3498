"""The line of a record is the same whichever way it is made, and so is the record of a call."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from logged import logging_ended, written

from paradrop.base import logline, streams
from paradrop.base.logline import Record, encode, lines_by_date, pieces_of
from paradrop.base.output import LOG_TYPES, BaseOutput, Level, Output, out

ended = pytest.fixture(autouse=True)(logging_ended)

scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
extras = st.dictionaries(
    st.text(), scalars | st.lists(scalars) | st.dictionaries(st.text(), scalars)
)
stamps = st.floats() | st.floats(2**30 - 2, 2**33 + 2) | st.floats(1.7e9, 1.7e9 + 3)


def full(message: str, extra: dict[str, Any], stamp: float, pdid: str = "UNSET") -> Record:
    return {
        "message": message,
        "type": 3,
        "extra": extra,
        "package": "base",
        "module": "module",
        "timestamp": stamp,
        "pdid": pdid,
        "line": 5,
    }


def lines(*waiting: object) -> list[str]:
    return [line for _, run in lines_by_date(waiting) for line in run]


@settings(deadline=None)
@given(st.lists(st.builds(full, st.text(), extras, stamps, st.text())))
def test_a_line_made_of_pieces_is_the_line_of_the_record(records: list[Record]) -> None:
    short = lines(*((record, pieces_of(record)) for record in records))
    assert [json.loads(line) for line in short] == [json.loads(encode(each)) for each in records]
    assert all(line.isascii() and line.count("\n") == 1 for line in short)


@settings(deadline=None)
@given(st.floats(2**30, 2**33, exclude_max=True), st.floats(0, 1, exclude_max=True))
def test_a_time_is_read_back_as_it_was(first: float, more: float) -> None:
    records = [full("", {}, first), full("", {}, int(first) + more)]
    short = lines(*((record, pieces_of(record)) for record in records))
    assert [json.loads(line)["timestamp"] for line in short] == [
        record["timestamp"] for record in records
    ]


def test_what_has_no_json_costs_no_other_record() -> None:
    strange: list[Record] = [
        full("keys", {("a", 1): 2, "event": "kept"}, 1.7e9),  # type: ignore[dict-item]
        full("nan", {"x": float("nan")}, 1.7e9),
        full("object", {"x": object}, 1.7e9),
        full(5, {}, 1.7e9),  # type: ignore[arg-type]
        full("no time", {}, None),  # type: ignore[arg-type]
        {"message": "no more"},
    ]
    good = full("good", {"event": "e"}, 1.7e9 + 0.5)
    pieces = pieces_of(good)
    waiting = [item for each in strange for item in ((each, pieces), (good, pieces))]
    made = [json.loads(line) for line in lines(good, *waiting)]
    assert made[::2] == [good] * 7
    assert [each["message"] for each in made[1::2]][:3] == ["keys", "nan", "object"]


def test_what_is_no_record_is_passed_over() -> None:
    assert lines(None, "text", full("a", {}, 1.7e9), 5) == [encode(full("a", {}, 1.7e9)).decode()]


def test_without_the_encoder_in_c_lines_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    record = full("ü", {"a": [1, {"b": None}], "c": b"\xff"}, 1.7e9)
    before = encode(record)
    monkeypatch.setattr(logline, "_encode", logline._encode_with(None))
    assert encode(record) == before


CALLS: list[Callable[[Any], Any]] = [
    lambda log: log("text"),
    lambda log: log("text\n\n"),
    lambda log: log(5),
    lambda log: log(),
    lambda log: log(b"bytes"),
    lambda log: log("text", extra={"a": 1}, b=2),
    lambda log: log("text", extra={"a": 1, "b": 1}, b=2),
    lambda log: log("text", extra=None, b=2),
    lambda log: log("text", extra={}),
    lambda log: log("text", 3, {"a": 1}),
    lambda log: log(args="text", extra={"a": 1}),
    lambda log: log("text", logPrefixLevel=4),
    lambda log: log("text", logPrefixLevel=4, extra={"a": 1}),
]


@pytest.mark.parametrize("call", CALLS)
def test_a_record_is_that_of_the_stream_however_often_its_line_runs(
    tmp_path: Path, call: Callable[[Any], Any]
) -> None:
    out.startLogging(tmp_path, printToConsole=False)
    plain = BaseOutput(LOG_TYPES[Level.INFO])
    wanted, made = ([dict(call(log)) for _ in range(3)] for log in (plain, out.info))
    for record in (*wanted, *made):
        assert datetime.now().timestamp() - 60 < record.pop("timestamp")
    assert made == wanted
    for record in written(tmp_path):
        record.pop("timestamp")
        assert record == wanted[0]


def test_one_line_may_call_many_streams_as_many_a_pdid(tmp_path: Path) -> None:
    out.startLogging(tmp_path, printToConsole=False)
    for pdid in ("UNSET", "one", "two"):
        out.pdid = pdid
        for name in ("info", "warn", "info", "perf"):
            getattr(out, name)("text")
    assert [(record["pdid"], record["type"]) for record in written(tmp_path)] == [
        (pdid, level.value)
        for pdid in ("UNSET", "one", "two")
        for level in (Level.INFO, Level.WARN, Level.INFO, Level.PERF)
    ]


def test_the_lines_of_one_function_are_told_apart(tmp_path: Path) -> None:
    out.startLogging(tmp_path, printToConsole=False)
    for _ in range(3):
        line = sys._getframe().f_lineno + 1
        out.info("a")
        out.info("b"), out.info("c")
    assert [record["line"] - line for record in written(tmp_path)] == [0, 1, 1] * 3


def test_code_without_end_does_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "_PREPARED_LIMIT", 10)
    out.logToConsole(False)
    for number in range(50):
        exec(compile("out.info('x')\nout.info('y')", f"/a/b/{number}.py", "exec"), {"out": out})
    assert len(out._delivery.prepared) <= 10
    record = eval(compile("out.info('x')", "/a/b/last.py", "eval"), {"out": out})
    assert (record["package"], record["module"], record["line"]) == ("b", "last", 1)


def test_an_error_of_a_call_is_none_of_the_caller(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(record: Record) -> str:
        raise RuntimeError("cannot be shown")

    def call(message: str, **kwargs: Any) -> None:
        out.info(message, **kwargs)

    call("once")
    assert out.info("no mapping", extra=5) is None
    call("no mapping either", extra=5)
    call("twice", args="given")
    monkeypatch.setattr(out.outputMappings["info"], "formatOutput", broken)
    call("shown")
    shown = capsys.readouterr().out
    assert shown.count("a record was lost") == 4
    assert "RuntimeError: cannot be shown" in shown


def test_a_handle_print_of_ones_own_gets_every_record() -> None:
    taken: list[Record | None] = []

    class Own(Output):
        def handlePrint(self, logDict: Record | None) -> None:
            taken.append(logDict)

    own = Own(info=BaseOutput(LOG_TYPES[Level.INFO]))
    for _ in range(3):
        own.info("text")
    assert [record["message"] for record in taken if record] == ["text"] * 3
