"""Numbers as tables, sentences and the report show them."""

from __future__ import annotations

import math

from hifigan_rt.tools.evaluation.metrics.results import IDENTICAL, MetricResult
from hifigan_rt.tools.evaluation.published import band
from hifigan_rt.tools.evaluation.results import Metric
from hifigan_rt.tools.evaluation.statistics import Interval
from hifigan_rt.tools.tables import UNKNOWN

_DECIMALS = {"dB": 2, "cents": 1, "MOS": 2, "MOS-LQO": 2, "LUFS": 1, "LU": 2, "dBFS": 1, "samples": 0}
_DEFAULT_DECIMALS = 3

_UNEVEN = 1.5
"""Times that one end of an interval is as far from the mean as the other, above which half the width tells neither."""


def decimals(metric: Metric) -> int:
    """Digits after the point."""
    return _DECIMALS.get(metric.unit, _DEFAULT_DECIMALS)


def number(value: float, metric: Metric, *, signed: bool = False, extra: int = 0) -> str:
    """A value of a metric with a true minus sign; infinity as its sign, NaN as a dash.

    Args:
        value: to show.
        metric: tells the digits.
        signed: whether a plus is written too.
        extra: more digits than usual.
    """
    if math.isnan(value):
        return UNKNOWN
    text = "∞" if math.isinf(value) else f"{abs(value):,.{decimals(metric) + extra}f}"
    # What rounds to 0 has no sign: "-0.000" would claim a direction.
    if not any(digit in text for digit in "123456789∞"):
        return text
    return ("−" if value < 0 else "+" if signed else "") + text


def score(entry: MetricResult, metric: Metric) -> str:
    """A value, or the word that it stands for."""
    return entry.reason if math.isinf(entry.value) and entry.reason else number(entry.value, metric)


def average(value: float, metric: Metric) -> str:
    """A mean, or the word for one of identical signals; SI-SDR says no more than that they are so but for level."""
    return IDENTICAL if value == math.inf and metric.key == "snr" else number(value, metric)


def published_text(metric: Metric) -> str:
    """The range of what is published; empty if nothing comparable is."""
    found = band(metric.key)
    if found is None:
        return ""
    low, high = number(found.low, metric), number(found.high, metric)
    return low if low == high else f"{low} to {high}"


def uneven(interval: Interval) -> bool:
    """Whether the mean and half the width would show another interval than it is: a bootstrap's, of skewed values."""
    below, above = interval.mean - interval.low, interval.high - interval.mean
    beyond_zero = interval.excludes_zero and interval.high - interval.low >= 2 * abs(interval.mean)
    return beyond_zero or max(below, above) > _UNEVEN * min(below, above)


def covered(clips: int, of_clips: int) -> str:
    """How many clips a mean is of, to be put behind it; nothing if it is of all."""
    return "" if clips == of_clips else f" ({clips} of {of_clips} clips)"


def p_text(p_value: float) -> str:
    """Three digits are enough of a p-value."""
    return "< 0.0001" if p_value < 1e-4 else f"{p_value:.2g}" if p_value < 0.1 else f"{p_value:.2f}"
