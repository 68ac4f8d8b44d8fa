"""Ratios of interleaved times, with an interval that says what the rounds resolve."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

RESAMPLES = 2000
CONFIDENCE = 0.95
RESOLVED_WITHIN = 0.05
"""Half the width of an interval, as a part of the ratio, up to which the ratio counts as resolved.

As a part, so that the verdict is the same whichever of the two times is the denominator."""

LEAST_ROUNDS = 6
"""Even the smallest and the largest of five rounds enclose their true median in 94 % of cases only."""


@dataclass(frozen=True)
class Ratio:
    """A median over so many rounds, with its interval."""

    median: float
    low: float
    high: float
    rounds: int

    @property
    def resolved(self) -> bool:
        return self.rounds >= LEAST_ROUNDS and (self.high - self.low) / 2 <= RESOLVED_WITHIN * self.median

    def __str__(self) -> str:
        interval = f"[{self.low:.2f}, {self.high:.2f}]"
        return f"{self.median:.2f} {interval}" if self.resolved else f"not resolved {interval}"


def _interval(medians: np.ndarray) -> tuple[float, float]:
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(medians, [tail, 1 - tail])
    return float(low), float(high)


def paired_ratio(numerator: Sequence[float], denominator: Sequence[float], seed: int = 0) -> Ratio:
    """Median over rounds of numerator / denominator, both taken in the same round; percentile bootstrap over rounds.

    Raises:
        ValueError: the two are not of one length, or empty.
    """
    ratios = np.divide(numerator, denominator)
    if ratios.ndim != 1 or not len(ratios):
        raise ValueError(f"{len(numerator)} and {len(denominator)} times: one of each per round is needed")
    draws = np.random.default_rng(seed).integers(0, len(ratios), (RESAMPLES, len(ratios)))
    return Ratio(float(np.median(ratios)), *_interval(np.median(ratios[draws], axis=1)), len(ratios))


def unpaired_ratio(numerator: Sequence[float], denominator: Sequence[float], seed: int = 0) -> Ratio:
    """Ratio of the medians of two runs that were not interleaved.

    The interval covers the spread within the runs only: what changed on the machine between them is not in it.
    """
    rng = np.random.default_rng(seed)
    above, below = np.asarray(numerator, dtype=float), np.asarray(denominator, dtype=float)

    def drawn_medians(values: np.ndarray) -> np.ndarray:
        medians: np.ndarray = np.median(values[rng.integers(0, len(values), (RESAMPLES, len(values)))], axis=1)
        return medians

    low, high = _interval(drawn_medians(above) / drawn_medians(below))
    return Ratio(float(np.median(above) / np.median(below)), low, high, min(len(above), len(below)))
