"""Where the dots of the plot of measured times go.

Positions are percentages of the width of a row, so that the page can give a row any width while
its text keeps its size.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from harness.evidence.results import RunResult, Verdict

LOGARITHMIC_FROM = 20.0  # ratio of the longest to the shortest time
MARGIN = 4.0  # per cent kept free at both ends, so that the outer dots and ticks are whole
TICKS = 7


@dataclass(frozen=True)
class Dot:
    x: float
    seconds: float
    passed: bool
    test: str


@dataclass(frozen=True)
class Row:
    """The times of one device after one fault.

    @param series: the device's place among the run's devices: its colour and shape.
    """

    fault: str
    device: str
    series: int
    dots: tuple[Dot, ...]
    median: float
    median_x: float
    longest: float


@dataclass(frozen=True)
class Plot:
    """All times of one name on one axis, rows of one fault together.

    @param ticks: places and labels on the axis.
    """

    name: str
    logarithmic: bool
    ticks: tuple[tuple[float, str], ...]
    faults: tuple[tuple[str, tuple[Row, ...]], ...]


class Axis:
    """Seconds to per cent of the width; logarithmic when the times differ by a large factor."""

    def __init__(self, times: Sequence[float]) -> None:
        low, high = min(times), max(times)
        positive = [time for time in times if time > 0]
        self.logarithmic = len(positive) == len(times) and high / low > LOGARITHMIC_FROM
        if self.logarithmic:
            inside = [step for step in _steps(low, high) if low <= step <= high]
            self._low, self._high = math.log10(low), math.log10(high)
        else:
            step = _round_step((high or 1.0) / (TICKS - 1))
            inside = [step * number for number in range(math.ceil((high or 1.0) / step) + 1)]
            self._low, self._high = 0.0, inside[-1]
        self.ticks = tuple((self.place(tick), f"{tick:g} s") for tick in inside)

    def place(self, seconds: float) -> float:
        value = math.log10(seconds) if self.logarithmic else seconds
        share = (value - self._low) / (self._high - self._low)
        return round(MARGIN + share * (100 - 2 * MARGIN), 2)


def plots(result: RunResult) -> list[Plot]:
    """@return: a plot for each name of measurement, in the order in which tests made them."""
    names = {item.name: None for test in result.tests for item in test.measurements}
    return [_plot(result, name) for name in names]


def duration(seconds: float) -> str:
    """A time as people write it: `0.42 s`, `3.1 s`, `42 s`, `12 min 5 s`."""
    if seconds >= 120:
        minutes, rest = divmod(round(seconds), 60)
        if minutes >= 120:
            return f"{minutes // 60} h {minutes % 60} min"
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    if seconds >= 10:
        return f"{seconds:.0f} s"
    return f"{seconds:.1f} s" if seconds >= 1 else f"{seconds:.2f} s"


def _plot(result: RunResult, name: str) -> Plot:
    found: dict[str, dict[str, list[tuple[float, bool, str]]]] = {}
    for test in result.tests:
        for item in test.measurements:
            if item.name == name:
                times = found.setdefault(item.fault, {}).setdefault(test.device, [])
                times.append((item.seconds, test.verdict is Verdict.PASSED, test.title or test.id))
    axis = Axis(
        [time for rows in found.values() for times in rows.values() for time, _, _ in times]
    )
    order = [device.name for device in result.devices]
    order += sorted({device for rows in found.values() for device in rows} - set(order))
    faults = tuple(
        (
            fault,
            tuple(
                _row(axis, fault, device, order.index(device), rows[device])
                for device in order
                if device in rows
            ),
        )
        for fault, rows in found.items()
    )
    return Plot(name, axis.logarithmic, axis.ticks, faults)


def _row(
    axis: Axis, fault: str, device: str, series: int, times: list[tuple[float, bool, str]]
) -> Row:
    middle = median(seconds for seconds, _, _ in times)
    dots = tuple(Dot(axis.place(seconds), seconds, passed, test) for seconds, passed, test in times)
    longest = max(seconds for seconds, _, _ in times)
    return Row(fault, device, series, dots, middle, axis.place(middle), longest)


def _steps(low: float, high: float) -> list[float]:
    """Round times around two on a logarithmic axis: 1, 2, 5, 10 or, over more decades, fewer."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    span = math.log10(high / low)
    factors = next(f for f in ([1, 2, 5], [1, 3], [1]) if span * len(f) <= TICKS or len(f) == 1)
    return [factor * 10.0**decade for decade in decades for factor in factors]


def _round_step(rough: float) -> float:
    """The next of 1, 2 and 5 times a power of ten."""
    decade = 10.0 ** math.floor(math.log10(rough))
    return float(next(factor * decade for factor in (1, 2, 5, 10) if factor * decade >= rough))
