"""What nobody handled, and what Twisted logs, arrives in the log."""

import sys
import threading
from pathlib import Path

import pytest
from logged import logging_ended, messages, run_python, written
from twisted.logger import Logger
from twisted.python import log as twisted_log
from twisted.python.failure import Failure

from paradrop.base import output
from paradrop.base.output import Level, out

ended = pytest.fixture(autouse=True)(logging_ended)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Logging into a folder, silent on the console."""
    out.startLogging(tmp_path, printToConsole=False)
    return tmp_path


def raise_value_error() -> None:
    raise ValueError("wrong value")


def test_the_end_of_the_program_writes_what_was_logged(tmp_path: Path) -> None:
    code = (
        "import sys; from paradrop.base.output import out\n"
        "out.startLogging(sys.argv[1], printToConsole=False)\n"
        "for number in range(2000): out.info(str(number))\n"
        "raise ValueError('nobody handles this')\n"
    )
    run = run_python(code, tmp_path)
    assert run.returncode == 1
    texts = messages(tmp_path)
    assert texts[:-1] == [str(number) for number in range(2000)]
    assert texts[-1].startswith("unhandled exception\nTraceback")
    assert texts[-1].endswith("ValueError: nobody handles this")
    assert run.stdout.count("ValueError: nobody handles this") == 1
    assert run.stderr == ""


def test_an_interrupt_is_no_unhandled_exception(tmp_path: Path) -> None:
    code = (
        "import sys; from paradrop.base.output import out\n"
        "out.startLogging(sys.argv[1])\n"
        "raise KeyboardInterrupt\n"
    )
    run = run_python(code, tmp_path)
    assert "KeyboardInterrupt" in run.stderr
    assert (tmp_path / "log").read_text() == ""


def test_an_unhandled_exception_of_a_thread_is_recorded(folder: Path) -> None:
    thread = threading.Thread(target=raise_value_error, name="worker")
    thread.start()
    thread.join()
    (record,) = written(folder)
    assert record["message"].startswith("unhandled exception in thread worker\nTraceback")
    assert record["type"] == Level.ERR.value
    assert record["module"] == "test_output_unhandled"
    assert record["extra"]["exception"] == "ValueError"


def test_the_log_of_twisted_arrives_once(folder: Path) -> None:
    logger = Logger(namespace="some.place")
    logger.info("number {number}", number=5)
    logger.warn("careful")
    logger.error("bad")
    twisted_log.msg("an old message")
    out.startLogging(folder, printToConsole=False)
    logger.info("again")
    records = written(folder)
    assert [(record["message"], record["type"]) for record in records] == [
        ("number 5", Level.INFO.value),
        ("careful", Level.WARN.value),
        ("bad", Level.ERR.value),
        ("an old message", Level.INFO.value),
        ("again", Level.INFO.value),
    ]
    assert records[0]["package"] == "twisted"
    assert records[0]["extra"] == {"namespace": "some.place"}
    out.endLogging()
    logger.info("after the end")
    assert len(written(folder)) == len(records)


def test_failures_of_twisted_arrive_with_their_traceback(folder: Path) -> None:
    try:
        raise_value_error()
    except ValueError:
        twisted_log.err(Failure(), "while testing")
    Logger().failure("in a deferred", Failure(KeyError("k")))
    first, second = written(folder)
    assert first["message"].startswith("while testing\nTraceback")
    assert "ValueError: wrong value" in first["message"]
    assert first["module"] == "test_output_unhandled"
    assert first["type"] == second["type"] == Level.ERR.value
    assert second["message"].startswith("in a deferred\n")


def test_the_blacklist_of_twisted_is_honoured(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert output.TwistedOutput.blacklist == ["Starting factory", "Stopping factory", "Log opened"]
    twisted_log.msg("Starting factory <F>")
    monkeypatch.setattr(output.TwistedOutput, "blacklist", ["secret"])
    twisted_log.msg("a secret thing")
    twisted_log.msg("Starting factory <F>")
    assert messages(folder) == ["Starting factory <F>"]


def test_twisted_streams_take_plain_events() -> None:
    message = {"message": ("hello",), "isError": 0, "printed": 0}
    error = {"message": (), "isError": 1, "failure": Failure(ValueError("v")), "printed": 0}
    assert out.twisted(message)["message"] == "hello"  # type: ignore[index]
    assert out.twistedErr(message) is None
    assert out.twisted(error) is None
    assert "ValueError: v" in out.twistedErr(error)["message"]  # type: ignore[index]
    assert out.twisted({"message": (), "isError": 0}) is None


def test_a_hook_that_was_there_before_is_called_as_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[type[BaseException]] = []
    monkeypatch.setattr(sys, "excepthook", lambda kind, error, trace: seen.append(kind))
    out.startLogging(tmp_path, printToConsole=False)
    for error in (ValueError("wrong value"), KeyboardInterrupt()):
        sys.excepthook(type(error), error, None)
    out.endLogging()
    assert seen == [ValueError, KeyboardInterrupt]
    assert messages(tmp_path) == ["unhandled exception\nValueError: wrong value"]


def test_a_thread_that_exits_is_no_unhandled_exception(folder: Path) -> None:
    thread = threading.Thread(target=sys.exit)
    thread.start()
    thread.join()
    assert messages(folder) == []
