"""Tests by devices: the order in which the page and the terminal show them."""

from __future__ import annotations

from dataclasses import dataclass

from harness.evidence.results import RunResult, TestResult


@dataclass(frozen=True)
class Line:
    """One test.

    @param cells: for each device of the run, what it got there: usually one result, none if the
        test did not run.
    """

    id: str
    function: str
    title: str
    cells: tuple[tuple[TestResult, ...], ...]


def devices(result: RunResult) -> list[str]:
    """The names of the columns: the run's devices, then any that only a test speaks of."""
    names = dict.fromkeys(device.name for device in result.devices)
    return list(names | dict.fromkeys(test.device for test in result.tests))


def grid(result: RunResult) -> dict[str, list[Line]]:
    """@return: for each suite its lines, both in the order in which they ran."""
    found: dict[str, dict[str, list[TestResult]]] = {}
    for test in result.tests:
        found.setdefault(test.suite, {}).setdefault(test.id, []).append(test)
    names = devices(result)
    return {
        suite: [
            Line(
                id,
                id.rpartition("::")[2],
                _title(results[0]),
                tuple(tuple(r for r in results if r.device == name) for name in names),
            )
            for id, results in lines.items()
        ]
        for suite, lines in found.items()
    }


def _title(test: TestResult) -> str:
    """What the test says of itself, with its parameters: they alone tell its variants apart."""
    function = test.id.rpartition("::")[2]
    parameters = function.partition("[")[1] + function.partition("[")[2]
    return f"{test.title} {parameters}".rstrip() if test.title else function
