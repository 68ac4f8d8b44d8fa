"""The rows of the report's tables."""

from __future__ import annotations

import math
from dataclasses import dataclass

from hifigan_rt.tools.evaluation.metrics import leading
from hifigan_rt.tools.evaluation.numbers import average, covered, number, published_text, score
from hifigan_rt.tools.evaluation.published import OTHER_TRACKER
from hifigan_rt.tools.evaluation.report.drawings import Axis, difference_axis
from hifigan_rt.tools.evaluation.results import ClipScores, Difference, EvaluationResult, Metric, MetricSummary
from hifigan_rt.tools.tables import UNKNOWN, counted

_FIRST_COLUMNS = 7
_LEAST_COLUMNS = 4


@dataclass(frozen=True)
class SummaryCell:
    """One metric of one system."""

    mean: str
    interval: str
    median: str
    remark: str
    """How many clips have no value, or an infinite one."""


@dataclass(frozen=True)
class SummaryRow:
    metric: Metric
    cells: tuple[SummaryCell, ...]
    published: str
    """Empty if nothing comparable is."""
    other_tracker: bool


@dataclass(frozen=True)
class DifferenceCell:
    """One paired difference, as text and as positions in its drawing."""

    difference: Difference
    text: str
    interval: str
    mean: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class DifferenceRow:
    metric: Metric
    cells: tuple[DifferenceCell | None, ...]
    """One per comparison."""


@dataclass(frozen=True)
class ScoreCell:
    text: str
    sort: str
    """The number to sort and to filter by; empty if there is none."""
    reason: str


@dataclass(frozen=True)
class ClipRow:
    """One system on one clip."""

    clip: int
    system: int
    scores: ClipScores
    cells: tuple[ScoreCell, ...]


def summary_rows(result: EvaluationResult) -> list[SummaryRow]:
    """One row per metric, one cell per system."""
    rows = []
    for metric in result.metrics:
        cells = tuple(_summary_cell(result.summary_of(system.name, metric.key), metric) for system in result.systems)
        rows.append(SummaryRow(metric, cells, published_text(metric), metric.key in OTHER_TRACKER))
    return rows


def difference_rows(result: EvaluationResult) -> list[DifferenceRow]:
    """One row per metric that a comparison has, one cell per comparison; a row shares its scale."""
    rows = []
    for metric in result.metrics:
        found = [
            next((entry for entry in comparison.differences if entry.metric == metric.key), None)
            for comparison in result.comparisons
        ]
        axis = difference_axis([entry.interval for entry in found if entry])
        if any(found):
            cells = tuple(
                _difference_cell(entry, comparison.clips, metric, axis) if entry else None
                for entry, comparison in zip(found, result.comparisons, strict=True)
            )
            rows.append(DifferenceRow(metric, cells))
    return rows


def clip_rows(result: EvaluationResult) -> list[ClipRow]:
    """Rows in the order of the clips, the systems of one clip together."""
    clips = {clip.name: index for index, clip in enumerate(result.clips)}
    systems = {system.name: index for index, system in enumerate(result.systems)}
    rows = [
        ClipRow(
            clips[row.clip], systems[row.system], row,
            tuple(_score_cell(row, metric) for metric in result.metrics),
        )
        for row in result.scores
    ]  # fmt: skip
    return sorted(rows, key=lambda row: (row.clip, row.system))


def first_columns(result: EvaluationResult) -> set[str]:
    """Metrics that the table of clips shows before the reader chooses."""
    keys = [metric.key for metric in result.metrics]
    chosen = leading(keys, _FIRST_COLUMNS)
    others = [key for key in keys if key not in chosen]
    return set(chosen + others[: max(0, _LEAST_COLUMNS - len(chosen))])


def _summary_cell(entry: MetricSummary | None, metric: Metric) -> SummaryCell:
    if entry is None:
        return SummaryCell(UNKNOWN, "", "", "not computed")
    summary = entry.summary
    interval = summary.interval
    ends = ""
    if math.isfinite(interval.low) and math.isfinite(interval.high):
        ends = f"{number(interval.low, metric)} to {number(interval.high, metric)}"
    remarks = []
    if summary.infinite:
        remarks.append(f"{counted(summary.infinite, 'clip')} {average(math.inf, metric)}")
    if summary.minus_infinite:
        remarks.append(f"{counted(summary.minus_infinite, 'clip')} {average(-math.inf, metric)}")
    if summary.undefined:
        remarks.append(f"{counted(summary.undefined, 'clip')} without a value")
    median = number(summary.median, metric) if math.isfinite(summary.median) else ""
    return SummaryCell(number(interval.mean, metric), ends, median, ", ".join(remarks))


def _difference_cell(entry: Difference, clips: int, metric: Metric, axis: Axis) -> DifferenceCell:
    mean, low, high = entry.interval.mean, entry.interval.low, entry.interval.high
    interval = ""
    if math.isfinite(low) and math.isfinite(high):
        interval = f"{number(low, metric, signed=True)} to {number(high, metric, signed=True)}"
    elif entry.interval.of_equal:
        interval = "all differences are equal: no interval"
    text = number(mean, metric, signed=True)
    interval += covered(entry.interval.count, clips)
    return DifferenceCell(entry, text, interval, axis.place(mean), axis.place(low), axis.place(high))


def _score_cell(row: ClipScores, metric: Metric) -> ScoreCell:
    entry = row.scores.get(metric.key)
    if entry is None:
        return ScoreCell(UNKNOWN, "", row.failed or "not computed")
    sort = "" if math.isnan(entry.value) else f"{entry.value:.7g}".replace("inf", "Infinity")
    return ScoreCell(score(entry, metric), sort, "" if sort else entry.reason or "not defined for this clip")
