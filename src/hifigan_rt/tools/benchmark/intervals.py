"""Ratios of interleaved times, with an interval that says what the rounds resolve."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hifigan_rt.tools.benchmark.results import Ratio

RESAMPLES = 2000
CONFIDENCE = 0.95
RESOLVED_WITHIN = 0.05
"""Half the width of an interval, as a part of the ratio, up to which the ratio counts as resolved.

As a part, so that the verdict is the same whichever of the two times is the denominator."""

LEAST_ROUNDS = 6
"""Even the smallest and the largest of five rounds enclose their true median in 94 % of cases only."""


PROCESS_SPREAD = 0.006
"""Standard deviation, as a part, between processes that do the same: where their memory lies differs.

Of the fastest calls of eight processes with the engine `native` and V2, 64 frames, one thread."""

DISTURBED_ABOVE = 0.25
"""Share of the processors taken by others above which it is no longer chance whom they hit."""

_NORMAL_QUANTILE = 1.96


def _ratio(median: float, medians: np.ndarray, rounds: int) -> Ratio:
    """A median with the percentile interval of its bootstrap."""
    tail = (1 - CONFIDENCE) / 2
    low, high = (float(end) for end in np.quantile(medians, [tail, 1 - tail]))
    return Ratio(median, low, high, rounds, _is_resolved(median, low, high, rounds))


def _is_resolved(median: float, low: float, high: float, rounds: int) -> bool:
    return rounds >= LEAST_ROUNDS and (high - low) / 2 <= RESOLVED_WITHIN * median


def between_processes(ratio: Ratio, others_share: float | None) -> Ratio:
    """Widen the interval of a ratio of two processes by what rounds cannot show: each process is one draw only.

    Args:
        ratio: over the rounds of one process each.
        others_share: of the processors that others used in the median round; None where unknown.

    Returns:
        The ratio with both errors in quadrature; not resolved where others used more than a quarter.
    """
    spread = _NORMAL_QUANTILE * 2**0.5 * PROCESS_SPREAD * ratio.median
    low = ratio.median - float(np.hypot(ratio.median - ratio.low, spread))
    high = ratio.median + float(np.hypot(ratio.high - ratio.median, spread))
    quiet = others_share is None or others_share <= DISTURBED_ABOVE
    return Ratio(ratio.median, low, high, ratio.rounds, quiet and _is_resolved(ratio.median, low, high, ratio.rounds))


def _draws(rng: np.random.Generator, rounds: int) -> np.ndarray:
    """Indices `[RESAMPLES, rounds]` of resampled rounds, in blocks that follow each other as they were measured.

    What disturbs a machine lasts longer than a round: single rounds drawn as if they were independent would make an
    interval too narrow. Blocks of the cube root of the rounds (Hall, Horowitz and Jing 1995), in a circle.
    """
    length = max(1, round(rounds ** (1 / 3)))
    starts = rng.integers(0, rounds, (RESAMPLES, -(-rounds // length)))
    return ((starts[:, :, None] + np.arange(length)) % rounds).reshape(RESAMPLES, -1)[:, :rounds]


def paired_ratio(numerator: Sequence[float], denominator: Sequence[float]) -> Ratio:
    """Median over rounds of numerator / denominator, both taken in the same round; percentile bootstrap over rounds.

    Raises:
        ValueError: the two are not of one length, or empty.
    """
    ratios = np.divide(numerator, denominator)
    if ratios.ndim != 1 or not len(ratios):
        raise ValueError(f"{len(numerator)} and {len(denominator)} times: one of each per round is needed")
    draws = _draws(np.random.default_rng(0), len(ratios))
    return _ratio(float(np.median(ratios)), np.median(ratios[draws], axis=1), len(ratios))


def unpaired_ratio(numerator: Sequence[float], denominator: Sequence[float]) -> Ratio:
    """Ratio of the medians of two runs that were not interleaved.

    The interval covers the spread within the runs only: what changed on the machine between them is not in it.
    """
    rng = np.random.default_rng(0)
    above, below = np.asarray(numerator, dtype=float), np.asarray(denominator, dtype=float)

    def drawn_medians(values: np.ndarray) -> np.ndarray:
        medians: np.ndarray = np.median(values[_draws(rng, len(values))], axis=1)
        return medians

    median = float(np.median(above) / np.median(below))
    return _ratio(median, drawn_medians(above) / drawn_medians(below), min(len(above), len(below)))
