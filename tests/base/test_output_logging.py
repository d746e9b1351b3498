"""What is logged with the standard `logging` package arrives in the log."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from logged import logging_ended, messages, written
from twisted.logger import Logger, STDLibLogObserver, globalLogPublisher

from paradrop.base.output import Level, out
from paradrop.base.stdlog import StandardLogHandler

ended = pytest.fixture(autouse=True)(logging_ended)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Logging into a folder, silent on the console."""
    root = logging.getLogger()
    before = (root.level, list(root.handlers))
    out.startLogging(tmp_path, printToConsole=False)
    yield tmp_path
    out.endLogging()
    assert (root.level, list(root.handlers)) == before


@pytest.fixture
def logger() -> logging.Logger:
    return logging.getLogger("some.library")


def test_records_arrive_with_level_place_and_extra(folder: Path, logger: logging.Logger) -> None:
    line = sys._getframe().f_lineno + 1
    logger.info("number %d", 5, extra={"event": "counted"})
    logger.warning("careful")
    logger.error("bad")
    logger.critical("worse")
    logger.log(35, "between")
    records = written(folder)
    assert [(record["message"], record["type"]) for record in records] == [
        ("number 5", Level.INFO.value),
        ("careful", Level.WARN.value),
        ("bad", Level.ERR.value),
        ("worse", Level.FATAL.value),
        ("between", Level.WARN.value),
    ]
    first = records[0]
    assert first["extra"] == {"logger": "some.library", "event": "counted"}
    assert (first["package"], first["module"], first["line"]) == (
        "base",
        "test_output_logging",
        line,
    )


def test_debugging_is_for_who_asks_for_it(folder: Path, logger: logging.Logger) -> None:
    logger.debug("not wanted")
    logger.setLevel(logging.DEBUG)
    try:
        logger.debug("wanted")
    finally:
        logger.setLevel(logging.NOTSET)
    (record,) = written(folder)
    assert (record["message"], record["type"]) == ("wanted", Level.VERBOSE.value)


def test_a_level_of_ones_own_is_left(tmp_path: Path, logger: logging.Logger) -> None:
    root = logging.getLogger()
    before = root.level
    root.setLevel(logging.ERROR)
    try:
        out.startLogging(tmp_path, printToConsole=False)
        logger.warning("not wanted")
        assert messages(tmp_path) == []
        out.endLogging()
        assert root.level == logging.ERROR
    finally:
        root.setLevel(before)


def test_a_traceback_is_in_the_record(folder: Path, logger: logging.Logger) -> None:
    try:
        raise ValueError("wrong value")
    except ValueError:
        logger.exception("while testing")
    logger.error("no exception", exc_info=True)
    logger.info("with a stack", stack_info=True)
    first, second, third = written(folder)
    assert first["message"].startswith("while testing\nTraceback")
    assert first["message"].endswith("ValueError: wrong value")
    assert first["extra"]["exception"] == "ValueError"
    assert second["message"] == "no exception"
    assert third["message"].startswith("with a stack\nStack (most recent call last)")


def test_arguments_that_do_not_fit_cost_no_record() -> None:
    records: list[dict[str, Any]] = []
    logger = logging.Logger("alone")  # pytest's own handler would raise
    logger.addHandler(StandardLogHandler(records.append))
    logger.info("number %d", "five")
    assert [record["message"] for record in records] == ["number %d ('five',)"]


def test_an_error_of_ours_is_none_of_who_logs(
    folder: Path, logger: logging.Logger, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(record: dict[str, Any]) -> str:
        raise RuntimeError("cannot be shown")

    monkeypatch.setattr(out.outputMappings["err"], "formatOutput", broken)
    logger.error("bad")
    out.err("worse")
    assert messages(folder) == ["bad", "worse"]


def test_what_twisted_hands_to_logging_arrives_once(folder: Path) -> None:
    bridge = STDLibLogObserver()
    globalLogPublisher.addObserver(bridge)
    try:
        Logger().info("from Twisted")
    finally:
        globalLogPublisher.removeObserver(bridge)
    assert messages(folder) == ["from Twisted"]


def test_a_restart_leaves_one_handler(folder: Path, logger: logging.Logger) -> None:
    out.startLogging(folder, printToConsole=False)
    logger.info("once")
    assert messages(folder) == ["once"]
    out.endLogging()
    logger.warning("after the end")
    assert messages(folder) == ["once"]


def test_who_logs_or_prints_because_of_a_record_does_not_loop(
    folder: Path, logger: logging.Logger
) -> None:
    class Printing(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            print("a handler prints")

    def subscriber(record: dict[str, Any]) -> None:
        logging.getLogger("subscriber").warning("a subscriber logs")
        out.info("a subscriber says")

    printing = Printing()
    logger.addHandler(printing)
    out.stealStdio(True)
    out.subscribe(subscriber)
    try:
        logger.warning("one")
    finally:
        logger.removeHandler(printing)
        out.unsubscribe(subscriber)
        out.stealStdio(False)
    assert sorted(messages(folder)) == sorted(
        ["a handler prints", "one", *2 * ["a subscriber logs", "a subscriber says"]]
    )


def test_a_console_that_logs_does_not_loop(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Console:
        def write(self, line: str) -> None:
            shown.append(line)
            logging.getLogger("console").error("the console logs")
            out.err("the console says")

        def flush(self) -> None:
            pass

    shown: list[str] = []
    monkeypatch.setattr(sys, "stdout", Console())
    out.err("bad")
    assert len(shown) == 1
    assert messages(folder) == ["bad", "the console logs", "the console says"]
