"""
YAML that a person has written, or a power cut has left.

A file may hold a secret at any place. So no error quotes the file, as PyYAML's own do: it says the
line, the column and what was expected there.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import yaml

_TEXT = "tag:yaml.org,2002:str"


def load(data: bytes) -> Any:
    """
    @return: what YAML says.
    @raise ValueError: it is not YAML, or says what cannot be made.
    """
    try:
        return yaml.safe_load(data)
    except Exception as error:  # whatever PyYAML comes upon; `!!int ""` is an IndexError
        fault = ValueError(f"not valid YAML{_place(error, data)}")
    raise fault  # outside of the `except`: a traceback would show the other error as well


def load_texts(data: bytes, names: Iterable[str]) -> dict[str, str]:
    """
    Read a mapping in which some names have to have text.

    A value without quotes can be a number, a date or a truth value to YAML, and would change when
    it is read: `0123` is 83, `12:34` is 754, `yes` is True. Such a value is refused.

    @return: the texts by name; others of the mapping are left out.
    @raise ValueError: it is not valid YAML, no mapping, or lacks a name, has it twice, or has
        something else than text there.
    """
    load(data)  # says what is wrong with the whole
    root = yaml.compose(data, Loader=yaml.SafeLoader)
    if not isinstance(root, yaml.MappingNode):
        raise ValueError("expected `name: value` in each line")
    found: dict[str, str] = {}
    wanted = list(names)
    for key, value in root.value:
        name = key.value if key.tag == _TEXT else None
        if name not in wanted:
            continue
        where = f"line {value.start_mark.line + 1}"
        if name in found:
            raise ValueError(f"{where}: {name} is there twice")
        if not isinstance(value, yaml.ScalarNode) or value.tag != _TEXT:
            raise ValueError(f"{where}: {name} has to be text: put it in quotes")
        if not value.value:
            raise ValueError(f"{where}: {name} is empty")
        if not value.value.isprintable() or value.value != value.value.strip():
            raise ValueError(f"{where}: {name} has to be a line of text, without spaces around it")
        found[name] = value.value
    if missing := [name for name in wanted if name not in found]:
        raise ValueError(f"{' and '.join(missing)} missing")
    return found


def _place(error: Exception, data: bytes) -> str:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    if mark is not None:
        return f": line {mark.line + 1}, column {mark.column + 1}"
    if isinstance(error, yaml.reader.ReaderError):
        if isinstance(error.character, int) or error.encoding == "unicode":
            return ": it has a character that YAML does not allow"
        line = data.count(b"\n", 0, error.position) + 1
        return f": line {line} is not UTF-8"
    return ""
