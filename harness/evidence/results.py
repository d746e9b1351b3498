"""What a run found out, as data: the content of `result.json`."""

from __future__ import annotations

import json
import os
import tempfile
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, get_type_hints

from harness.errors import ResultError
from harness.evidence.fitting import fit

SCHEMA = 1

NO_DEVICE = "no device"
"""What stands for the device of a test that uses none."""


class Verdict(StrEnum):
    """How one test ended on one device."""

    PASSED = "passed"
    FAILED = "failed"
    BOOT = "error: boot"
    INFRASTRUCTURE = "error: infrastructure"
    SUITE = "error: suite"
    NOT_APPLICABLE = "not applicable"
    SKIPPED = "skipped"
    XFAILED = "expected failure"
    XPASSED = "unexpected pass"

    @property
    def is_error(self) -> bool:
        """Nothing was learned about the device under test."""
        return self in (Verdict.BOOT, Verdict.INFRASTRUCTURE, Verdict.SUITE)

    @property
    def is_bad(self) -> bool:
        """The test failed, or there was an error."""
        return self is Verdict.FAILED or self.is_error

    @property
    def words(self) -> str:
        """As people say it: "boot error"."""
        kind, _, of = self.partition(": ")
        return f"{of} {kind}" if of else kind


class RunVerdict(StrEnum):
    """How a run ended as a whole."""

    PASSED = "passed"
    FAILED = "failed"
    ERROR = "error"


@dataclass(frozen=True)
class DeviceInfo:
    """A device that the run was asked for.

    @param facts: what it was made of: image key, kernel, QEMU, accelerator, Python, the hash of
        the library's wheel.
    """

    name: str
    arch: str
    facts: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class EvidenceFile:
    """A file that a test left.

    @param path: relative to the report's folder, with forward slashes; empty if it could not be
        kept.
    @param tail: its last lines; why it was not kept.
    """

    name: str
    path: str
    tail: str = ""


@dataclass(frozen=True)
class Measurement:
    """A time that a test measured.

    @param name: what it took that long to do, a verb: `rejoin`.
    @param fault: after what: `router restarted`.
    """

    name: str
    seconds: float
    fault: str = ""


@dataclass(frozen=True)
class TestResult:
    """One test on one device.

    @param id: pytest's name of it, without the device.
    @param title: the first line of its docstring.
    @param device: which of `RunResult.devices`, or `NO_DEVICE`.
    @param message: one line that says what went wrong, or why it does not apply.
    @param details: longer text: a traceback, what an error shows as evidence.
    """

    __test__ = False  # pytest collects by the name

    id: str
    suite: str
    title: str
    device: str
    verdict: Verdict
    seconds: float
    message: str = ""
    details: str = ""
    evidence: tuple[EvidenceFile, ...] = ()
    measurements: tuple[Measurement, ...] = ()


@dataclass(frozen=True)
class RunResult:
    """A whole run.

    @param started: seconds since the epoch, as `finished`.
    @param versions: of everything on the host that took part: name to version or hash.
    @param host: the machine it ran on: name to value.
    @param problem: why the run as a whole can't be trusted, such as "interrupted"; else empty.
    @param not_run: pytest's names of the tests that should have run and did not, or did not end.
    @param deselected: how many tests were left out on purpose, by `-m`, `-k` or `--deselect`.
    """

    started: float
    finished: float
    command: str
    verdict: RunVerdict
    devices: tuple[DeviceInfo, ...]
    versions: dict[str, str]
    tests: tuple[TestResult, ...]
    host: dict[str, str]
    problem: str = ""
    not_run: tuple[str, ...] = ()
    deselected: int = 0

    @property
    def sentence(self) -> str:
        """What a person says of it: "38 tests on 2 devices: 74 passed, 1 failed, 1 boot error"."""
        tests = _counted(len({test.id for test in self.tests}), "test")
        used = self.devices or not self.tests
        where = f" on {_counted(len(self.devices), 'device')}" if used else ""
        counts = Counter(test.verdict for test in self.tests)
        found = [f"{counts[verdict]} {verdict.words}" for verdict in Verdict if counts[verdict]]
        found = found or ["nothing ran"]
        if self.not_run:
            found.append(f"{len(self.not_run)} did not run")
        if self.deselected:
            found.append(f"{self.deselected} deselected")
        return f"{tests}{where}: {', '.join(found)}"

    def to_json(self) -> str:
        """@return: the text of `result.json`."""
        return json.dumps({"schema": SCHEMA, **asdict(self)}, indent=1) + "\n"

    def fitted(self) -> RunResult:
        """The same with all texts fit to be written anywhere, see L{fit}."""
        return RunResult.from_json(json.dumps(fit(json.loads(self.to_json()))))

    @classmethod
    def from_json(cls, text: str) -> RunResult:
        """@raise ResultError: it is not a result, or one of another schema."""
        try:
            data = json.loads(text)
            schema = data.pop("schema")
        except (ValueError, TypeError, AttributeError, KeyError, RecursionError) as error:
            raise ResultError("this is not the result of a run") from error
        if schema != SCHEMA:
            raise ResultError(
                f"the result has schema {schema!r}, this harness reads {SCHEMA}",
                hint="read it with the version of the harness that wrote it",
            )
        try:
            found = cls(
                **data
                | {
                    "verdict": RunVerdict(data["verdict"]),
                    "devices": tuple(DeviceInfo(**device) for device in data["devices"]),
                    "tests": tuple(_test(test) for test in data["tests"]),
                    "not_run": tuple(data.get("not_run", ())),
                }
            )
            parts: list[RunResult | DeviceInfo | TestResult] = [found, *found.devices, *found.tests]
            for each in parts:
                _check_types(each)
            return found
        except (KeyError, TypeError, ValueError) as error:
            raise ResultError(f"the result is damaged: {error}") from error

    def write(self, path: Path) -> None:
        """Write `result.json`, whole or not at all."""
        write_text(path, self.to_json())


def run_verdict(
    devices: Iterable[DeviceInfo],
    tests: Sequence[TestResult],
    problem: str = "",
    not_run: Sequence[str] = (),
) -> RunVerdict:
    """The verdict of a run: passed only if something passed on every device and nothing is wrong.

    @param problem: as in L{RunResult}, and so is `not_run`.
    """
    verdicts = {test.verdict for test in tests}
    if Verdict.FAILED in verdicts:
        return RunVerdict.FAILED
    proven = {test.device for test in tests if test.verdict is Verdict.PASSED}
    wanted = {device.name for device in devices}
    incomplete = problem or not_run or any(verdict.is_error for verdict in verdicts)
    if incomplete or not proven or wanted - proven:
        return RunVerdict.ERROR
    return RunVerdict.PASSED


def write_text(path: Path, text: str) -> None:
    """Replace a file at once, so that a reader never sees half of it."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _check_types(found: RunResult | DeviceInfo | TestResult) -> None:
    """@raise TypeError: a field that is text or a number is none."""
    kinds = get_type_hints(type(found))
    for name, kind in kinds.items():
        value = getattr(found, name)
        number = (int, float) if kind is float else kind
        if kind in (str, int, float) and not isinstance(value, number):
            raise TypeError(f"{name} is {type(value).__name__}")


def _test(data: dict[str, Any]) -> TestResult:
    return TestResult(
        **data
        | {
            "verdict": Verdict(data["verdict"]),
            "evidence": tuple(EvidenceFile(**item) for item in data["evidence"]),
            "measurements": tuple(Measurement(**item) for item in data["measurements"]),
        }
    )


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
