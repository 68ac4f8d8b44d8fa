"""Two systems on the same clips: paired differences, and what they mean in plain words."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Literal

from hifigan_rt.tools.evaluation.measuring import Measured
from hifigan_rt.tools.evaluation.numbers import covered, decimals, number, uneven
from hifigan_rt.tools.evaluation.results import ClipScores, Comparison, Difference, Metric
from hifigan_rt.tools.evaluation.statistics import Interval, paired_difference
from hifigan_rt.tools.evaluation.summary import column
from hifigan_rt.tools.tables import counted

Verdict = Literal["better", "worse", "changed", "same", "unknown"]

_VERBS: Mapping[Verdict, str] = {"worse": "costs", "better": "gains", "changed": "changes"}
_MOST_EXTRA_DECIMALS = 3

_SAME_WAVE_DB = 10.0
"""SNR below which two systems made their own phases: how far the waves are apart says nothing then."""


def compare(
    baseline: Sequence[ClipScores],
    system: Sequence[ClipScores],
    measured: Mapping[str, Measured],
    metrics: Sequence[Metric],
    seed: int,
) -> Comparison:
    """Compare a system with the baseline.

    Args:
        baseline: its rows, one per clip.
        system: the other's, of the same clips in the same order.
        measured: by clip, what was found of the system's audio against the baseline's.
        metrics: the columns.
        seed: of the bootstrap.
    """
    both = [
        (first, second)
        for first, second in zip(baseline, system, strict=True)
        if first.failed is None and second.failed is None
    ]
    differences = tuple(_difference([a for a, _ in both], [b for _, b in both], metric, seed) for metric in metrics)
    against = [measured[second.clip] for _, second in both]
    identical = sum(entry.identical is True for entry in against)
    snr, si_sdr = (_median(values) for values in ([e.snr_db for e in against], [e.si_sdr_db for e in against]))
    names = baseline[0].system, system[0].system
    known = sum(not math.isnan(entry.snr_db) for entry in against)
    text = _sentence(names, len(both), identical, differences, metrics) + _closeness(snr, known, identical, len(both))
    return Comparison(*names, len(both), identical, snr, si_sdr, differences, text, known)


def _difference(first: Sequence[ClipScores], second: Sequence[ClipScores], metric: Metric, seed: int) -> Difference:
    values = column(first, metric.key), column(second, metric.key)
    interval = paired_difference(*values, seed)
    verdict = _verdict(interval, metric)
    # SNR that became infinite, or was, is left out of the differences, and is anything but the same.
    if verdict == "same" and any(math.isinf(a - b) for a, b in zip(*values, strict=True)):
        verdict = "unknown"
    return Difference(metric.key, interval, verdict not in ("same", "unknown"), verdict)


def _verdict(interval: Interval, metric: Metric) -> Verdict:
    if interval.count < 2:
        return "unknown"
    # With many clips a difference is resolved long before anybody could care; what is not seen is not said.
    if round(interval.mean, decimals(metric)) == 0:
        return "same"
    if interval.of_equal:
        return "unknown"
    if not interval.excludes_zero:
        return "same"
    if metric.direction == "neither":
        return "changed"
    return "better" if (interval.mean > 0) == (metric.direction == "higher") else "worse"


def _sentence(
    names: tuple[str, str],
    clips: int,
    identical: int,
    differences: Sequence[Difference],
    metrics: Sequence[Metric],
) -> str:
    head = f"{names[1]} against {names[0]} ({counted(clips, 'clip')})"
    if clips == 0:
        return f"{head}: they have no clip in common."
    if identical == clips:
        return f"{head}: the audio is the same, sample by sample."
    parts = [
        f"{_VERBS[verdict]} " + ", ".join(
            _amount(entry, metric, clips)
            for entry, metric in zip(differences, metrics, strict=True)
            if entry.verdict == verdict
        )
        for verdict in _VERBS
        if any(entry.verdict == verdict for entry in differences)
    ]  # fmt: skip
    constant = [
        f"{number(entry.interval.mean, metric, signed=True)}{_named(metric)}{covered(entry.interval.count, clips)}"
        for entry, metric in zip(differences, metrics, strict=True)
        if entry.verdict == "unknown" and entry.interval.of_equal
    ]
    if constant:
        parts.append(f"{', '.join(constant)}: all differences are equal, so there is no interval")
    told = [entry for entry in differences if entry.verdict != "unknown"]
    still = sum(not entry.moved for entry in told)
    if clips < 2:
        rest = "one clip tells no differences"
    elif not told:
        rest = "no other metric has values to compare" if constant else "no metric has values to compare"
    elif not parts:
        rest = f"no metric moved (of {len(told)})"
    else:
        compared = counted(len(told), "metric")
        rest = f"nothing else moved (of {compared})" if still else f"all of {compared} moved"
    return f"{head}: {'; '.join([*parts, rest])}."


def _closeness(snr: float, known: int, identical: int, clips: int) -> str:
    if not snr >= _SAME_WAVE_DB:
        return ""
    share = f"median{'' if known == clips else f' of {known} of {clips} clips'}"
    same = f", {identical} identical" if identical else ""
    return f" Waveforms agree to {'∞' if math.isinf(snr) else f'{snr:.1f}'} dB SNR ({share}{same})."


def _amount(entry: Difference, metric: Metric, clips: int) -> str:
    """Size and margin, or the ends where they lie unevenly, with digits enough that the margin is not 0."""
    low, high, mean = entry.interval.low, entry.interval.high, entry.interval.mean
    margin = (high - low) / 2
    extra = 0
    while margin > 0 and round(margin, decimals(metric) + extra) == 0 and extra < _MOST_EXTRA_DECIMALS:
        extra += 1
    signed = metric.direction == "neither"
    size, *ends = (
        number(value if signed else abs(value), metric, signed=signed, extra=extra)
        for value in (mean, *sorted((low, high), key=abs))
    )
    margin_shown = f"({' to '.join(ends)})" if uneven(entry.interval) else f"± {number(margin, metric, extra=extra)}"
    return f"{size} {margin_shown}{_named(metric)}{covered(entry.interval.count, clips)}"


def _named(metric: Metric) -> str:
    unit = f" {metric.unit}" if metric.unit in ("dB", "cents", "LU", "LUFS", "dBFS") else ""
    return f"{unit} {metric.title}"


def _median(values: Sequence[float]) -> float:
    known = [value for value in values if not math.isnan(value)]
    return statistics.median(known) if known else math.nan
