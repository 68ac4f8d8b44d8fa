"""What clips or listeners say together: means with 95 % confidence intervals, paired differences and tests, shares."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal

import numpy as np

from hifigan_rt.errors import EvaluationError
from hifigan_rt.system.versions import how_to_get

CONFIDENCE = 0.95

T_BELOW = 30
"""Count of values below which Student's t is taken, which assumes them normal; else the bootstrap, which does not."""

RESAMPLES = 9999

_EQUAL = 1e-9
"""Spread, relative to the largest value, below which values are equal: the last bits of differences are rounding."""

_BLOCK_VALUES = 1 << 20
"""Resampled values held at once: 8 MB."""


@dataclass(frozen=True)
class Interval:
    """A mean with its 95 % confidence interval."""

    mean: float
    low: float
    high: float
    """NaN at both ends if there is only one value, or all are equal, which tells nothing about the spread."""
    count: int
    method: Literal["t", "bca", "none"]
    """Student's t, BCa bootstrap, or none: there are no ends."""

    @property
    def of_equal(self) -> bool:
        """Whether there are several values, and no ends because all are equal."""
        return self.count > 1 and math.isfinite(self.mean) and math.isnan(self.low)

    @property
    def excludes_zero(self) -> bool:
        """Whether 0 lies outside: of a paired difference, whether it is resolved."""
        return self.low > 0 or self.high < 0


@dataclass(frozen=True)
class Summary:
    """The values of one metric over all clips."""

    interval: Interval
    """Interval of the finite values; infinite throughout if there are only infinite ones; its mean is minus infinity
    if one value is."""
    median: float
    standard_deviation: float
    """Deviation with n - 1 below the fraction; NaN for a single value."""
    minimum: float
    maximum: float
    infinite: int
    """Clips of identical signals, which SNR and SI-SDR score as infinite; not in the mean."""
    undefined: int
    """Clips for which the metric has no value."""
    minus_infinite: int = 0
    """Clips of which nothing is left, which SI-SDR scores as minus infinity."""

    @property
    def clips(self) -> int:
        """All clips, with a value or without."""
        return self.interval.count + self.infinite + self.undefined

    @property
    def counted(self) -> int:
        """Clips that the mean is of."""
        return self.interval.count or self.infinite


def summarize(values: Sequence[float], seed: int = 0) -> Summary:
    """Summarise one metric over clips; NaN stands for "not defined".

    Args:
        values: one per clip.
        seed: of the bootstrap; the same seed gives the same interval.
    """
    array = np.asarray(values, np.float64)
    counted = array[array < math.inf]
    infinite = int((array == math.inf).sum())
    undefined = int(np.isnan(array).sum())
    if len(counted) == 0:
        value = math.inf if infinite else math.nan
        interval = Interval(value, value, value, 0, "none")
        return Summary(interval, value, math.nan, value, value, infinite, undefined)
    minus_infinite = int((array == -math.inf).sum())
    if minus_infinite:
        interval, deviation = Interval(-math.inf, math.nan, math.nan, len(counted), "none"), math.nan
    else:
        interval = mean_interval(counted, seed)
        deviation = float(counted.std(ddof=1)) if len(counted) > 1 else math.nan
    return Summary(
        interval, float(np.median(counted)), deviation, float(counted.min()), float(counted.max()),
        infinite, undefined, minus_infinite,
    )  # fmt: skip


def require_scipy(what: str) -> None:
    """Refuse to begin what would ask for SciPy last of all, as for its intervals.

    Raises:
        EvaluationError: it is not installed.
    """
    if importlib.util.find_spec("scipy") is None:
        raise EvaluationError(f"{what} needs the package scipy: {how_to_get('eval')}")


def mean_interval(
    values: Sequence[float] | np.ndarray, seed: int = 0, resamples: int = RESAMPLES, t_below: float = T_BELOW
) -> Interval:
    """The mean of independent values with its 95 % confidence interval.

    Args:
        values: finite, at least one.
        seed: of the bootstrap.
        resamples: of the bootstrap.
        t_below: count of values below which Student's t is taken; infinity for means of listeners, which are means
            themselves.

    Raises:
        EvaluationError: no value, or one that is not finite.
    """
    array = np.asarray(values, np.float64)
    if len(array) == 0:
        raise EvaluationError("a mean of 0 values is asked for: at least one is needed")
    if not np.isfinite(array).all():
        raise EvaluationError(
            f"value {array[~np.isfinite(array)][0]} is not finite: leave such clips out and count them"
        )
    mean = float(array.mean())
    if len(array) == 1:
        return Interval(mean, math.nan, math.nan, 1, "none")
    if _are_equal(array):
        return Interval(float(array[0]), math.nan, math.nan, len(array), "none")
    method: Literal["t", "bca"] = "t" if len(array) < t_below else "bca"
    low, high = _t_ends(array, mean) if method == "t" else _bca_ends(array, mean, seed, resamples)
    return Interval(mean, low, high, len(array), method)


def paired_t_p_value(differences: Sequence[float] | np.ndarray) -> float:
    """How likely differences like these, or further from 0, are if their mean is 0; two-sided, Student's t.

    Returns:
        NaN for fewer than two, and where all are equal: neither tells how far they vary.
    """
    import scipy.special

    array = np.asarray(differences, np.float64)
    if len(array) < 2 or _are_equal(array):
        return math.nan
    t = abs(float(array.mean())) / (float(array.std(ddof=1)) / math.sqrt(len(array)))
    return 2 * float(scipy.special.stdtr(len(array) - 1, -t))


def holm(p_values: Sequence[float]) -> tuple[float, ...]:
    """Correct p-values of several tests for their number (S. Holm: A simple sequentially rejective procedure, 1979).

    Args:
        p_values: NaN for a test that could not be made, which does not count.

    Returns:
        As many, in the same order.
    """
    order = sorted((index for index, p in enumerate(p_values) if not math.isnan(p)), key=p_values.__getitem__)
    corrected = [math.nan] * len(p_values)
    largest = 0.0
    for rank, index in enumerate(order):
        largest = max(largest, min(1.0, (len(order) - rank) * p_values[index]))
        corrected[index] = largest
    return tuple(corrected)


def binomial_interval(correct: int, trials: int) -> tuple[float, float]:
    """95 % confidence interval of a share; exact (C. J. Clopper and E. S. Pearson, 1934), so never too short.

    Raises:
        EvaluationError: `correct` is not from 0 to `trials`, or there is no trial.
    """
    import scipy.special

    if not (0 <= correct <= trials and trials):
        raise EvaluationError(f"{correct} correct of {trials} trials: from 0 to all of them can be correct")
    tail = (1 - CONFIDENCE) / 2
    low = 0.0 if correct == 0 else float(scipy.special.betaincinv(correct, trials - correct + 1, tail))
    high = 1.0 if correct == trials else float(scipy.special.betaincinv(correct + 1, trials - correct, 1 - tail))
    return low, high


def paired_difference(first: Sequence[float], second: Sequence[float], seed: int = 0) -> Interval:
    """The mean of `second - first` over clips that both have, with its 95 % confidence interval.

    Clips where either has no value are left out (`count` says how many remain), and so is one where only one is
    infinite; two equal infinities (both identical to the reference) differ by 0.

    Args:
        first: the baseline's values, one per clip, NaN where not defined.
        second: the other system's, in the same order of clips.
        seed: of the bootstrap.

    Raises:
        EvaluationError: not as many values in both.
    """
    if len(first) != len(second):
        raise EvaluationError(f"{len(first)} values are paired with {len(second)}: one of each per clip is needed")
    pairs = zip(first, second, strict=True)
    differences = np.array([0.0 if a == b else b - a for a, b in pairs], np.float64)
    differences = differences[np.isfinite(differences)]
    if len(differences) == 0:
        return Interval(math.nan, math.nan, math.nan, 0, "none")
    return mean_interval(differences, seed)


def binomial_p_value(correct: int, trials: int) -> float:
    """How likely a listener who only guesses gets at least `correct` of `trials` ABX trials right; exact.

    Raises:
        EvaluationError: `correct` is not from 0 to `trials`.
    """
    if not 0 <= correct <= trials:
        raise EvaluationError(f"{correct} correct of {trials} trials: from 0 to all of them can be correct")
    # In whole numbers, so that no sum of small terms loses digits.
    guessed: float = sum(math.comb(trials, right) for right in range(correct, trials + 1)) / 2**trials
    return guessed


def _are_equal(values: np.ndarray) -> bool:
    return bool(np.ptp(values) <= _EQUAL * np.abs(values).max())


def _t_ends(values: np.ndarray, mean: float) -> tuple[float, float]:
    import scipy.special

    quantile = float(scipy.special.stdtrit(len(values) - 1, (1 + CONFIDENCE) / 2))
    margin = quantile * float(values.std(ddof=1)) / math.sqrt(len(values))
    return mean - margin, mean + margin


def _bca_ends(values: np.ndarray, mean: float, seed: int, resamples: int) -> tuple[float, float]:
    """Bias-corrected and accelerated percentiles (B. Efron: Better bootstrap confidence intervals, 1987)."""
    generator = np.random.default_rng(seed)
    block = max(1, _BLOCK_VALUES // len(values))
    means = np.concatenate(
        [
            values[generator.integers(len(values), size=(min(block, resamples - first), len(values)))].mean(axis=1)
            for first in range(0, resamples, block)
        ]
    )
    normal = NormalDist()
    # Ties count half, or a coarse scale such as ratings would look biased; one vote keeps the share off 0 and 1.
    below = float(np.mean(means < mean) + np.mean(means == mean) / 2)
    bias = normal.inv_cdf(min(max(below, 1 / resamples), 1 - 1 / resamples))
    # For a mean, the jackknife's acceleration comes to the skewness over 6 sqrt(n).
    centred = values - mean
    acceleration = float(np.sum(centred**3) / (6 * np.sum(centred**2) ** 1.5))
    shares = []
    for tail in ((1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2):
        shifted = bias + normal.inv_cdf(tail)
        shares.append(normal.cdf(bias + shifted / (1 - acceleration * shifted)))
    low, high = np.quantile(means, shares)
    return float(low), float(high)
