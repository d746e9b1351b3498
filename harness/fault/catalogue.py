"""All kinds of fault, by name; each can be written down and read again.

A kind is a class derived from `Fault` in any module of this folder: nothing else lists it.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, asdict, fields
from types import MappingProxyType
from typing import Any, get_type_hints

from harness import fault as folder
from harness.errors import UsageError
from harness.fault.fault import Fault

_WORDS = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}


def _kinds() -> Iterator[type[Fault[Any]]]:
    for found in pkgutil.iter_modules(folder.__path__):
        module = importlib.import_module(f"{folder.__name__}.{found.name}")
        for each in vars(module).values():
            if isinstance(each, type) and issubclass(each, Fault) and "name" in vars(each):
                yield each


FAULTS: Mapping[str, type[Fault[Any]]] = MappingProxyType({each.name: each for each in _kinds()})


def write(fault: Fault[Any]) -> dict[str, Any]:
    """A fault as a mapping for YAML or JSON: its name as `fault`, and its parameters."""
    parameters: dict[str, Any] = asdict(fault)  # type: ignore[call-overload]
    return {"fault": fault.name} | parameters


def read(given: Mapping[str, Any]) -> Fault[Any]:
    """What `write` has written.

    @raise UsageError: there is no such fault, or it has no such parameters.
    """
    given = dict(given)
    name = given.pop("fault", None)
    kind = FAULTS.get(str(name))
    if kind is None:
        raise UsageError(f"there is no fault {name!r}", hint=f"there are: {', '.join(FAULTS)}")
    types = get_type_hints(kind)
    wanted = {field.name: types[field.name] for field in fields(kind)}  # type: ignore[arg-type]
    for key, value in given.items():
        if key not in wanted:
            known = ", ".join(wanted) or "none"
            raise UsageError(f"{name!r} has no parameter {key!r}", hint=f"there are: {known}")
        if type(value) is not wanted[key]:
            raise UsageError(f"{name!r}: {key} has to be {_WORDS[wanted[key]]}, not {value!r}")
    for field in fields(kind):  # type: ignore[arg-type]
        if field.default is MISSING and field.name not in given:
            raise UsageError(f"{name!r} needs the parameter {field.name!r}")
    return kind(**given)
