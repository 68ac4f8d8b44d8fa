"""Positions of what the report draws as SVG: how the clips of a metric lie, and paired differences around zero."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from hifigan_rt.tools.evaluation.numbers import number
from hifigan_rt.tools.evaluation.published import band
from hifigan_rt.tools.evaluation.results import EvaluationResult, Metric, MetricSummary
from hifigan_rt.tools.evaluation.statistics import Interval

WIDTH = 320
MARGIN = 12
ROW_HEIGHT = 38
DOTS_HEIGHT = 24
"""Height of a row; the mean lies below."""
_DOT = 4
"""Units of the axis within which dots are stacked."""
_STACK = 16
"""Units that a stack may take upwards and downwards together."""


@dataclass(frozen=True)
class Axis:
    """A straight scale from `low` at the left margin to `high` at the right one."""

    low: float
    high: float

    def position(self, value: float) -> float:
        """Place a value in units of the drawing, to a tenth; what lies outside is at the end."""
        share = (min(max(value, self.low), self.high) - self.low) / (self.high - self.low)
        return round(MARGIN + share * (WIDTH - 2 * MARGIN), 1)

    def place(self, value: float) -> float | None:
        """The position, or None for what is not finite."""
        return self.position(value) if math.isfinite(value) else None

    @property
    def ticks(self) -> tuple[tuple[float, str], ...]:
        """Positions and texts of three to six round values."""
        power = 10.0 ** math.ceil(math.log10(self.high - self.low))
        for step in (power * factor for factor in (1, 0.5, 0.2, 0.1, 0.05, 0.02)):
            first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
            if last - first >= 2:
                break
        digits = max(0, -math.floor(math.log10(step) + 1e-9))
        values = [index * step for index in range(first, last + 1)]
        return tuple((self.position(value), f"{value:,.{digits}f}".replace("-", "−")) for value in values)


@dataclass(frozen=True)
class Strip:
    """The clips of one system in one metric."""

    system: int
    dots: str
    """An SVG path of lines without length, which round caps turn into dots: a tenth of the size of circles."""
    mean: float | None
    low: float | None
    high: float | None
    median: float | None
    label: str
    """Text for those who do not see it."""


@dataclass(frozen=True)
class Distribution:
    """One metric, the systems above each other."""

    metric: Metric
    strips: tuple[Strip, ...]
    ticks: tuple[tuple[float, str], ...]
    band: tuple[float, float] | None
    """Left end and width of what is published."""


def distributions(result: EvaluationResult) -> list[Distribution]:
    """Draw every metric that has a finite value."""
    drawn = []
    for metric in result.metrics:
        values = [
            [
                row.scores[metric.key].value
                for row in result.scores_of(system.name)
                if metric.key in row.scores and math.isfinite(row.scores[metric.key].value)
            ]
            for system in result.systems
        ]
        if any(values):
            drawn.append(_distribution(result, metric, values))
    return drawn


def difference_axis(intervals: Sequence[Interval]) -> Axis:
    """A scale around zero that holds all of them."""
    ends = [value for entry in intervals for value in (entry.mean, entry.low, entry.high) if math.isfinite(value)]
    reach = max((abs(value) for value in ends), default=0.0) or 1.0
    return Axis(-1.1 * reach, 1.1 * reach)


def _distribution(result: EvaluationResult, metric: Metric, values: Sequence[Sequence[float]]) -> Distribution:
    published = band(metric.key)
    ends = [value for row in values for value in row] + ([published.low, published.high] if published else [])
    low, high = _widened(
        min(ends), max(ends), [result.summary_of(system.name, metric.key) for system in result.systems]
    )
    # All equal: the axis still needs a width, and the value the middle of it.
    slack = 0.03 * (high - low) or max(abs(low) * 0.1, 0.1)
    axis = Axis(low - slack, high + slack)
    strips = tuple(_strip(result, metric, index, row, axis) for index, row in enumerate(values))
    left = axis.position(published.low) if published else 0.0
    stripe = (left, round(axis.position(published.high) - left, 1)) if published else None
    return Distribution(metric, strips, axis.ticks, stripe)


def _widened(low: float, high: float, summaries: Sequence[MetricSummary | None]) -> tuple[float, float]:
    """Make room for intervals, but not for all of one that few clips make far wider than they lie: it runs out."""
    intervals = [entry.summary.interval for entry in summaries if entry]
    ends = [value for entry in intervals for value in (entry.low, entry.high) if math.isfinite(value)]
    room = (high - low) / 2
    return min([low, *(max(value, low - room) for value in ends)]), max(
        [high, *(min(value, high + room) for value in ends)]
    )


def _strip(result: EvaluationResult, metric: Metric, index: int, values: Sequence[float], axis: Axis) -> Strip:
    name = result.systems[index].name
    entry = result.summary_of(name, metric.key)
    if entry is None or not values:
        return Strip(index, "", None, None, None, None, f"{name}: no values")
    interval, median = entry.summary.interval, entry.summary.median
    label = (
        f"{name}: mean {number(interval.mean, metric)}, median {number(median, metric)}, "
        f"from {number(min(values), metric)} to {number(max(values), metric)}, clips {len(values)}"
    )
    mean, low, high, middle = map(axis.place, (interval.mean, interval.low, interval.high, median))
    return Strip(index, _dots(values, axis, ROW_HEIGHT * index), mean, low, high, middle, label)


def _dots(values: Sequence[float], axis: Axis, top: int) -> str:
    positions = sorted(axis.position(value) for value in values)
    columns: dict[int, list[float]] = {}
    for position in positions:
        columns.setdefault(int(position / _DOT), []).append(position)
    step = min(_DOT, _STACK / max(map(len, columns.values())))
    parts = []
    for stack in columns.values():
        for place, position in enumerate(stack):
            offset = (place + 1) // 2 * step * (-1 if place % 2 else 1)
            parts.append(f"M{position:g} {top + DOTS_HEIGHT / 2 + offset:g}h0")
    return "".join(parts)
