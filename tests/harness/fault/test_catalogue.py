"""Each fault can be written down and read again; what is no fault is refused in one line."""

from __future__ import annotations

import json
from dataclasses import MISSING, fields
from typing import Any, get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.device import CAPABILITIES
from harness.errors import UsageError
from harness.fault.catalogue import FAULTS, read, write
from harness.fault.fault import Fault

VALUES = {int: st.integers(), float: st.floats(), bool: st.booleans(), str: st.text()}


def values(kind: type[Fault[Any]]) -> st.SearchStrategy[Fault[Any]]:
    types = get_type_hints(kind)
    wanted = {field.name: VALUES[types[field.name]] for field in fields(kind)}  # type: ignore[arg-type]
    return st.builds(kind, **wanted)


@given(st.one_of([values(kind) for kind in FAULTS.values()]))
def test_what_is_written_is_read_as_the_same(fault: Fault[Any]) -> None:
    again = read(json.loads(json.dumps(write(fault))))
    assert (again, hash(again)) == (fault, hash(fault))


def test_the_faults_of_the_suites_are_there() -> None:
    assert FAULTS.keys() >= {"link down", "power cut", "freeze", "clock set", "reboot"}
    assert FAULTS.keys() >= {"node stop", "node kill", "node restart", "revoke", "sessions ended"}


@pytest.mark.parametrize("kind", FAULTS.values(), ids=FAULTS)
def test_each_says_what_it_needs_and_what_it_is(kind: type[Fault[Any]]) -> None:
    assert kind.needs in {"", *CAPABILITIES}
    assert kind.target in {"cable", "clock", "machine", "node"}
    assert kind.__doc__
    assert not kind.__doc__.startswith(f"{kind.__name__}(")  # as `dataclass` writes it
    assert not [each.name for each in fields(kind) if each.default_factory is not MISSING]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({}, "there is no fault None .*link down"),
        ({"fault": "flood"}, "there is no fault 'flood'"),
        ({"fault": ["link down"]}, "there is no fault"),
        ({"fault": "clock set"}, "needs the parameter 'to'"),
        ({"fault": "clock set", "to": True}, "to has to be a whole number, not True"),
        ({"fault": "clock set", "to": "12"}, "to has to be a whole number"),
        ({"fault": "link down", "cable": "wan"}, "no parameter 'cable' .*there are: link"),
        ({"fault": "power cut", "x": 1}, "no parameter 'x' .*there are: none"),
    ],
)
def test_what_is_no_fault_is_refused(given: dict[str, Any], why: str) -> None:
    with pytest.raises(UsageError, match=why):
        read(given)
