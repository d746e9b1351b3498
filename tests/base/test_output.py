"""Streams make records; records reach the file, the console and the subscribers."""

import io
import json
import sys
import threading
import time
import types
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from logged import logging_ended, messages, run_python, written

from paradrop.base import output
from paradrop.base.output import LOG_TYPES, BaseOutput, ExceptionOutput, Level, Output, out

KEYS = {"message", "type", "extra", "package", "module", "timestamp", "pdid", "line"}
STREAMS = {
    "header": Level.HEADER,
    "testing": Level.VERBOSE,
    "verbose": Level.VERBOSE,
    "info": Level.INFO,
    "usage": Level.USAGE,
    "perf": Level.PERF,
    "warn": Level.WARN,
    "err": Level.ERR,
    "exception": Level.ERR,
    "security": Level.SECURITY,
    "fatal": Level.FATAL,
}


ended = pytest.fixture(autouse=True)(logging_ended)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Logging into a folder, silent on the console."""
    out.startLogging(tmp_path, printToConsole=False)
    return tmp_path


def test_the_levels_have_their_documented_values() -> None:
    names = "HEADER VERBOSE INFO PERF WARN ERR SECURITY FATAL USAGE"
    assert [level.name for level in Level] == names.split()
    assert [level.value for level in Level] == list(range(1, 10))


def test_importing_is_cheap() -> None:
    code = (
        "import sys; import paradrop.base.output\n"
        "print([name for name in sys.modules if name.partition('.')[0] in ('autobahn', 'twisted')])"
    )
    assert run_python(code).stdout == "[]\n"


@pytest.mark.parametrize(("name", "level"), STREAMS.items())
def test_a_stream_writes_a_record_with_all_keys(folder: Path, name: str, level: Level) -> None:
    returned = getattr(out, name)("some text", extra={"event": "e"}, more=1)
    (record,) = written(folder)
    assert record == returned
    assert record.keys() == KEYS
    assert record["message"] == "some text"
    assert record["type"] == level.value
    assert record["extra"] == {"event": "e", "more": 1}
    assert record["pdid"] == "UNSET"


def test_a_record_names_its_caller(folder: Path) -> None:
    line = sys._getframe().f_lineno + 1
    out.info("here")
    (record,) = written(folder)
    assert (record["package"], record["module"]) == ("base", "test_output")
    assert record["line"] == line


def test_the_prefix_level_moves_up_the_stack(folder: Path) -> None:
    def helper() -> None:
        out.info("from a helper", logPrefixLevel=4)

    line = sys._getframe().f_lineno + 1
    helper()
    assert written(folder)[0]["line"] == line
    assert output.silentLogPrefix(1)[1] == "test_output"
    assert output.silentLogPrefix(10_000) == ("unknown", "unknown", "??")


def test_a_traceback_names_where_it_was_raised() -> None:
    try:
        line = sys._getframe().f_lineno + 1
        json.loads(5)  # type: ignore[arg-type]
    except TypeError as error:
        trace = error.__traceback__
    assert trace is not None
    assert output.parseLogPrefix(trace)[:2] == ("json", "__init__")
    trace.tb_next = None
    assert output.parseLogPrefix(trace) == ("base", "test_output", line)
    assert output.parseLogPrefix([]) == ("unknown", "unknown", "??")


def test_records_carry_the_pdid_once_it_is_known(folder: Path) -> None:
    out.pdid = "router-1"
    assert out.info("hello")["pdid"] == "router-1"  # type: ignore[index]
    assert written(folder)[0]["pdid"] == "router-1"


class NoText:
    def __str__(self) -> str:
        raise RuntimeError("no text")

    __repr__ = __str__


@pytest.mark.parametrize(
    ("message", "text"),
    [("", ""), (5, "5"), (None, "None"), ("line\n", "line"), ("a\nb", "a\nb"), ("ü\ud800", None)],
)
def test_any_message_becomes_text(folder: Path, message: object, text: str | None) -> None:
    out.info(message)
    assert messages(folder) == [message if text is None else text]


def test_nothing_that_is_logged_breaks_the_caller(folder: Path) -> None:
    cycle: dict[str, Any] = {}
    cycle["self"] = cycle
    out.info(NoText())
    out.info()
    out.info("object", thing=object(), data=b"\xff", nothing=NoText())
    out.info("cycle", event="kept", cycle=cycle)
    out.info("keys", extra={("a", 1): 2.5, "event": "kept"})
    out.info("nan", value=float("nan"), event="kept")
    out.info("huge", value=10**5000, event="kept")
    out.info(no="message")
    out.info("too", "many", "arguments", "given")
    out.exception("no exception at all")
    out.exception(ValueError(NoText()))
    records = written(folder)
    assert len(records) == 10  # one call is wrong, and said so on the console
    assert [record["extra"].get("event") for record in records[3:7]] == ["kept"] * 4
    assert all(isinstance(record["extra"], dict) for record in records)


def test_a_stream_that_does_not_exist_logs_all_the_same(folder: Path) -> None:
    out.noSuchStream("text")
    (record,) = written(folder)
    assert (record["message"], record["type"]) == ("text", Level.VERBOSE.value)
    assert not hasattr(out, "_private")
    Output().anything("without any stream")


def test_a_stream_can_be_added(folder: Path) -> None:
    own = Output(only=lambda message: {"message": message, "type": 3})
    own.startLogging(folder / "own", printToConsole=False)
    own.later = BaseOutput(LOG_TYPES[Level.PERF])
    own.only("a")
    own.later("b")
    own.endLogging()
    first, second = own.getLogsSince(0)
    assert (first["message"], second["message"], second["type"]) == ("a", "b", Level.PERF.value)
    assert first.keys() == KEYS


def raise_value_error() -> None:
    raise ValueError("wrong value")


def test_an_exception_is_recorded_with_its_traceback(folder: Path) -> None:
    try:
        raise_value_error()
    except ValueError as error:
        caught = error
        out.exception(error, True)
    out.exception(caught)
    inside, after = written(folder)
    for record in (inside, after):
        assert record["message"].endswith("ValueError: wrong value")
        assert "in raise_value_error" in record["message"]
        assert (record["package"], record["module"]) == ("base", "test_output")
        assert record["line"] == raise_value_error.__code__.co_firstlineno + 1


def test_an_exception_is_described_without_a_traceback_and_by_text(folder: Path) -> None:
    out.exception(ValueError("never raised"))
    try:
        raise_value_error()
    except ValueError:
        out.exception("while testing")
    first, second = messages(folder)
    assert first == "ValueError: never raised"
    assert second.startswith("while testing\nTraceback")


def test_the_console_shows_what_is_wanted_and_errors_always(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out.startLogging(tmp_path, printToConsole=True)
    out.info("a wanted message")
    assert " a wanted message\n" in capsys.readouterr().out
    out.logToConsole(False)
    for name in STREAMS:
        getattr(out, name)(f"<{name}>")
    shown = capsys.readouterr().out
    assert {name for name in STREAMS if f"<{name}>" in shown} == {
        "err",
        "exception",
        "security",
        "fatal",
    }
    assert len(written(tmp_path)) == 1 + len(STREAMS)


def test_a_console_line_names_glyph_place_and_message() -> None:
    record = BaseOutput(LOG_TYPES[Level.WARN])("careful")
    assert record is not None
    line = out.messageToString(record)
    assert line.startswith(f"PARADROP ** [base.test_output#{record['line']} @ ")
    assert line.endswith("] careful")
    record["type"] = "no level"
    assert out.messageToString(record).endswith("] careful")
    assert out.messageToString({"message": 5, "type": 3}).endswith("] 5")


def test_colour_is_for_terminals() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdout", terminal := Terminal())
        out.err("red")
        patch.setattr(sys, "stdout", plain := io.StringIO())
        out.err("plain")
    assert terminal.getvalue().startswith("\033[31mPARADROP")
    assert terminal.getvalue().endswith("red\033[0m\n")
    assert plain.getvalue().startswith("PARADROP")


def test_a_console_that_cannot_take_it_breaks_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    narrow = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", narrow)
    out.info("schön")
    narrow.seek(0)
    assert narrow.read().endswith(" sch\\xf6n\n")
    narrow.close()
    out.info("to a closed stream")
    monkeypatch.setattr(sys, "stdout", None)
    out.info("to no stream")


def test_subscribers_get_every_record(folder: Path) -> None:
    seen: list[str] = []

    def subscriber(record: dict[str, Any]) -> None:
        seen.append(record["message"])
        out.info("said while being called")

    def broken(record: dict[str, Any]) -> None:
        raise RuntimeError("broken subscriber")

    out.subscribe(broken)
    out.subscribe(subscriber)
    out.info("one")
    out.unsubscribe(broken)
    out.unsubscribe(broken)
    out.info("two")
    out.unsubscribe(subscriber)
    out.info("three")
    assert seen == ["one", "two"]
    assert [message.splitlines()[-1] for message in messages(folder)] == [
        "one",
        "RuntimeError: broken subscriber",
        "said while being called",
        "two",
        "said while being called",
        "three",
    ]


def test_the_signal_of_smokesignal_is_sent_where_that_is_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sent: list[tuple[str, str]] = []
    package = types.ModuleType("smokesignal")
    package.emit = lambda name, record: sent.append((name, record["message"]))  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "smokesignal", package)
    out.info("hello")
    assert sent == [("logs", "hello")]


def test_ending_is_safe_at_any_time(tmp_path: Path) -> None:
    out.endLogging()
    out.startLogging()
    out.endLogging()
    out.endLogging()
    out.startLogging(tmp_path / "a", printToConsole=False)
    out.info("one")
    out.startLogging(tmp_path / "a", printToConsole=False)
    threads = [thread.name for thread in threading.enumerate()]
    assert threads.count("PrintLogThread") == 1
    out.info("two")
    out.endLogging()
    out.info("after the end")
    assert messages(tmp_path / "a") == ["one", "two"]
    assert [record["message"] for record in out.getLogsSince(0)] == ["one", "two"]


def test_without_a_folder_there_are_no_logs() -> None:
    out.startLogging()
    assert out.getLogsSince(0) == []
    assert list(out.iterLogsSince(0)) == []


def test_a_folder_that_cannot_be_used_is_said_and_the_rest_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    out.startLogging(tmp_path / "file" / "logs")
    out.info("still here")
    shown = capsys.readouterr().out
    assert f"log folder {tmp_path}/file/logs cannot be used" in shown
    assert "still here" in shown


def test_records_of_many_threads_all_arrive_each_threads_in_order(folder: Path) -> None:
    def work(name: int) -> None:
        for number in range(1000):
            out.info("x", thread=name, number=number)

    threads = [threading.Thread(target=work, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    numbers: dict[int, list[int]] = {}
    for record in written(folder):
        numbers.setdefault(record["extra"]["thread"], []).append(record["extra"]["number"])
    assert numbers == {name: list(range(1000)) for name in range(4)}


def test_a_full_queue_drops_after_a_wait_and_says_how_many(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(output, "QUEUE_LIMIT", 5)
    monkeypatch.setattr(output, "QUEUE_WAIT", 0.3)
    out.startLogging(tmp_path, printToConsole=False)
    assert out.printer is not None
    disk_answers = threading.Event()
    append = out.printer.writer.append

    def slow_append(day: date, lines: bytes) -> None:
        assert disk_answers.wait(30)
        append(day, lines)

    monkeypatch.setattr(out.printer.writer, "append", slow_append)
    before = time.monotonic()
    for number in range(100):
        out.info(str(number))
    assert time.monotonic() - before < 10  # who waited once does not wait again
    disk_answers.set()
    assert out.flush()
    out.info("room again")
    *kept, warning, last = messages(tmp_path)
    assert kept == [str(number) for number in range(len(kept))]
    assert 5 <= len(kept) < 100
    assert warning == f"{100 - len(kept)} records were dropped: the log file is too slow"
    assert last == "room again"


def test_exception_output_called_alone_gives_the_record() -> None:
    record = ExceptionOutput(LOG_TYPES[Level.ERR])(ValueError("x"), True)
    assert record.keys() == KEYS
    assert record["line"] == sys._getframe().f_lineno - 2
