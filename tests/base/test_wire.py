"""Whatever a value is, a message can carry it."""

from __future__ import annotations

import json
import os
from typing import Any

import cbor2
import msgpack
import pytest
from autobahn.wamp.message import Publish
from hypothesis import given
from hypothesis import strategies as st

from paradrop.base.wire import DEPTH, fit, serializers

scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(min_value=2**63 - 2, max_value=2**64 + 2)
    | st.floats()
    | st.text(st.characters())
    | st.text(st.characters(categories=["Cs"]))
    | st.binary()
    | st.dates()
    | st.frozensets(st.integers())
)
anything = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner)
        | st.tuples(inner)
        | st.dictionaries(st.text(st.characters(categories=["Cs", "L"])) | st.integers(), inner)
    ),
)


@given(anything)
def test_every_serializer_takes_it_and_gives_it_back(value: Any) -> None:
    made = fit(value)
    assert msgpack.unpackb(msgpack.packb(made, use_bin_type=True), raw=False) == made
    assert cbor2.loads(cbor2.dumps(made)) == made
    if not _has_bytes(made):  # which autobahn's JSON wraps by itself
        assert json.loads(json.dumps(made, allow_nan=False)) == made


plain = st.text(st.characters(codec="utf-8", exclude_characters="\0"))


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | plain,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(plain, inner, max_size=3),
        max_leaves=8,
    )
)
def test_what_is_fit_stays_as_it_is(value: Any) -> None:
    assert fit(value) == value


@pytest.mark.parametrize(
    ("value", "made"),
    [
        (os.fsdecode(b"caf\xe9"), "caf\\udce9"),
        (2**64, str(2**64)),
        (-(2**63) - 1, str(-(2**63) - 1)),
        (2**64 - 1, 2**64 - 1),
        (float("nan"), "nan"),
        (float("-inf"), "-inf"),
        ({1: 2}, {"1": 2}),
        ({1: 2, "1": 3}, {"1": 2, "1'": 3}),
        ("\0abc\0", "\\x00abc\0"),
        (bytearray(b"\xff"), b"\xff"),
        ((1, {2}), [1, [2]]),
    ],
)
def test_what_becomes_of_odd_values(value: Any, made: Any) -> None:
    assert fit(value) == made


def test_a_number_of_more_digits_than_python_writes_becomes_text() -> None:
    assert fit(10**5000) == hex(10**5000)


def test_a_value_that_holds_itself_ends() -> None:
    value: list[Any] = []
    value.append(value)
    made: Any = fit(value)
    for _ in range(DEPTH):
        (made,) = made
    assert made == "..."


def test_a_list_that_holds_another_ever_so_often_ends() -> None:
    value: list[Any] = []
    for _ in range(DEPTH - 1):
        value = [value] * 10
    fit(value)


@given(anything)
def test_each_serializer_of_a_connection_sends_it(value: Any) -> None:
    for serializer in serializers():
        sent = Publish(1, "org.example.topic", args=[value], kwargs={"key": value})
        data, is_binary = serializer.serialize(sent)
        (heard,) = serializer.unserialize(data, is_binary)
        assert heard.args == [fit(value)]
        assert heard.kwargs == {"key": fit(value)}


def _has_bytes(value: Any) -> bool:
    if isinstance(value, dict):
        return any(map(_has_bytes, value.values()))
    if isinstance(value, list):
        return any(map(_has_bytes, value))
    return isinstance(value, bytes)


@pytest.mark.parametrize("serializer", serializers(), ids=lambda one: one.SERIALIZER_ID)
def test_what_comes_is_read_whatever_its_keys_are(serializer: Any) -> None:
    packed = {"msgpack": msgpack.packb([{5: 1}]), "cbor": b"\x81\xa1\x05\x01", "json": b'[{"5":1}]'}
    (found,) = serializer._serializer.unserialize(packed[serializer.SERIALIZER_ID])
    assert {str(key): value for key, value in found[0].items()} == {"5": 1}
