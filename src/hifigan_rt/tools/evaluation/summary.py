"""What the scores of all clips say together: summaries with the worst clips, limits, and one line for other tables."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from hifigan_rt.tools.evaluation.metrics import leading
from hifigan_rt.tools.evaluation.metrics.results import GENERATED
from hifigan_rt.tools.evaluation.numbers import covered, decimals, number
from hifigan_rt.tools.evaluation.results import ClipScores, LimitCheck, Metric, MetricSummary, WorstClip
from hifigan_rt.tools.evaluation.statistics import summarize
from hifigan_rt.tools.tables import counted

WORST_CLIPS = 3

_ACCURACY_METRICS = 3
"""How many metrics a line about accuracy tells."""


def summarize_system(rows: Sequence[ClipScores], metrics: Sequence[Metric], seed: int) -> tuple[MetricSummary, ...]:
    """Summarise every metric of one system; clips that failed count as undefined."""
    summaries = []
    for metric in metrics:
        values = column(rows, metric.key)
        worst = _worst({row.clip: value for row, value in zip(rows, values, strict=True)}, metric)
        found = [row.scores[metric.key] for row in rows if metric.key in row.scores]
        silent = sum(math.isnan(score.value) and score.reason.startswith(GENERATED) for score in found)
        summaries.append(MetricSummary(rows[0].system, metric.key, summarize(values, seed), worst, silent))
    return tuple(summaries)


def column(rows: Sequence[ClipScores], key: str) -> list[float]:
    """One metric over clips, NaN where there is no value."""
    return [row.scores[key].value if key in row.scores else math.nan for row in rows]


def _worst(values: Mapping[str, float], metric: Metric) -> tuple[WorstClip, ...]:
    known = {clip: value for clip, value in values.items() if not math.isnan(value)}
    # What looks alike is alike: of identical signals STOI differs in its last bits.
    if len({value if math.isinf(value) else round(value, decimals(metric)) for value in known.values()}) < 2:
        return ()
    if metric.direction == "neither":
        if metric.identity is None:
            return ()
        ideal = metric.identity
        ranked = sorted(known, key=lambda clip: -abs(known[clip] - ideal))
    else:
        ranked = sorted(known, key=lambda clip: known[clip], reverse=metric.direction == "lower")
    return tuple(WorstClip(clip, known[clip]) for clip in ranked[:WORST_CLIPS])


def check_limits(
    summaries: Sequence[MetricSummary], minima: Mapping[str, float], maxima: Mapping[str, float]
) -> tuple[LimitCheck, ...]:
    """Hold the mean of every system against the limits; it fails without one, and with clips of generated silence."""
    checks = []
    for kind, limits in (("min", minima), ("max", maxima)):
        for key, limit in limits.items():
            for entry in summaries:
                if entry.metric == key:
                    summary = entry.summary
                    value = summary.interval.mean
                    passed = (value >= limit if kind == "min" else value <= limit) and not entry.silent
                    counts = summary.counted, summary.clips, entry.silent
                    checks.append(LimitCheck(entry.system, key, kind, limit, value, passed, *counts))  # type: ignore[arg-type]
    return tuple(checks)


def describe_limit(check: LimitCheck, metric: Metric) -> str:
    """A limit in words."""
    sign = "at least" if check.kind == "min" else "at most"
    if math.isnan(check.value):
        return f"{check.system}: {check.metric} has no value on any clip, and must be {sign} {check.limit:g}"
    # Enough digits that a value just beyond the limit does not look like the limit.
    digits = decimals(metric)
    apart = (more for more in range(6) if round(check.value, digits + more) != round(check.limit, digits + more))
    extra = next(apart, 0)
    value = number(check.value, metric, extra=extra) + covered(check.clips, check.of_clips)
    if check.silent:
        verdict = f"not kept, for generated silence has no value ({counted(check.silent, 'clip')})"
    else:
        verdict = "kept" if check.passed else "too low" if check.kind == "min" else "too high"
    return f"{check.system}: {check.metric} is {value}, must be {sign} {check.limit:g}: {verdict}"


def accuracy(summaries: Sequence[MetricSummary], metrics: Sequence[Metric], system: str) -> str:
    """The mean of a few metrics of one system, in one line."""
    by_key = {metric.key: metric for metric in metrics}
    means = {entry.metric: entry.summary.interval.mean for entry in summaries if entry.system == system}
    keys = leading(means, _ACCURACY_METRICS) or list(means)[:_ACCURACY_METRICS]
    return "; ".join(f"{by_key[key].title} {number(means[key], by_key[key])}" for key in keys) or "no metric"
