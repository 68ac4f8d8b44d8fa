"""Ratios of interleaved times, with an interval that says what the rounds resolve."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hifigan_rt.benchmark.results import Ratio

RESAMPLES = 2000
CONFIDENCE = 0.95
RESOLVED_WITHIN = 0.05
"""Half the width of an interval, as a part of the ratio, up to which the ratio counts as resolved.

As a part, so that the verdict is the same whichever of the two times is the denominator."""

LEAST_ROUNDS = 6
"""Even the smallest and the largest of five rounds enclose their true median in 94 % of cases only."""


def _ratio(median: float, medians: np.ndarray, rounds: int) -> Ratio:
    """A median with the percentile interval of its bootstrap."""
    tail = (1 - CONFIDENCE) / 2
    low, high = (float(end) for end in np.quantile(medians, [tail, 1 - tail]))
    resolved = rounds >= LEAST_ROUNDS and (high - low) / 2 <= RESOLVED_WITHIN * median
    return Ratio(median, low, high, rounds, resolved)


def paired_ratio(numerator: Sequence[float], denominator: Sequence[float], seed: int = 0) -> Ratio:
    """Median over rounds of numerator / denominator, both taken in the same round; percentile bootstrap over rounds.

    Raises:
        ValueError: the two are not of one length, or empty.
    """
    ratios = np.divide(numerator, denominator)
    if ratios.ndim != 1 or not len(ratios):
        raise ValueError(f"{len(numerator)} and {len(denominator)} times: one of each per round is needed")
    draws = np.random.default_rng(seed).integers(0, len(ratios), (RESAMPLES, len(ratios)))
    return _ratio(float(np.median(ratios)), np.median(ratios[draws], axis=1), len(ratios))


def unpaired_ratio(numerator: Sequence[float], denominator: Sequence[float], seed: int = 0) -> Ratio:
    """Ratio of the medians of two runs that were not interleaved.

    The interval covers the spread within the runs only: what changed on the machine between them is not in it.
    """
    rng = np.random.default_rng(seed)
    above, below = np.asarray(numerator, dtype=float), np.asarray(denominator, dtype=float)

    def drawn_medians(values: np.ndarray) -> np.ndarray:
        medians: np.ndarray = np.median(values[rng.integers(0, len(values), (RESAMPLES, len(values)))], axis=1)
        return medians

    median = float(np.median(above) / np.median(below))
    return _ratio(median, drawn_medians(above) / drawn_medians(below), min(len(above), len(below)))
