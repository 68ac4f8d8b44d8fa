"""Intervals against SciPy, hand-worked values, and simulations of their promise."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
import scipy.stats

import tolerances
from hifigan_rt.errors import EvaluationError
from hifigan_rt.tools.evaluation.statistics import binomial_p_value, mean_interval, paired_difference, summarize


def test_t_interval_by_hand():
    # Mean 3, s = sqrt(2.5), t(0.975, 4) = 2.776445105.
    interval = mean_interval([1, 2, 3, 4, 5])
    margin = 2.776445105 * math.sqrt(2.5) / math.sqrt(5)
    assert (interval.mean, interval.count, interval.method) == (3, 5, "t")
    assert interval.low == pytest.approx(3 - margin)
    assert interval.high == pytest.approx(3 + margin)


@pytest.mark.parametrize(
    "values",
    [
        np.random.default_rng(1).gamma(2, 1, 60),
        np.random.default_rng(1).lognormal(0, 1.2, 40),  # skewed so much that the acceleration counts
        np.array([4.0] * 27 + [5.0] * 3),  # resampled means are often the mean itself
    ],
    ids=["skewed", "very skewed", "ratings"],
)
def test_bootstrap_interval_against_scipy(values):
    ours = mean_interval(values)
    theirs = scipy.stats.bootstrap((values,), np.mean, n_resamples=50000, method="BCa", rng=2).confidence_interval
    allowed = tolerances.BOOTSTRAP_ENDS * (theirs.high - theirs.low)
    assert ours.method == "bca"
    assert ours.low == pytest.approx(theirs.low, abs=allowed)
    assert ours.high == pytest.approx(theirs.high, abs=allowed)
    # Skewed values: the interval reaches further up than down, as Student's t cannot.
    assert ours.high - ours.mean > ours.mean - ours.low


def draw_normal(rng, count):
    return rng.standard_normal(count)


def draw_skewed(rng, count):
    return rng.gamma(4, 1, count) - 4


def draw_ratings(rng, count):
    return rng.choice([1.0, 2, 3, 4, 5], p=[0.05, 0.1, 0.2, 0.35, 0.3], size=count) - 3.75


@pytest.mark.parametrize(
    ("draw", "count"),
    [
        (draw_normal, 5),
        (draw_normal, 29),
        (draw_skewed, 20),
        (draw_ratings, 20),
        (draw_normal, 40),
        (draw_skewed, 80),
        (draw_ratings, 60),
    ],
)
def test_intervals_cover_the_truth(draw, count):
    rng = np.random.default_rng(4)
    rounds = 2000
    held = 0
    for seed in range(rounds):
        interval = mean_interval(draw(rng, count), seed, resamples=999)
        held += interval.low <= 0 <= interval.high
    assert tolerances.COVERAGE[0] <= held / rounds <= tolerances.COVERAGE[1]


def draw_exponential(rng, count):
    return rng.exponential(1, count) - 1


@pytest.mark.long
@pytest.mark.parametrize(
    ("draw", "count", "told"),
    [
        (draw_exponential, 5, 0.88),
        (draw_exponential, 12, 0.91),
        (draw_exponential, 29, 0.92),
        (draw_exponential, 30, 0.92),
        (draw_exponential, 100, 0.935),
        (draw_skewed, 30, 0.93),
        (draw_normal, 30, 0.93),
    ],
)
def test_where_intervals_fall_short(draw, count, told):
    """The figures of docs/evaluation.md."""
    rng = np.random.default_rng(77)
    rounds = 4000
    held = 0
    for seed in range(rounds):
        interval = mean_interval(draw(rng, count), seed, resamples=999)
        held += interval.low <= 0 <= interval.high
    assert held / rounds == pytest.approx(told, abs=tolerances.COVERAGE_FIGURE)


def test_seed_decides():
    values = np.random.default_rng(0).standard_normal(50)
    assert mean_interval(values, seed=3) == mean_interval(values, seed=3)
    assert mean_interval(values, seed=3) != mean_interval(values, seed=4)


def test_values_that_do_not_vary():
    for count in (2, 29, 30, 100):
        interval = mean_interval([4.644] * count)
        assert (interval.mean, interval.count, interval.method) == (4.644, count, "none")
        assert math.isnan(interval.low)
        assert interval.of_equal
    # Rounding does not make a spread: 4.1 - 3.1 and 1.1 - 0.1 differ in their last bit.
    differences = paired_difference([3.1, 0.1, 2.0], [4.1, 1.1, 3.0])
    assert differences.of_equal
    assert not differences.excludes_zero
    assert not mean_interval([1.0]).of_equal
    assert not mean_interval([1.0, 1.0, 1.001]).of_equal


def test_ends_stay_inside_the_values():
    # One outlier among equal values is the hardest case of the bias correction.
    interval = mean_interval([0.0] * 39 + [1.0])
    assert 0 <= interval.low < interval.mean < interval.high <= 1


def test_one_value_tells_nothing_of_the_spread():
    interval = mean_interval([2.5])
    assert (interval.mean, interval.count, interval.method) == (2.5, 1, "none")
    assert math.isnan(interval.low)
    assert not interval.excludes_zero


@pytest.mark.parametrize(("values", "text"), [([], "a mean of 0 values"), ([1, math.nan], "value nan is not finite")])
def test_refused_values(values, text):
    with pytest.raises(EvaluationError, match=text):
        mean_interval(values)


def test_summary_counts_what_has_no_finite_value():
    summary = summarize([3.0, math.nan, 1.0, math.inf, 2.0, math.nan, 10.0])
    assert (summary.interval.mean, summary.median, summary.minimum, summary.maximum) == (4, 2.5, 1, 10)
    assert summary.standard_deviation == pytest.approx(math.sqrt((1 + 9 + 4 + 36) / 3))
    assert (summary.infinite, summary.undefined, summary.interval.count) == (1, 2, 4)


def test_summary_of_identical_signals_is_infinite_throughout():
    summary = summarize([math.inf, math.inf, math.nan])
    assert summary.interval.mean == summary.median == summary.interval.low == summary.maximum == math.inf
    assert (summary.infinite, summary.undefined, summary.interval.count) == (2, 1, 0)


def test_one_value_of_minus_infinity_makes_the_mean_so():
    summary = summarize([math.inf, 3.0, -math.inf, math.nan, 5.0])
    assert summary.interval.mean == summary.minimum == -math.inf
    assert (summary.median, summary.maximum) == (3, 5)
    assert math.isnan(summary.interval.low)
    assert (summary.infinite, summary.minus_infinite, summary.undefined) == (1, 1, 1)
    assert (summary.counted, summary.clips) == (3, 5)
    for values in ([-math.inf], [-math.inf, math.inf]):
        assert summarize(values).interval.mean == summarize(values).median == -math.inf


@pytest.mark.parametrize("values", [[], [math.nan, math.nan]])
def test_summary_of_nothing(values):
    summary = summarize(values)
    assert math.isnan(summary.interval.mean)
    assert math.isnan(summary.median)
    assert summary.undefined == len(values)


def test_paired_difference_sees_what_the_spread_of_clips_hides():
    rng = np.random.default_rng(6)
    first = rng.normal(3, 1, 20)
    second = first - 0.02 + rng.normal(0, 0.01, 20)
    interval = paired_difference(first, second)
    expected = scipy.stats.ttest_rel(second, first).confidence_interval(0.95)
    assert (interval.low, interval.high) == pytest.approx((expected.low, expected.high))
    assert interval.excludes_zero
    assert not mean_interval(second - second.mean()).excludes_zero


def test_paired_difference_leaves_out_what_one_side_lacks():
    interval = paired_difference([1, math.nan, 3, math.inf, math.inf], [2, 5, math.nan, math.inf, 4])
    assert interval.count == 2
    assert interval.mean == pytest.approx((1 + 0) / 2)
    assert math.isnan(paired_difference([math.nan], [1.0]).mean)
    with pytest.raises(EvaluationError, match="2 values are paired with 1"):
        paired_difference([1, 2], [1])


@pytest.mark.parametrize(("correct", "trials"), [(0, 0), (0, 5), (5, 5), (12, 16), (8, 16), (60, 100), (1100, 2000)])
def test_binomial_p_value_against_scipy(correct, trials):
    expected = scipy.stats.binom.sf(correct - 1, trials, 0.5)
    assert binomial_p_value(correct, trials) == pytest.approx(expected, rel=tolerances.METRIC_AGAINST_SAME_FORMULA)


def test_binomial_p_value_by_hand():
    assert binomial_p_value(9, 10) == float(Fraction(10 + 1, 1024))


@pytest.mark.parametrize(("correct", "trials"), [(-1, 5), (6, 5)])
def test_impossible_counts(correct, trials):
    with pytest.raises(EvaluationError, match=f"{correct} correct of {trials} trials"):
        binomial_p_value(correct, trials)
