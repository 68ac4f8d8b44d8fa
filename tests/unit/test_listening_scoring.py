"""Listening statistics against hand-worked ratings, SciPy, and simulated listeners."""

from __future__ import annotations

import dataclasses
import json
import math

import numpy as np
import pytest
import scipy.stats

import evaluation_records
import tolerances
from hifigan_rt.errors import DatasetError, EvaluationError
from hifigan_rt.tools.evaluation import listening_results
from hifigan_rt.tools.evaluation.report.page import render
from hifigan_rt.tools.evaluation.statistics import (
    binomial_interval,
    binomial_p_value,
    holm,
    mean_interval,
    paired_t_p_value,
)
from hifigan_rt.tools.listening.scoring import score
from hifigan_rt.tools.listening.screening import screen
from hifigan_rt.tools.listening.tables import to_csv, to_text
from listening_tests import key_of, submission_of


def by_system(key, values):
    """A rating function from {system: {clip: rating}}."""
    return lambda _trial, stimulus: values[key.stimuli[stimulus].system][int(key.stimuli[stimulus].clip[4:])]


# Three listeners, two clips, two systems. Listener means: v1 4, 3, 4.5; v3 3, 2.5, 2.5.
RATINGS = {
    "L1": {"v1": (5, 3), "v3": (3, 3)},
    "L2": {"v1": (3, 3), "v3": (2, 3)},
    "L3": {"v1": (4, 5), "v3": (2, 3)},
}


def hand_worked():
    key = key_of("mos", ("v1", "v3"), 2)
    return key, [submission_of(key, name, by_system(key, values)) for name, values in RATINGS.items()]


def test_mos_by_hand():
    key, submissions = hand_worked()
    result = score(submissions, [], key)
    v1, v3 = result.ratings
    # Means 4, 3, 4.5: mean 23/6, s = sqrt(7/12); t(0.975, 2) = 4.302652729911275.
    margin = 4.302652729911275 * math.sqrt(7 / 12) / math.sqrt(3)
    assert v1.interval.mean == pytest.approx(23 / 6, rel=tolerances.METRIC_AGAINST_SAME_FORMULA)
    assert v1.interval.low == pytest.approx(23 / 6 - margin, rel=tolerances.METRIC_AGAINST_SAME_FORMULA)
    assert v1.interval.high == pytest.approx(23 / 6 + margin, rel=tolerances.METRIC_AGAINST_SAME_FORMULA)
    assert (v1.median, v1.lower_quartile, v1.upper_quartile, v1.ratings) == (3.5, 3, 4.75, 6)
    assert v3.interval.mean == pytest.approx(8 / 3)
    # Differences v3 - v1: -1, -0.5, -2: mean -7/6, s = sqrt(7/12), t = -(7/6) sqrt(3) / sqrt(7/12) = -sqrt(7).
    (test,) = result.tests
    assert (test.first, test.second) == ("v1", "v3")
    assert test.difference.mean == pytest.approx(-7 / 6)
    # With 2 degrees of freedom the distribution has a closed form: p = 1 - t / sqrt(2 + t^2).
    assert test.p_value == pytest.approx(1 - math.sqrt(7) / 3, rel=tolerances.METRIC_AGAINST_SAME_FORMULA)
    assert test.p_holm == test.p_value
    assert not test.resolved
    assert "v1 and v3 are not told apart" in result.sentences[0]
    # 23/6 + 1.90 is above 5, and 8/3 - 0.72 and + 0.72 are on the scale.
    told = [note for note in result.notes if "the end of the scale" in note]
    assert [note.partition(" passes")[0] for note in told] == ["the 95 % interval of v1"]


def test_an_interval_without_ends_passes_none():
    key = key_of("mushra", ("reference", "v1"), 2)
    equal = [submission_of(key, name, lambda *_: 100) for name in ("L1", "L2")]
    assert not any("the end of the scale" in note for note in score(equal, [], key).notes)


def test_an_interval_that_the_correction_overrules_says_so():
    key = key_of("mos", ("v1", "v2", "v3"), 2)
    ratings = {
        "L1": {"v1": (4, 4), "v2": (4, 3), "v3": (2, 3)},
        "L2": {"v1": (4, 3), "v2": (2, 3), "v3": (2, 2)},
        "L3": {"v1": (5, 4), "v2": (4, 5), "v3": (3, 4)},
        "L4": {"v1": (4, 4), "v2": (3, 4), "v3": (4, 3)},
    }
    result = score([submission_of(key, name, by_system(key, values)) for name, values in ratings.items()], [], key)
    overruled = [test.difference.excludes_zero and not test.resolved for test in result.tests]
    assert any(overruled)
    told = [", corrected for 3 pairs, as the interval is not)" in text for text in result.sentences]
    assert told == overruled


def test_mushra_by_hand():
    key = key_of("mushra", ("reference", "v1", "anchor 3.5 kHz"), 2)
    values = {"reference": (100, 90), "v1": (80, 70), "anchor 3.5 kHz": (20, 30)}
    others = {"reference": (100, 100), "v1": (60, 60), "anchor 3.5 kHz": (0, 10)}
    submissions = [submission_of(key, name, by_system(key, given)) for name, given in (("L1", values), ("L2", others))]
    result = score(submissions, [], key)
    assert [(row.system, row.role, row.interval.mean) for row in result.ratings] == [
        ("reference", "reference", 97.5), ("v1", "system", 67.5), ("anchor 3.5 kHz", "anchor", 15)
    ]  # fmt: skip
    (test,) = result.tests  # anchors are known to be worse: nothing to test
    # Differences -20 and -40: t = -30 / (sqrt(200) / sqrt(2)) = -3; one degree of freedom: p = 2 atan(1/3) / pi.
    assert test.p_value == pytest.approx(2 * math.atan(1 / 3) / math.pi)


def test_abx_by_hand():
    key = key_of("abx", ("v1", "v3"), 5, repeats=2)
    wrong = {3: False}
    counter = iter(range(10))
    submissions = [submission_of(key, "L1", lambda *_: int(wrong.get(next(counter), True)))]
    (row,) = score(submissions, [], key).abx
    assert (row.correct, row.trials) == (9, 10)
    assert row.p_value == (10 + 1) / 1024
    assert row.resolved
    # Clopper and Pearson's own table, n = 10, x = 9.
    assert (row.low, row.high) == pytest.approx((0.5550, 0.9975), abs=tolerances.FOUR_DECIMALS)
    assert [(entry.listener, entry.correct, entry.trials) for entry in row.listeners] == [("L1", 9, 10)]


def test_holm_by_hand():
    # 4 x 0.01; max(3 x 0.015); max(2 x 0.03); 0.04 stays below the one before.
    assert holm([0.03, 0.01, 0.04, 0.015]) == pytest.approx((0.06, 0.04, 0.06, 0.045))
    assert holm([0.6, 0.7]) == (1, 1)
    assert holm([math.nan, 0.02])[1] == 0.02
    assert math.isnan(holm([math.nan])[0])
    assert holm([]) == ()


@pytest.mark.parametrize("count", [2, 7, 40])
def test_paired_test_and_interval_against_scipy(count):
    values = np.random.default_rng(count).normal(0.3, 1, count)
    expected = scipy.stats.ttest_1samp(values, 0)
    ends = expected.confidence_interval(0.95)
    assert paired_t_p_value(values) == pytest.approx(expected.pvalue, rel=tolerances.METRIC_AGAINST_SAME_FORMULA)
    interval = mean_interval(values, t_below=math.inf)
    assert (interval.low, interval.high) == pytest.approx((ends.low, ends.high))
    assert interval.method == "t"


def test_values_that_do_not_vary():
    for values in ([0.5, 0.5, 0.5], [0, 0], [1.0], [4 - 10 / 3, 3 - 7 / 3]):
        assert math.isnan(paired_t_p_value(values))
    interval = mean_interval([4.0] * 40, t_below=math.inf)
    assert (interval.mean, interval.count, interval.method) == (4, 40, "none")
    assert math.isnan(interval.high)
    assert mean_interval([4.0], t_below=math.inf).method == "none"


def test_equal_differences_have_neither_interval_nor_p():
    key = key_of("mos", ("v1", "v3"), 2)
    values = {"L1": {"v1": (5, 4), "v3": (4, 3)}, "L2": {"v1": (4, 5), "v3": (3, 4)}}
    result = score([submission_of(key, name, by_system(key, given)) for name, given in values.items()], [], key)
    (test,) = result.tests
    assert (test.difference.mean, test.difference.method, test.resolved) == (-1, "none", False)
    assert math.isnan(test.p_holm)
    sentence = "v1 and v3: all differences are equal (-1.00 by each listener), so there is no interval and no p"
    assert result.sentences == (sentence,)
    assert ["v3", "-", "v1", "-1.00", "-", "-"] in [line.split() for line in to_text(result).splitlines()]
    report = dataclasses.replace(evaluation_records.result(), listening={"mos": listening_results.to_json(result)})
    page = render(report, {}, {})
    assert sentence in page
    assert "nan" not in page.split('id="listening"')[1].split("</table>")[0]


@pytest.mark.parametrize(("correct", "trials"), [(0, 7), (7, 7), (3, 16), (60, 100)])
def test_share_against_scipy(correct, trials):
    expected = scipy.stats.binomtest(correct, trials).proportion_ci(0.95, "exact")
    assert binomial_interval(correct, trials) == pytest.approx((expected.low, expected.high))


@pytest.mark.parametrize("counts", [(0, 0), (-1, 3), (4, 3)])
def test_impossible_share(counts):
    with pytest.raises(EvaluationError, match="correct of"):
        binomial_interval(*counts)


def test_screening_of_the_hidden_reference():
    key = key_of("mushra", ("reference", "v1", "anchor 3.5 kHz"), 20)

    def listener(name, missed):
        low = {f"ref{clip:03}" for clip in range(missed)}
        return submission_of(key, name, lambda _, stimulus: 89 if stimulus in low else 90)

    found = screen([listener("just", 3), listener("beyond", 4)], key)
    # 3 of 20 are 15 %, which is not more than 15 %.
    assert [entry.name for entry in found] == ["beyond"]
    assert "4 of 20 trials" in found[0].reason


def test_screening_of_the_middle_anchor():
    key = key_of("mushra", ("reference", "v1", "anchor 3.5 kHz", "anchor 7 kHz"), 20)

    def listener(name, praised, high=91):
        anchors = {stimulus for stimulus, what in key.stimuli.items() if what.system == "anchor 7 kHz"}
        chosen = {f"anc{clip:03}" for clip in praised}
        assert chosen <= anchors
        return submission_of(key, name, lambda _, stimulus: high if stimulus not in anchors - chosen else 60)

    honest = [listener(f"L{index}", ()) for index in range(3)]
    found = screen([*honest, listener("just", range(3)), listener("beyond", range(4)), listener("all", range(20))], key)
    # Half of the listeners rate it so in clips 0 to 2, which then tell nothing, and a third in clip 3.
    assert [entry.name for entry in found] == ["all"]
    assert found[0].reason == "rated 'anchor 7 kHz' above 90 in 16 of 20 trials, more than 15% (ITU-R BS.1534-3)"
    found = screen([*honest, listener("just", range(3)), listener("beyond", range(5, 9))], key)
    assert [entry.name for entry in found] == ["beyond"]
    assert screen([*honest, listener("bounded", range(20), high=90)], key) == []
    # Of three listeners one is a third already.
    assert screen([*honest[:2], listener("all", range(20))], key) == []


def test_screened_listeners_do_not_count_unless_kept():
    key = key_of("mushra", ("reference", "v1", "anchor 3.5 kHz"), 2)
    good = submission_of(key, "good", lambda *_: 100)
    bad = submission_of(key, "bad", lambda *_: 0)
    assert score([good, bad], [], key).ratings[1].interval.mean == 100
    kept = score([good, bad], [], key, keep_screened=True)
    assert kept.ratings[1].interval.mean == 50
    assert [entry.name for entry in kept.screened] == ["bad"]
    assert any("although the screening" in note for note in kept.notes)
    with pytest.raises(EvaluationError, match="no listener's answers can be used: bad: rated the hidden reference"):
        score([bad], [], key)


def agreeing(key, rng, steps):
    return lambda _, stimulus: int(np.clip(round(steps[key.stimuli[stimulus].system] + rng.normal(0, 0.5)), 1, 5))


def test_screening_of_mos():
    key = key_of("mos", ("v1", "v2", "v3"), 8)
    rng = np.random.default_rng(0)
    clear = {"v1": 4.5, "v2": 3, "v3": 1.5}
    listeners = [submission_of(key, f"L{index}", agreeing(key, rng, clear)) for index in range(6)]
    contrary = submission_of(key, "contrary", agreeing(key, rng, {"v1": 1.5, "v2": 3, "v3": 4.5}))
    same = submission_of(key, "same", lambda *_: 3)
    found = {entry.name: entry.reason for entry in screen([*listeners, contrary, same], key)}
    assert set(found) == {"contrary", "same"}
    assert "rated all 24 recordings 3" in found["same"]
    # Where systems sound alike nobody agrees, and nobody is left out for it.
    alike = [submission_of(key, f"L{index}", agreeing(key, rng, dict.fromkeys(clear, 3))) for index in range(8)]
    assert screen(alike, key) == []


def test_screening_of_abx_goes_by_sides_alone():
    key = key_of("abx", ("v1", "v3"), 8, repeats=2)
    always_a = submission_of(key, "A", lambda trial, _: int(trial.x == trial.order[0]))
    always_right = submission_of(key, "right", lambda *_: 1)
    assert [entry.name for entry in screen([always_a, always_right], key)] == ["A"]


def test_guessing_is_not_resolved_and_knowing_is():
    rng = np.random.default_rng(3)
    key = key_of("abx", ("reference", "v1", "v3"), 8)
    hears = {"v1": 0.5, "v3": 0.8}

    def answer(trial, _):
        other = next(name for name in (key.stimuli[stimulus].system for stimulus in trial.order) if name != "reference")
        return int(rng.random() < hears[other])

    result = score([submission_of(key, f"L{index}", answer) for index in range(20)], [], key)
    assert "p of guessing, after Holm's correction" in to_text(result)
    same, other = result.abx
    assert (same.second, same.resolved) == ("v1", False)
    assert (other.second, other.resolved) == ("v3", True)
    assert same.trials == other.trials == 160
    assert other.p_value == binomial_p_value(other.correct, 160)


def test_sentences_name_the_better_one_with_its_interval():
    key = key_of("mos", ("v1", "v3"), 4)
    rng = np.random.default_rng(1)
    quality = {"v1": 4.5, "v3": 2}
    submissions = [submission_of(key, f"L{index}", agreeing(key, rng, quality)) for index in range(20)]
    (sentence,) = score(submissions, [], key).sentences
    assert sentence.startswith("v1 is rated higher than v3, by 2.")
    assert sentence.endswith("p < 0.0001)")


def test_table_csv_and_json_tell_the_same():
    key, submissions = hand_worked()
    result = score(submissions, [listening_results.Exclusion("x.json", "it is no file")], key)
    text = to_text(result)
    assert "MOS, 1 to 5, 3 listeners, 2 clips" in text
    assert "3.83" in text
    rows = to_csv(submissions, key).splitlines()
    assert rows[0].startswith("listener,trial,clip,system,rating")
    assert len(rows) == 1 + 3 * 4
    assert sum(int(row.split(",")[4]) for row in rows[1:] if ",v1," in row) == 23
    content = listening_results.to_json(result)
    assert json.loads(json.dumps(content, allow_nan=False))["rejected"][0]["name"] == "x.json"
    assert listening_results.from_json(content) == result


@pytest.mark.parametrize("content", [{}, {"format": 2}, {"format": 1}, {"format": 1, "mode": "rank"}])
def test_other_records_in_a_report(content):
    with pytest.raises(DatasetError, match="the report's listening test is not"):
        listening_results.from_json(content)


def test_csv_and_table_of_abx():
    key = key_of("abx", ("v1", "v3"), 2)
    submissions = [submission_of(key, "L1")]
    rows = to_csv(submissions, key).splitlines()
    assert rows[1].split(",")[0] == "L1"
    assert {row.split(",")[8] for row in rows[1:]} == {"1"}
    assert "2 of 2" in to_text(score(submissions, [], key))


@pytest.mark.long
def test_mos_intervals_cover_the_truth():
    """Listeners differ in mean and consistency, and give whole numbers."""
    rng = np.random.default_rng(8)
    quality = np.array([3.6, 4.0, 4.2])

    def listener_means(count):
        bias, noise = rng.normal(0, 0.4, (count, 1, 1)), rng.uniform(0.5, 1, (count, 1, 1))
        ratings = np.rint(quality[:, None] + bias + noise * rng.standard_normal((count, 3, 20)))
        return np.clip(ratings, 1, 5).mean(axis=2)

    truth = listener_means(200_000).mean(axis=0)
    for listeners in (8, 20, 40):
        held = means = differences = 0
        for _ in range(2000):
            drawn = listener_means(listeners)
            for index in range(3):
                interval = mean_interval(drawn[:, index], t_below=math.inf)
                held += interval.low <= truth[index] <= interval.high
                means += 1
            interval = mean_interval(drawn[:, 2] - drawn[:, 0], t_below=math.inf)
            differences += interval.low <= truth[2] - truth[0] <= interval.high
        assert tolerances.COVERAGE[0] <= held / means <= tolerances.COVERAGE[1]
        assert tolerances.COVERAGE[0] <= differences / 2000 <= tolerances.COVERAGE[1]
