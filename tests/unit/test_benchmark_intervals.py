import numpy as np
import pytest

from hifigan_rt.tools.benchmark.intervals import PROCESS_SPREAD, between_processes, paired_ratio, unpaired_ratio
from hifigan_rt.tools.benchmark.results import Ratio

ROUNDS = 100


def noisy(rng, seconds, rounds):
    return seconds * (1 + 0.05 * rng.random(rounds))


def lasting(rng, correlation, spread):
    """Factors that change from round to round by a first-order process: what disturbs lasts for some rounds."""
    values = [rng.standard_normal()]
    for _ in range(ROUNDS - 1):
        values.append(correlation * values[-1] + np.sqrt(1 - correlation**2) * rng.standard_normal())
    return np.exp(spread * np.array(values))


@pytest.mark.parametrize("correlation", [0.0, 0.3])
def test_the_same_engine_entered_twice_contains_one(correlation):
    """Of 200 null comparisons about 190 intervals contain 1: fewer would claim differences that are not there.

    Bursts that hit both alike, noise of each one's own, and processes that differ by where their memory lies.
    """
    rng = np.random.default_rng(3)
    ratios = []
    for _ in range(200):
        bursts = lasting(rng, 0.8, 0.3)
        first, second = (
            bursts * lasting(rng, correlation, 0.05) * np.exp(PROCESS_SPREAD * rng.standard_normal()) for _ in range(2)
        )
        ratios.append(between_processes(paired_ratio(first, second), 0.1))
    assert sum(ratio.low <= 1.0 <= ratio.high for ratio in ratios) >= 180
    assert sum(ratio.resolved for ratio in ratios) >= 190, "and they are narrow enough to be told"


def test_a_difference_of_a_tenth_is_found():
    rng = np.random.default_rng(6)
    for _ in range(20):
        bursts = lasting(rng, 0.8, 0.3)
        first, second = (bursts * lasting(rng, 0.3, 0.05) for _ in range(2))
        ratio = between_processes(paired_ratio(1.1 * first, second), 0.0)
        assert ratio.resolved
        assert 1.0 < ratio.low < 1.1 < ratio.high < 1.2


def test_processes_widen_an_interval():
    """Both errors in quadrature: 1.96 * sqrt(2) * 0.006 = 0.0166 for rounds without any."""
    ratio = between_processes(paired_ratio([2.0] * 9, [1.0] * 9), None)
    assert ratio.median == 2.0
    assert (ratio.low, ratio.high) == pytest.approx((2 - 0.03326, 2 + 0.03326), abs=1e-4)
    assert ratio.resolved


def test_with_others_on_the_processors_nothing_is_resolved():
    ratio = paired_ratio([2.0] * 9, [1.0] * 9)
    assert between_processes(ratio, 0.25).resolved
    assert not between_processes(ratio, 0.26).resolved


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
