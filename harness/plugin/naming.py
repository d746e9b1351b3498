"""Names of tests, taken from what pytest itself knows of them."""

from __future__ import annotations

import re
from pathlib import PurePosixPath

import pytest

from harness.device import label


def full_name(item: pytest.Item) -> str:
    """pytest's name of a test, with all parameters, without the group that pytest-xdist adds."""
    return item.nodeid if item.parent is None else f"{item.parent.nodeid}::{item.name}"


def ungrouped(nodeid: str) -> str:
    """pytest's name of a test, without the group that pytest-xdist adds."""
    path, colons, test = nodeid.partition("::")
    function, _, parameters = test.partition("[")
    if "]" in parameters:  # an @ before the last bracket belongs to a parameter
        return f"{path}::{function}[{parameters.rpartition(']')[0]}]"
    return f"{path}{colons}{test.partition('@')[0]}"


def suite(nodeid: str) -> str:
    """The suite that a test belongs to: its file, without `test_`."""
    return PurePosixPath(nodeid.partition("::")[0]).stem.removeprefix("test_")


def result_id(item: pytest.Item) -> str:
    """pytest's name of a test without the device: the same on each device."""
    call = getattr(item, "callspec", None)
    kind = None if call is None else call.params.get("device_kind")
    if call is None or item.parent is None or kind is None:
        return full_name(item)
    function = f"{item.parent.nodeid}::{getattr(item, 'originalname', None) or item.name}"
    ids = _without_device(list(call._idlist), kind)  # its public `id` has joined them
    return f"{function}[{'-'.join(ids)}]" if ids else function


def _without_device(ids: list[str], kind: str) -> list[str]:
    """The ids of a test's parameters without that of the device.

    Of two equal ids it does not matter which one is taken away.
    """
    name = label(kind).encode("unicode_escape").decode()  # as pytest writes it
    # two devices of one label are told apart by a number that pytest adds
    numbered = re.compile(re.escape(name) + r"_?\d+")
    found = [each for each in ids if each == name]
    found += [each for each in ids if numbered.fullmatch(each)]
    if found:
        ids.remove(found[0])
    return ids
