"""Secrets that the log was told of are in no record, whatever they come in with."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from logged import logging_ended, messages, written
from twisted.logger import Logger

from paradrop.base.concealment import CONCEALED, SHORTEST, Concealment
from paradrop.base.logline import line_of
from paradrop.base.output import Output, out

SECRET = "s3cret-token"

PEM = """-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEIJ+DYvh6SEqVTm50DFtMDoQikTmiCqirVv9mWG9qfSnF
aGVsbG8gd29ybGQ=
-----END PRIVATE KEY-----
"""

ended = pytest.fixture(autouse=True)(logging_ended)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Logging into a folder, with a secret that the log was told of."""
    out.startLogging(tmp_path, printToConsole=True)
    out.conceal(SECRET)
    yield tmp_path
    out._delivery.concealment = Concealment()


def test_a_secret_is_in_no_record_whatever_stream_it_comes_through(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    seen: list[dict[str, Any]] = []
    out.stealStdio(True)
    out.subscribe(seen.append)
    for name in ("info", "err", "security", "usage", "noSuchStream"):
        getattr(out, name)(f"the token is {SECRET}, or {SECRET}")
    returned = out.info("extra", extra={"a": [{"b": (SECRET,)}]}, secret=f"x{SECRET}y")
    out.info("key", extra={SECRET: {SECRET: 1}})
    out.info("kinds", extra={"a": SECRET.encode(), "b": {SECRET}, "c": type(SECRET, (), {})})
    print("printed", SECRET)
    print(SECRET[:5], end="")
    print(SECRET[5:], file=sys.stdout)
    print(SECRET, file=sys.stderr)
    try:
        raise KeyError(SECRET)
    except KeyError as error:
        out.exception(error)
    Logger().info("twisted says {what}", what=SECRET)
    assert returned is not None
    assert returned["extra"] == {"a": [{"b": [CONCEALED]}], "secret": f"x{CONCEALED}y"}
    texts = messages(folder)
    assert texts[0] == f"the token is {CONCEALED}, or {CONCEALED}"
    assert len(seen) == len(texts) == 13
    assert SECRET not in (folder / "log").read_text()
    assert SECRET not in json.dumps(seen)
    assert SECRET not in capsys.readouterr().out


def test_what_the_console_alone_says_is_free_of_secrets(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(message: str) -> None:
        raise ValueError(message)

    own = Output(broken=broken)
    own.conceal(SECRET)
    own.broken(SECRET)
    own.startLogging(f"/dev/null/{SECRET}")
    own.endLogging()
    shown = capsys.readouterr().out
    assert "a record was lost" in shown
    assert "cannot be used" in shown
    assert SECRET not in shown


def test_what_is_changed_after_the_call_is_not_in_the_record(folder: Path) -> None:
    state: dict[str, Any] = {"token": None, "times": [1]}
    out.info("state", extra={"state": state})
    state["token"] = SECRET
    state["times"].append(SECRET)
    assert written(folder)[-1]["extra"] == {"state": {"token": None, "times": [1]}}


def test_records_without_a_secret_stay_what_they_are(folder: Path) -> None:
    extra = {"event": "e", "n": 1, "f": 2.5, "t": True, "none": None, "list": [1, "x", {"y": {}}]}
    assert out.info("some text", extra=extra)["extra"] == extra  # type: ignore[index]
    cycle: list[Any] = []
    cycle.append(cycle)
    out.info("cycle", extra={"cycle": cycle})
    assert messages(folder) == ["some text", "cycle"]


def test_a_number_may_be_a_secret() -> None:
    concealment = Concealment()
    concealment.add("12345678")
    record = {"message": "", "timestamp": 12345678.0, "extra": {"pin": 12345678, "other": 5}}
    assert concealment.record(record) == {
        **record,
        "extra": {"pin": CONCEALED, "other": 5},
    }


@pytest.mark.parametrize("secret", ["", "short", b"\xff", " five5 \n"])
def test_a_short_secret_is_not_concealed(secret: str | bytes) -> None:
    concealment = Concealment()
    concealment.add(secret)
    assert not concealment.active
    assert concealment.text(f"short five5 \xff {secret!r}") == f"short five5 \xff {secret!r}"


def test_the_lines_of_a_key_are_concealed_each_and_its_frame_is_not() -> None:
    concealment = Concealment()
    concealment.add(PEM.encode())
    first, *lines, last = PEM.splitlines()
    assert concealment.text(PEM.strip()) == CONCEALED
    assert concealment.text("\n".join((first, *lines, last, ""))) == f"{CONCEALED}\n"
    for line in lines:
        assert concealment.text(f"<{line}>") == f"<{CONCEALED}>"
    assert concealment.text(f"no {first} here") == f"no {first} here"
    assert CONCEALED in concealment.text(repr(PEM))
    assert lines[0] not in concealment.text(repr(PEM))


def test_the_longest_secret_is_concealed_first() -> None:
    concealment = Concealment()
    for secret in ("secret", "secret-and-more", "secret"):
        concealment.add(secret)
    assert concealment.text("secret-and-more, secret") == f"{CONCEALED}, {CONCEALED}"


@given(
    st.text(min_size=SHORTEST) | st.binary(min_size=SHORTEST),
    st.sampled_from([str, repr, ascii, json.dumps, quote, lambda value: quote(value, safe="")]),
)
def test_a_secret_is_found_as_text_is_usually_written(secret: str | bytes, write: Any) -> None:
    concealment = Concealment()
    concealment.add(secret)
    if isinstance(secret, bytes):
        try:
            value: object = secret.decode()
        except UnicodeDecodeError:
            value, write = secret, repr
    else:
        value = secret
    if len(str(value).strip()) < SHORTEST:
        return
    core = write(value).strip("'\"b") if write is repr else write(value)
    shown = concealment.text(f"x {write(value)} y")
    assert CONCEALED in shown
    assert core not in shown


secrets = st.text(min_size=SHORTEST) | st.text("'\"\\\n\t%ü", min_size=SHORTEST)
holders = st.sampled_from(
    [
        lambda secret: secret,
        lambda secret: {"nested": [{"deeper": secret}]},
        lambda secret: {secret: 1},
        lambda secret: [secret, {"not": object}],
        lambda secret: {"nan": float("nan"), "nested": {"text": secret}},
        lambda secret: secret.encode(errors="surrogatepass"),
        lambda secret: ValueError(secret),
    ]
)


@given(secrets, st.sampled_from([str, repr, json.dumps, ascii]), holders)
def test_a_record_that_has_a_secret_is_never_taken_for_one_that_has_none(
    secret: str, write: Any, hold: Any
) -> None:
    concealment = Concealment()
    concealment.add(secret)
    record = {"message": write(secret), "type": 3, "extra": {"held": hold(secret)}}
    if concealment.record(record)["message"] != record["message"]:
        assert concealment.may_be_in(line_of({**record, "extra": {}}))
    if concealment.active:
        assert concealment.may_be_in(line_of({**record, "message": ""}))
