"""The helpers around time and JSON."""

import json
import re
import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paradrop.base import pdutils

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)
any_text = st.text(st.characters())  # surrogates that stand alone as well
with_bytes = st.recursive(
    st.none() | st.integers() | st.text() | st.text().map(str.encode) | st.just(b"null"),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.text().map(str.encode), inner),
    max_leaves=20,
)


@given(json_values, st.sampled_from([" ", "", "/", "%", "ü"]))
def test_decoding_inverts_encoding(value: object, safe: str) -> None:
    assert pdutils.urlDecodeMe(pdutils.urlEncodeMe(value, safe)) == value


@given(any_text)
def test_encoded_text_is_ascii_without_what_breaks_json(value: str) -> None:
    encoded = pdutils.urlEncodeMe(value)
    assert re.fullmatch(r"[A-Za-z0-9_.~% -]*", encoded)
    assert pdutils.urlDecodeMe(encoded) == value


def test_encoding_leaves_spaces_and_reaches_keys() -> None:
    assert pdutils.urlEncodeMe({'a"': ["b c", 'd"', 1, None]}) == {"a%22": ["b c", "d%22", 1, None]}


@given(any_text)
def test_decoding_takes_any_text(value: str) -> None:
    assert isinstance(pdutils.urlDecodeMe(value), str)


def test_decoding_replaces_what_is_not_utf8() -> None:
    assert pdutils.urlDecodeMe("a%ffb%20c%") == "a\ufffdb c%"


@given(json_values)
def test_pretty_json_is_the_same_value(value: object) -> None:
    assert json.loads(pdutils.jsonPretty(value)) == value


def test_pretty_json_is_sorted_and_indented() -> None:
    assert pdutils.jsonPretty({"b": 1, "a": [2]}) == (
        '{\n    "a": [\n        2\n    ],\n    "b": 1\n}'
    )


def test_bytes_become_text_at_every_depth_and_null_becomes_none() -> None:
    value = {b"k\xc3\xbc": [b"v", "null", b"null", {"x": b"y"}], "n": 1}
    assert pdutils.convertUnicode(value) == {"kü": ["v", None, None, {"x": "y"}], "n": 1}
    assert json.loads('{"a": {"b": "null"}}', object_hook=pdutils.convertUnicode) == {
        "a": {"b": None}
    }


@given(with_bytes)
def test_no_bytes_and_no_null_are_left(value: object) -> None:
    converted = pdutils.convertUnicode(value)
    assert not holds(converted, lambda inner: isinstance(inner, bytes) or inner == "null")
    assert pdutils.convertUnicode(converted) == converted


def holds(value: object, wanted: Callable[[object], bool]) -> bool:
    """Whether a value, or one within it, is as wanted."""
    if isinstance(value, dict):
        return any(holds(inner, wanted) for pair in value.items() for inner in pair)
    if isinstance(value, list):
        return any(holds(inner, wanted) for inner in value)
    return wanted(value)


@given(json_values)
def test_what_has_neither_stays_as_it_is(value: object) -> None:
    if not holds(value, lambda inner: inner == "null"):
        assert pdutils.convertUnicode(value) == value


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (300, "5 mins"),
        (86400, "1 day"),
        (86705, "1 day, 5 mins, 5 seconds"),
        (1, "1 second"),
        (60, "1 min"),
        (3600, "1 hour"),
        (7322.9, "2 hours, 2 mins, 2 seconds"),
        ("61", "1 min, 1 second"),
        (0, ""),
    ],
)
def test_durations_read_as_people_say_them(seconds: float, text: str) -> None:
    assert pdutils.timedur(seconds) == text


@given(st.integers(0, 10**9))
def test_a_duration_loses_no_second(seconds: int) -> None:
    units = {"day": 86400, "hour": 3600, "min": 60, "second": 1}
    parts = re.findall(r"(\d+) (day|hour|min|second)s?", pdutils.timedur(seconds))
    assert sum(int(count) * units[unit] for count, unit in parts) == seconds


@given(st.floats(allow_nan=False, allow_infinity=False, max_value=1e12))
def test_a_duration_drops_what_is_less_than_a_second(seconds: float) -> None:
    assert pdutils.timedur(seconds) == pdutils.timedur(max(0, int(seconds)))


@given(st.floats(0, 2**31))
def test_any_time_has_its_text(moment: float) -> None:
    parsed = time.mktime(time.strptime(pdutils.timestr(moment)))
    assert parsed == int(moment) or abs(parsed - moment) <= 7200  # an hour that there is twice
    assert pdutils.timestr(moment).startswith(pdutils.stimestr(moment)[:3])


def test_times_are_seconds_since_the_epoch_and_local_text() -> None:
    before = time.time()
    assert before <= pdutils.timeflt() <= time.time()
    assert isinstance(pdutils.timeint(), int)
    assert abs(pdutils.timeint() - before) <= 1
    assert pdutils.timestr(0) == time.asctime(time.localtime(0))
    assert time.strptime(pdutils.timestr())
    assert pdutils.stimestr(0) == time.strftime("%a %H:%M", time.localtime(0))
    assert re.fullmatch(r"\w+ \d\d:\d\d", pdutils.stimestr())


def test_dict2obj_makes_attributes_of_both_forms() -> None:
    source = {"a": 1}
    made = pdutils.dict2obj(source, b=2)
    assert (made.a, made.b) == (1, 2)
    assert source == {"a": 1}
    assert pdutils.dict2obj(c=3).c == 3
    assert vars(pdutils.dict2obj(**{"self": 4})) == {"self": 4}
    assert not hasattr(made, "missing")


@pytest.mark.parametrize(
    ("packet", "arguments", "values", "reason"),
    [
        ({"a": 1}, (dict,), {}, None),
        ({"a": 1}, (dict, ["a"]), {"a": int}, None),
        ({"a": 1}, (dict,), {"a": 1}, None),
        ([1], (list, ["ignored"]), {}, None),
        ([1], (dict,), {}, "expected <class 'dict'>"),
        (True, (int,), {}, "expected <class 'int'>"),
        ({"a": 1}, (dict, ["a", "b", "c"]), {}, 'missing, "b, c"'),
        ({"a": 1}, (dict,), {"b": 1}, 'key missing "b"'),
        ({"a": 1}, (dict,), {"a": 2}, 'key "a", bad value data, "1", expected "2"'),
        (
            {"a": 1},
            (dict,),
            {"a": str},
            'key "a", bad value type, "<class \'int\'>", expected "<class \'str\'>"',
        ),
        ({"a b": 1}, (dict,), {"valMatches": {"a b": 1}}, None),
    ],
)
def test_check_gives_the_reason_or_none(
    packet: object, arguments: tuple[object, ...], values: dict[str, object], reason: str | None
) -> None:
    assert pdutils.check(packet, *arguments, **values) == reason  # type: ignore[arg-type]


@given(json_values)
def test_anything_is_what_it_is(value: Any) -> None:
    """By its own type, its own keys, its own values and their types; and nothing else."""
    assert pdutils.check(value, type(value)) is None
    assert pdutils.check(value, set) == f"expected {set}"
    if not isinstance(value, dict):
        return
    assert pdutils.check(value, dict, value.keys(), valMatches=value) is None
    types = {key: type(inner) for key, inner in value.items()}
    assert pdutils.check(value, dict, valMatches=types) is None
    for key in value:
        assert key in str(pdutils.check({**value, key: object()}, dict, valMatches=types))
        rest = {name: inner for name, inner in value.items() if name != key}
        assert pdutils.check(rest, dict, [key]) == f'missing, "{key}"'
        assert pdutils.check(rest, dict, valMatches=types) == f'key missing "{key}"'


@given(json_values, st.lists(st.text(), min_size=1))
def test_explode_takes_anything(packet: Any, names: list[str]) -> None:
    found = pdutils.explode(packet, *names)
    assert len(found) == len(names)
    if isinstance(packet, dict):
        assert pdutils.explode(packet, *packet, "no such") == (
            *packet.values(),
            packet.get("no such"),
        )


@given(
    st.dictionaries(st.text(), json_values),
    st.dictionaries(st.from_regex(r"[a-z]+\Z"), json_values),
)
def test_dict2obj_has_all_and_the_keywords_win(
    given_dict: dict[str, Any], keywords: dict[str, Any]
) -> None:
    made = pdutils.dict2obj(given_dict, **keywords)
    assert vars(made) == given_dict | keywords


def test_explode_gives_a_tuple_with_none_for_what_is_missing() -> None:
    assert pdutils.explode({"a": 0, "b": 1}, "a", "b", "c") == (0, 1, None)
    assert pdutils.explode("no dict", "a", "b") == (None, None)
    with pytest.raises(ValueError, match="keys"):
        pdutils.explode({"a": 0})


def test_a_timer_measures_its_block(capsys: pytest.CaptureFixture[str]) -> None:
    with pdutils.Timer(key="a block") as timer:
        until = time.perf_counter() + 0.01
        while time.perf_counter() < until:
            pass
    assert 0.01 <= timer.secs < 5
    assert timer.msecs == timer.secs * 1000
    assert re.fullmatch(r"a block elapsed time: \d+\.\d+ ms\n", capsys.readouterr().out)
    with pdutils.Timer(verbose=False):
        pass
    assert capsys.readouterr().out == ""
