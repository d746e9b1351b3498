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
from paradrop.base.logline import Record, encode, line_of, lines_by_date, pieces_of
from paradrop.base.output import LOG_TYPES, BaseOutput, Level, Output, out

ended = pytest.fixture(autouse=True)(logging_ended)

DAY = 86400

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


@settings(deadline=None)
@given(st.lists(st.builds(full, st.text(), extras, stamps, st.text())))
def test_a_line_made_of_pieces_is_the_line_of_the_record(records: list[Record]) -> None:
    for record in records:
        short = line_of(record, pieces_of(record))
        assert json.loads(short) == json.loads(encode(record)) == json.loads(line_of(record))
        assert short.isascii()
        assert short.count("\n") == 1


@settings(deadline=None)
@given(st.floats(2**30, 2**33, exclude_max=True), st.floats(0, 1, exclude_max=True))
def test_a_time_is_read_back_as_it_was(first: float, more: float) -> None:
    for stamp in (first, int(first) + more):
        record = full("", {}, stamp)
        assert json.loads(line_of(record, pieces_of(record)))["timestamp"] == stamp


@pytest.mark.parametrize(
    "strange",
    [
        full("kept", {("a", 1): 2, "event": "kept"}, 1.7e9),  # type: ignore[dict-item]
        full("kept", {"x": float("nan")}, 1.7e9),
        full("kept", {"x": object}, 1.7e9),
        full("kept", [], 1.7e9),  # type: ignore[arg-type]
        full("kept", {}, None),  # type: ignore[arg-type]
        full("kept", {}, float("inf")),
    ],
)
def test_what_has_no_json_costs_no_record(strange: Record) -> None:
    for pieces in (pieces_of(strange), None):
        line = json.loads(line_of(strange, pieces))
        assert line.keys() == strange.keys()
        assert line["message"] == "kept"


def test_what_waits_is_divided_by_its_date() -> None:
    day = 1.7e9 - 1.7e9 % DAY + DAY / 2  # no zone has a midnight within a second of it
    items = [(day + offset, str(number)) for number, offset in enumerate((0, 1, DAY, DAY, 2))]
    assert runs(items) == [["0", "1"], ["2", "3"], ["4"]]
    assert runs(items[:2]) == [["0", "1"]]
    assert runs([]) == runs([None, 5]) == []
    assert runs([None, items[0], {"message": "x"}, 5]) == [["0"], ['{"message":"x"}\n']]


def runs(waiting: list[Any]) -> list[list[str]]:
    return [list(run) for _, run in lines_by_date(waiting)]


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


def test_what_the_logging_says_itself_names_who_called() -> None:
    records: list[Record] = []
    out.subscribe(records.append)
    out.logToConsole(False)
    line = sys._getframe().f_lineno
    out.getLogsSince(0)
    out.getLogsSince(0)
    assert [record["line"] - line for record in records] == [1, 2]
