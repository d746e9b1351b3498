"""The helpers around time and JSON."""

import json
import re
import time

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
