"""A router image that somebody brings: the YAML file that says what it is.

Everything in it is checked when it is read, so that a mistake is one line before anything runs.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

import yaml

from harness.device.file.shell import asked
from harness.errors import UsageError
from harness.image import ARCHITECTURES, Architecture

T = TypeVar("T")

_KEYS = {
    "": "image architecture disk root kernel initrd append memory console network library",
    "console": "prompt login password password_file password_variable timeout",
    "network": "mgmt wan addresses",
}
_LIBRARY: Mapping[str, Literal["install", "installed"]] = {
    "install": "install",
    "installed": "installed",
}
_ADDRESSES: Mapping[str, Literal["dhcp", "set"]] = {"dhcp": "dhcp", "set": "set"}
LONGEST = 1 << 20
"""Bytes of a description, at most."""

LEAST_MEMORY, MOST_MEMORY = 32, 8192
BOOT_SECONDS = 180


@dataclass(frozen=True)
class Prompt:
    """The way in over the console. @param pattern: regular expression of the shell's prompt.
    @param timeout: seconds from power on until it is there."""

    pattern: str
    login: str = ""
    password: str = field(default="", repr=False)
    timeout: float = BOOT_SECONDS


@dataclass(frozen=True)
class Network:
    """Names of the two network cards. @param addresses: who gives them theirs: the system itself
    asks (`dhcp`), or the harness types them after each boot (`set`)."""

    mgmt: str
    wan: str
    addresses: Literal["dhcp", "set"] = "set"


@dataclass(frozen=True)
class Firmware:
    """What a user brings. @param disk: what is booted from, or the root of the kernel.
    @param memory: MiB. @param library: whether the daemon is there, or has to be installed."""

    path: Path
    architecture: Architecture
    disk: Path | None
    kernel: Path | None
    initrd: Path | None
    append: str
    memory: int
    console: Prompt
    network: Network
    library: Literal["install", "installed"]

    @property
    def files(self) -> list[Path]:
        """Those that it is made of."""
        return [path for path in (self.disk, self.kernel, self.initrd) if path is not None]


def load(path: Path) -> Firmware:
    """Read the description of an image; files that it names are looked for beside it.

    @raise UsageError: it can't be used; names the file and the key, and says what to do.
    """
    return _Reader(path).firmware()


class _Reader:
    def __init__(self, path: Path) -> None:
        self._path = path

    def _bad(self, why: str, hint: str = "") -> UsageError:
        return UsageError(f"{self._path}: {why}", hint=hint or "docs/firmware.md")

    def firmware(self) -> Firmware:
        content = self._content()
        self._known("", content)
        if content.get("image") != "file":
            raise self._bad(f"image is {content.get('image')!r}", "write `image: file`")
        architecture = self._choice(content, "architecture", ARCHITECTURES)
        disk, root = self._file(content, "disk"), self._file(content, "root")
        kernel, initrd = self._file(content, "kernel"), self._file(content, "initrd")
        if disk is not None and root is not None:
            raise self._bad("it has both disk and root", "a disk to boot from, or a root of kernel")
        if kernel is None:
            for key in ("root", "initrd", "append"):
                if key in content:
                    raise self._bad(f"{key} without kernel", "name the kernel, or use disk alone")
            if disk is None:
                raise self._bad("there is neither disk nor kernel", "name what is to be booted")
        return Firmware(
            path=self._path,
            architecture=architecture,
            disk=disk or root,
            kernel=kernel,
            initrd=initrd,
            append=self._text(content, "append", ""),
            memory=self._number(content, "memory", 256, LEAST_MEMORY, MOST_MEMORY, "MiB"),
            console=self._prompt(self._section(content, "console")),
            network=self._network(self._section(content, "network")),
            library=self._choice(content, "library", _LIBRARY, "install"),
        )

    def _text_of_file(self) -> str:
        if self._path.exists() and not self._path.is_file():
            raise OSError(errno.EINVAL, "it is no file")
        with self._path.open("rb") as file:
            data = file.read(LONGEST + 1)
        if len(data) > LONGEST:
            raise OSError(errno.EFBIG, "it is too long for a description")
        return data.decode()

    def _content(self) -> dict[str, Any]:
        try:
            content = yaml.safe_load(self._text_of_file())
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is not text"
            raise self._bad(
                f"can't be read: {why}", "name a YAML file: file:router.yaml"
            ) from error
        except (yaml.YAMLError, ValueError, AttributeError, RecursionError) as error:
            mark = getattr(error, "problem_mark", None)
            where = f"line {mark.line + 1}: " if mark else ""
            fault = self._bad(f"no YAML: {where}it can't be parsed")  # PyYAML quotes what is there
        else:
            if isinstance(content, dict):
                return content
            fault = self._bad("no keys in it")
        raise fault

    def _known(self, section: str, content: Mapping[str, Any]) -> None:
        known = _KEYS[section].split()
        for key in content:
            if key not in known:
                name = f"{section}.{key}" if section else str(key)
                raise self._bad(f"unknown key {name}", f"there are {', '.join(known)}")

    def _section(self, content: Mapping[str, Any], key: str) -> dict[str, Any]:
        section = content.get(key)
        if not isinstance(section, dict):
            raise self._bad(f"{key} is missing" if section is None else f"{key} has no keys")
        self._known(key, section)
        return section

    def _text(self, content: Mapping[str, Any], key: str, default: str | None = None) -> str:
        value = content.get(key, default)
        if value is None:
            raise self._bad(f"{key} is missing")
        if not isinstance(value, str):
            raise self._bad(f"{key} is no text", "put it in quotes")
        return value

    def _number(
        self, content: Mapping[str, Any], key: str, default: int, least: int, most: int, unit: str
    ) -> int:
        value = content.get(key, default)
        if type(value) is not int or not least <= value <= most:
            raise self._bad(f"{key} is {value!r}", f"a number of {unit}, {least} to {most}")
        return value

    def _choice(
        self,
        content: Mapping[str, Any],
        key: str,
        known: Mapping[str, T],
        default: str | None = None,
    ) -> T:
        value = content.get(key, default)
        if not isinstance(value, str) or value not in known:
            why = f"{key} is missing" if value is None else f"{key} is {value!r}"
            raise self._bad(why, f"there are {', '.join(known)}")
        return known[value]

    def _file(self, content: Mapping[str, Any], key: str) -> Path | None:
        if key not in content:
            return None
        path = (self._path.parent / self._text(content, key)).absolute()
        if not path.is_file():
            raise self._bad(f"{key}: there is no file {path}")
        if not os.access(path, os.R_OK):
            raise self._bad(f"{key}: {path} can't be read", f"chmod u+r {path}")
        return path

    def _prompt(self, section: Mapping[str, Any]) -> Prompt:
        pattern = self._text(section, "prompt")
        try:
            compiled = asked(pattern)
        except re.error as error:
            raise self._bad(f"console.prompt is no regular expression: {error.msg}") from error
        if compiled.search("") is not None:
            raise self._bad(
                "console.prompt matches nothing at all", "have it match the prompt alone"
            )
        return Prompt(
            pattern,
            self._text(section, "login", ""),
            self._password(section),
            self._number(section, "timeout", BOOT_SECONDS, 1, 3600, "seconds"),
        )

    def _password(self, section: Mapping[str, Any]) -> str:
        given = [key for key in section if key.startswith("password")]
        if len(given) > 1:
            raise self._bad(f"console has both {' and '.join(given)}", "one of them is enough")
        if "password_variable" in section:
            name = self._text(section, "password_variable")
            if name not in os.environ:
                raise self._bad(f"the variable {name} is not set", f"export {name}=…")
            return os.environ[name]
        if (path := self._file(section, "password_file")) is not None:
            if path.stat().st_mode & 0o077:
                raise self._bad(f"others may read {path}", f"chmod 600 {path}")
            return path.read_text(encoding="utf-8").rstrip("\n")
        password = self._text(section, "password", "")
        if password and self._path.stat().st_mode & 0o077:
            hint = f"chmod 600 {self._path}, or use password_file or password_variable"
            raise self._bad("others may read the password in it", hint)
        return password

    def _network(self, section: Mapping[str, Any]) -> Network:
        cards = [self._text(section, key) for key in ("mgmt", "wan")]
        for key, card in zip(("mgmt", "wan"), cards, strict=True):
            if not re.fullmatch(r"[\w.@-]{1,15}", card):
                raise self._bad(f"network.{key} is {card!r}", "the name of a card, such as eth0")
        who = self._choice(section, "addresses", _ADDRESSES, "set")
        return Network(cards[0], cards[1], who)
