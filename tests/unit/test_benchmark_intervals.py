import numpy as np
import pytest

from hifigan_rt.benchmark.intervals import paired_ratio, unpaired_ratio
from hifigan_rt.benchmark.results import Ratio


def noisy(rng, seconds, rounds):
    return seconds * (1 + 0.05 * rng.random(rounds))


def test_the_same_engine_entered_twice_contains_one():
    """Of 200 null comparisons about 190 intervals contain 1: fewer would claim differences that are not there."""
    rng = np.random.default_rng(3)
    drift = [1 + rng.random(15) for _ in range(200)]
    ratios = [paired_ratio(noisy(rng, 1.0, 15) * slow, noisy(rng, 1.0, 15) * slow) for slow in drift]
    assert sum(ratio.low <= 1.0 <= ratio.high for ratio in ratios) >= 180


def test_noise_that_both_share_cancels():
    rng = np.random.default_rng(4)
    shared = np.exp(rng.standard_normal(15))
    ratio = paired_ratio(2.5 * shared * noisy(rng, 1.0, 15), shared * noisy(rng, 1.0, 15))
    assert ratio.resolved
    assert ratio.median == pytest.approx(2.5, rel=0.03)
    assert unpaired_ratio(2.5 * shared, shared).high - unpaired_ratio(2.5 * shared, shared).low > 0.5


def test_a_known_interval():
    """The median of three draws from (1, 2, 3) is 1 with probability 7/27, so 1 and 3 bound the inner 95 %."""
    assert paired_ratio([1.0, 2.0, 3.0], [1.0, 1.0, 1.0]) == Ratio(2.0, 1.0, 3.0, 3, resolved=False)


def test_equal_runs_give_a_point():
    assert paired_ratio([3.0] * 5, [2.0] * 5) == Ratio(1.5, 1.5, 1.5, 5, resolved=False)
    assert unpaired_ratio([3.0] * 5, [2.0] * 7) == Ratio(1.5, 1.5, 1.5, 5, resolved=False)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        ([0.96, 0.96, 1.0, 1.0, 1.04, 1.04], "1.00 [0.96, 1.04]"),
        ([0.94, 0.94, 1.0, 1.0, 1.08, 1.08], "not resolved [0.94, 1.08]"),
        ([2.9, 2.9, 3.0, 3.0, 3.1, 3.1], "3.00 [2.90, 3.10]"),
        ([0.2, 0.2, 0.25, 0.25, 0.3, 0.3], "not resolved [0.20, 0.30]"),
        ([1.0] * 5, "not resolved [1.00, 1.00]"),
    ],
)
def test_what_is_not_resolved_gives_no_figure(seconds, text):
    assert str(paired_ratio(seconds, [1.0] * len(seconds))) == text


def test_the_verdict_is_the_same_for_the_inverse():
    rng = np.random.default_rng(5)
    first, second = noisy(rng, 4.0, 15), noisy(rng, 1.0, 15)
    assert paired_ratio(first, second).resolved == paired_ratio(second, first).resolved


@pytest.mark.parametrize(("first", "second"), [([], []), ([1.0, 2.0], [1.0, 2.0, 3.0])])
def test_times_that_are_not_pairs_are_refused(first, second):
    with pytest.raises(ValueError, match=r"one of each per round|broadcast"):
        paired_ratio(first, second)
