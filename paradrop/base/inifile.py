"""An INI file whose every error names the file and the line."""

from __future__ import annotations

import bisect
import configparser
import io
import os
from collections.abc import Container, Iterator
from pathlib import Path

from paradrop.base.exceptions import SettingsError

_STAND_INS = ("paradrop", "default")
"""Sections that people take for ours."""


class IniFile:
    """
    What an INI file says. Names are in lower case, values are text.

    @param path: of the file, for errors.
    @raise SettingsError: the text is no INI file.
    """

    def __init__(self, text: str, path: str | os.PathLike[str]) -> None:
        self.path = path
        self._lines = text.split("\n")
        try:
            self._parser = _parse(text)
        except configparser.Error as error:
            line, expected = _fault(error)
            fault = SettingsError(f"{path}, line {line}: {expected}")
        else:
            return
        raise fault  # outside of the `except`: a traceback would quote the line, with its secrets

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> IniFile:
        """
        Read a file; one that does not exist says nothing.

        @raise SettingsError: it cannot be read, or is no INI file.
        """
        try:
            data = Path(path).read_bytes()
        except FileNotFoundError:
            data = b""
        except OSError as error:
            raise SettingsError(f"{path} cannot be read: {error.strerror}") from error
        try:
            text = data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            line = data.count(b"\n", 0, error.start) + 1
        else:
            return cls(text.replace("\r\n", "\n").replace("\r", "\n"), path)
        raise SettingsError(f"{path}, line {line}: expected text in UTF-8")

    def items(self, section: str, known: Container[str] = ()) -> Iterator[tuple[str, str, int]]:
        """
        @param section: in lower case.
        @param known: options of the section, in upper case.
        @return: name, value and line of each option in the section.
        @raise SettingsError: another section is meant to be this one: its name differs only in case
            or in spaces, or it is called `paradrop` or `DEFAULT` and has an option of this one.
            Options of `DEFAULT` are those of every section, as usual, if there is this section.
        """
        for other in (*self._parser.sections(), self._parser.default_section):
            name = other.strip().lower()
            differs_little = other != section and name == section
            stands_in = name in _STAND_INS and not (
                other == self._parser.default_section and self._parser.has_section(section)
            )
            if differs_little or (
                stands_in and any(option.upper() in known for option in self._parser[other])
            ):
                raise SettingsError(
                    f"{self.path}, line {self._line_of(other)}: expected [{section}], not [{other}]"
                )
        if self._parser.has_section(section):
            for name, value in self._parser.items(section):
                yield name, value, self._line(section, name)

    def get(self, section: str, name: str) -> str | None:
        """@return: the value of an option; None if there is no such option."""
        return self._parser.get(section, name, fallback=None)

    def put(self, section: str, name: str, value: str | None) -> None:
        """Have an option say what `get` has given, also None."""
        if value is not None:
            self.set(section, name, value)
        elif self._parser.has_section(section):
            self._parser.remove_option(section, name)

    def set(self, section: str, name: str, value: str) -> None:
        """Change or add an option."""
        if not self._parser.has_section(section):
            self._parser.add_section(section)
        self._parser.set(section, name, value)

    def text(self) -> str:
        """All of it, as a file has it; without comments."""
        text = io.StringIO()
        self._parser.write(text)
        return text.getvalue()

    def _line_of(self, section: str) -> int:
        """The line that begins a section."""
        for index, line in enumerate(self._lines):
            if line.strip().startswith(f"[{section}]"):
                return index + 1
        return 1

    def _line(self, section: str, name: str) -> int:
        """The first line that, with those before it, says the option."""
        return 1 + bisect.bisect_left(
            range(len(self._lines)),
            True,
            key=lambda last: _parse("\n".join(self._lines[: last + 1])).has_option(section, name),
        )


def _parse(text: str) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None)
    parser.read_string(text)
    return parser


def _fault(error: configparser.Error) -> tuple[int | None, str]:
    """Where it is, and what was expected there."""
    if isinstance(error, configparser.DuplicateOptionError):
        return error.lineno, f"expected {error.option} once, and this is the second time"
    if isinstance(error, configparser.DuplicateSectionError):
        return error.lineno, f"expected [{error.section}] once, and this is the second time"
    if isinstance(error, configparser.MissingSectionHeaderError):
        return error.lineno, "expected the name of a section first, as [base]"
    assert isinstance(error, configparser.ParsingError)
    return error.errors[0][0], "expected `name = value`"
