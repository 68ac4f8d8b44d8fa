"""An evaluation for the terminal: a table of means beside what is published, the worst clips, and plain sentences."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from hifigan_rt.tools.evaluation.metrics import leading
from hifigan_rt.tools.evaluation.metrics.signals import CROPPED
from hifigan_rt.tools.evaluation.numbers import average, covered, number, published_text, uneven
from hifigan_rt.tools.evaluation.published import OTHER_TRACKER
from hifigan_rt.tools.evaluation.results import EvaluationResult, Metric, MetricSummary
from hifigan_rt.tools.evaluation.summary import describe_limit
from hifigan_rt.tools.tables import UNKNOWN, aligned

_WORST_OF = 4
"""Metrics whose worst clips are named; the files have all."""


def to_text(result: EvaluationResult) -> str:
    """Everything a person wants to know first."""
    blocks = [_head(result), _table(result), _worst(result), _findings(result)]
    return "\n\n".join("\n".join(lines) for lines in map(list, blocks) if lines) + "\n"


def _head(result: EvaluationResult) -> Iterator[str]:
    yield f"{result.data_set}, {result.sample_rate} Hz"
    for system in result.systems:
        if system.kind == "folder":
            yield f"  {system.name}: audio in {system.model!r}"
        else:
            mels = f", from mels in {system.mels!r}" if system.mels else ""
            yield f"  {system.name}: {system.model} on {system.runtime}, {system.precision}, {system.device}{mels}"


def _table(result: EvaluationResult) -> Iterator[str]:
    """Mean and half the interval's width; only the mean where there is no interval."""
    rows = []
    for metric in result.metrics:
        cells = [_mean(result.summary_of(system.name, metric.key), metric) for system in result.systems]
        published = published_text(metric)
        star = "*" if published and metric.key in OTHER_TRACKER else ""
        rows.append([_title(metric), *cells, published + star])
    yield from aligned(["metric", *(system.name for system in result.systems), "published"], rows)
    yield "mean ± half of its 95 % confidence interval; published: HiFi-GAN V1, from the least to the greatest figure"
    if any(uneven(entry.summary.interval) for entry in result.summaries):
        yield "mean (one end to the other) where the interval reaches much farther on one side"
    if any(metric.key in OTHER_TRACKER for metric in result.metrics):
        yield "* published with another F0 tracker: near, not equal"


def _title(metric: Metric) -> str:
    sign = {"higher": " ↑", "lower": " ↓", "neither": ""}[metric.direction]
    unit = f" ({metric.unit})" if metric.unit else ""
    return f"{metric.title}{unit}{sign}"


def _mean(entry: MetricSummary | None, metric: Metric) -> str:
    if entry is None or math.isnan(entry.summary.interval.mean):
        return UNKNOWN
    interval = entry.summary.interval
    text = average(interval.mean, metric)
    if math.isfinite(interval.low) and uneven(interval):
        text += f" ({number(interval.low, metric)} to {number(interval.high, metric)})"
    elif math.isfinite(interval.low):
        text += f" ± {number((interval.high - interval.low) / 2, metric)}"
    return text + covered(entry.summary.counted, entry.summary.clips)


def _worst(result: EvaluationResult) -> Iterator[str]:
    first = result.systems[0].name
    metrics = {metric.key: metric for metric in result.metrics}
    entries = [result.summary_of(first, key) for key in leading(metrics)]
    for entry in [entry for entry in entries if entry is not None and entry.worst][:_WORST_OF]:
        metric = metrics[entry.metric]
        clips = ", ".join(f"{clip.clip} {number(clip.value, metric)}" for clip in entry.worst)
        yield f"worst {metric.title}: {clips}"


def _findings(result: EvaluationResult) -> Iterator[str]:
    yield from (comparison.sentence for comparison in result.comparisons)
    metrics = {metric.key: metric for metric in result.metrics}
    yield from (describe_limit(check, metrics[check.metric]) for check in result.limits)


def remarks(result: EvaluationResult) -> Iterator[str]:
    """What is odd, for standard error: what was left out, what failed, what the metrics did not expect."""
    left_out: dict[str, list[str]] = {}
    for key, reason in result.left_out.items():
        left_out.setdefault(reason, []).append(key)
    for reason, keys in left_out.items():
        yield reason if repr(keys[0]) in reason else f"left out {', '.join(keys)}: {reason}"
    for system in result.systems:
        yield from (f"{system.name}: {note}" for note in system.notes)
    yield from result.notes
    yield from _gathered([("recording", clip.name, note) for clip in result.clips for note in clip.notes])
    # The ends that a frame or an encoder leaves over are no news; whole lengths that differ are among the notes above.
    odd = [(row.system, row.clip, note) for row in result.scores for note in row.notes if not note.startswith(CROPPED)]
    yield from _gathered(odd)
    reasons = [
        (row.system, row.clip, f"no {key}: {score.reason}")
        for row in result.scores
        for key, score in row.scores.items()
        if math.isnan(score.value)
    ]
    yield from _gathered(reasons)


def _gathered(entries: Sequence[tuple[str, str, str]]) -> Iterator[str]:
    """One line for what is the same of several clips."""
    clips: dict[tuple[str, str], list[str]] = {}
    for group, clip, text in entries:
        clips.setdefault((group, text), []).append(clip)
    for (group, text), names in clips.items():
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        yield f"{group} {names[0]!r}{more}: {text}"


def failures(result: EvaluationResult) -> list[tuple[str, str]]:
    """What could not be evaluated: system and clip, and why."""
    broken = {clip.name for clip in result.clips if clip.problem is not None}
    return [
        *((clip.name, clip.problem) for clip in result.clips if clip.problem is not None),
        *((f"{row.system}, {row.clip}", row.failed) for row in result.scores if row.failed and row.clip not in broken),
    ]
