"""What is printed becomes records, and the true streams stay what they were."""

import io
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from logged import logging_ended, messages, written

from paradrop.base import output
from paradrop.base.output import LOG_TYPES, Level, out

ended = pytest.fixture(autouse=True)(logging_ended)


def test_printed_lines_become_records(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    true_out, true_err = sys.stdout, sys.stderr
    out.startLogging(tmp_path, stealStdio=True, printToConsole=False)
    line = sys._getframe().f_lineno + 1
    print("one", 2, end="")
    print(" three")
    print("to stderr", file=sys.stderr)
    print()
    print("two\nlines\nand a half", end="")
    records = written(tmp_path)
    out.endLogging()
    assert sys.stdout is true_out
    assert sys.stderr is true_err
    print("not stolen any more")
    assert [(record["message"], record["type"]) for record in records] == [
        ("one 2 three", Level.VERBOSE.value),
        ("to stderr", Level.WARN.value),
        ("two", Level.VERBOSE.value),
        ("lines", Level.VERBOSE.value),
    ]
    assert records[0]["line"] == line + 1
    assert messages(tmp_path)[-1] == "and a half"
    assert capsys.readouterr().out == "not stolen any more\n"


def test_what_is_stolen_is_shown_on_the_true_console_without_recursion(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out.startLogging(tmp_path, stealStdio=True, printToConsole=True)
    out.subscribe(lambda record: print("a subscriber prints"))
    print("hello")
    out.info("logged")
    out.endLogging()
    shown = capsys.readouterr().out.splitlines()
    assert [line.partition("] ")[2] for line in shown] == messages(tmp_path)
    assert messages(tmp_path) == ["hello", "a subscriber prints", "logged", "a subscriber prints"]


def test_someone_elses_stdout_is_not_taken_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdout", sys.stdout)
    out.startLogging(tmp_path, stealStdio=True, printToConsole=False)
    theirs = io.StringIO()
    sys.stdout = theirs
    out.stealStdio(False)
    assert sys.stdout is theirs


def redirect() -> tuple[output.OutputRedirect, list[str], io.TextIOWrapper]:
    lines: list[str] = []
    true = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    stream = output.OutputRedirect(
        true, lambda record: lines.append(record["message"]), LOG_TYPES[Level.INFO]
    )
    return stream, lines, true


def test_a_redirect_is_like_a_file() -> None:
    stream, lines, true = redirect()
    assert stream.write("part") == 4
    stream.writelines([" of", " a line\n"])
    stream.flush()
    assert lines == ["part of a line"]
    stream.trueWrite("past it")
    true.seek(0)
    assert true.read() == "past it\n"
    assert stream.isatty() is False
    assert stream.encoding == "utf-8"
    assert stream.errors == "strict"
    assert stream.buffer is true.buffer
    assert stream.writable()
    assert not stream.readable()
    assert not stream.closed
    stream.close()
    assert not true.closed
    with pytest.raises(io.UnsupportedOperation):
        stream.fileno()
    assert output.OutputRedirect(sys.__stdout__, print, {}).fileno() == sys.__stdout__.fileno()  # type: ignore[union-attr,arg-type]


@given(st.lists(st.text("ab\n ", max_size=5)))
def test_pieces_of_lines_are_joined_however_they_are_cut(pieces: list[str]) -> None:
    stream, lines, _ = redirect()
    for piece in pieces:
        stream.write(piece)
    stream.endLines()
    assert lines == [line for line in "".join(pieces).split("\n") if line.strip()]


def test_threads_do_not_mix_their_lines() -> None:
    stream, lines, _ = redirect()
    stream.write("main ")
    other = threading.Thread(target=lambda: stream.write("other\n"))
    other.start()
    other.join()
    stream.write("thread\n")
    assert lines == ["other", "main thread"]


def test_a_line_without_end_does_not_fill_the_memory() -> None:
    stream, lines, _ = redirect()
    for _ in range(100):
        stream.write("x" * 1000)
    assert len(lines) == 1


def test_printing_works_where_there_is_no_console(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    out.startLogging(tmp_path, stealStdio=True)
    print("into the void", flush=True)
    out.err("shown nowhere")
    assert sys.stdout.encoding == "utf-8"
    assert not sys.stdout.isatty()
    with pytest.raises(io.UnsupportedOperation):
        sys.stdout.fileno()
    out.endLogging()
    assert sys.stdout is None
    assert messages(tmp_path) == ["into the void", "shown nowhere"]


def test_a_console_that_was_closed_does_not_break_who_prints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdout", closed := io.TextIOWrapper(io.BytesIO()))
    out.startLogging(tmp_path, stealStdio=True)
    closed.close()
    print("still a record", flush=True)
    assert messages(tmp_path) == ["still a record"]
