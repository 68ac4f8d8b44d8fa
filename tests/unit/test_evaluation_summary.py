"""Summaries, worst clips and limits."""

import math

from evaluation_records import metric
from hifigan_rt.tools.evaluation.metrics.results import MetricResult
from hifigan_rt.tools.evaluation.results import ClipScores
from hifigan_rt.tools.evaluation.summary import accuracy, check_limits, describe_limit, summarize_system

STOI = metric("stoi", title="STOI")
MCD = metric("mcd", title="MCD", unit="dB", direction="lower", identity=0.0)
DIFFERENCE = metric("loudness_difference", unit="LU", direction="neither", identity=0.0)
PEAK = metric("peak", unit="dBFS", direction="neither", identity=None)


def rows(**columns):
    count = len(next(iter(columns.values())))
    return [
        ClipScores("s", f"c{index}", scores={key: MetricResult(values[index]) for key, values in columns.items()})
        for index in range(count)
    ]


def summarized(metric, *values):
    return summarize_system(rows(**{metric.key: values}), [metric], 0)[0]


def worst(metric, *values):
    return [(entry.clip, entry.value) for entry in summarized(metric, *values).worst]


def test_the_worst_clips_are_on_the_bad_side():
    assert worst(STOI, 0.9, 0.7, 0.8, 0.95) == [("c1", 0.7), ("c2", 0.8), ("c0", 0.9)]
    assert worst(MCD, 4.0, 6.0, 5.0, 3.0) == [("c1", 6.0), ("c2", 5.0), ("c0", 4.0)]
    assert worst(DIFFERENCE, 0.5, -2.0, 1.0) == [("c1", -2.0), ("c2", 1.0), ("c0", 0.5)]
    assert worst(PEAK, -1.0, -2.0) == [], "a description has no bad side"
    assert worst(MCD, 0.0, 0.0, 0.0) == [], "all alike"
    assert worst(STOI, 1.0, 1.0 - 1e-15) == [], "alike but for rounding"
    assert worst(STOI, math.nan, 0.9, 0.8) == [("c2", 0.8), ("c1", 0.9)]
    assert worst(STOI, math.inf, 5.0) == [("c1", 5.0), ("c0", math.inf)]


def test_clips_that_failed_count_as_undefined():
    made = summarize_system([*rows(stoi=(0.9, 0.8)), ClipScores("s", "c2", failed="gone")], [STOI], 0)[0]
    assert made.summary.undefined == 1
    assert made.summary.interval.count == 2


def test_limits_hold_the_mean():
    summaries = [summarized(STOI, 0.9, 0.8), summarized(MCD, 4.0, 6.0)]
    limits = check_limits(summaries, {"stoi": 0.85, "mcd": 1.0}, {"mcd": 4.9})
    assert [(check.metric, check.kind, check.passed) for check in limits] == [
        ("stoi", "min", True), ("mcd", "min", True), ("mcd", "max", False),
    ]  # fmt: skip
    assert describe_limit(limits[2], MCD) == "s: mcd is 5.00, must be at most 4.9: too high"


def test_a_mean_at_the_limit_passes_and_one_that_is_not_there_fails():
    at = check_limits([summarized(STOI, 0.5, 0.5)], {"stoi": 0.5}, {"stoi": 0.5})
    assert all(check.passed for check in at)
    none = check_limits([summarized(STOI, math.nan)], {"stoi": 0.0}, {"stoi": 1.0})
    assert not any(check.passed for check in none)
    assert describe_limit(none[0], STOI) == "s: stoi has no value on any clip, and must be at least 0"
    identical = check_limits([summarized(metric("snr"), math.inf, math.inf)], {"snr": 100.0}, {})
    assert identical[0].passed


def test_a_limit_tells_of_how_many_clips_its_mean_is():
    values = (0.9, math.nan, math.nan, math.nan)
    made = check_limits([summarized(STOI, *values)], {"stoi": 0.85}, {})[0]
    assert (made.clips, made.of_clips, made.passed) == (1, 4, True)
    assert describe_limit(made, STOI) == "s: stoi is 0.900 (1 of 4 clips), must be at least 0.85: kept"


def test_an_output_of_which_nothing_is_left_breaks_a_limit():
    sdr = metric("si_sdr", unit="dB", identity=math.inf)
    made = check_limits([summarized(sdr, 30.0, -math.inf, math.inf)], {"si_sdr": 20.0}, {})[0]
    assert (made.value, made.passed) == (-math.inf, False)
    assert describe_limit(made, sdr) == "s: si_sdr is −∞ (2 of 3 clips), must be at least 20: too low"


def test_generated_silence_without_a_value_breaks_a_limit_and_silent_recordings_do_not():
    dnsmos = metric("dnsmos_ovrl", unit="MOS", identity=None)
    for cause, kept in (("the generated signal", False), ("the reference", True)):
        scores = [MetricResult(3.2), MetricResult(math.nan, f"{cause} is digital silence")]
        made = [ClipScores("s", f"c{index}", scores={"dnsmos_ovrl": score}) for index, score in enumerate(scores)]
        check = check_limits(summarize_system(made, [dnsmos], 0), {"dnsmos_ovrl": 3.0}, {})[0]
        assert (check.passed, check.silent) == (kept, not kept)
        verdict = "kept" if kept else "not kept, for generated silence has no value (1 clip)"
        text = f"s: dnsmos_ovrl is 3.20 (1 of 2 clips), must be at least 3: {verdict}"
        assert describe_limit(check, dnsmos) == text


def test_a_value_just_beyond_the_limit_is_shown_with_digits_that_tell():
    check = check_limits([summarized(STOI, 0.94996, 0.94996)], {"stoi": 0.95}, {})[0]
    assert describe_limit(check, STOI) == "s: stoi is 0.94996, must be at least 0.95: too low"


def test_accuracy_is_one_line():
    full = metric("mel_l1_full", title="mel L1, full band", direction="lower")
    summaries = [summarized(STOI, 0.9, 0.8), summarized(full, 0.2, 0.3)]
    assert accuracy(summaries, [full, STOI], "s") == "STOI 0.850; mel L1, full band 0.250"
    assert accuracy([summarized(MCD, 4.0, 6.0)], [MCD], "s") == "MCD 5.00"
    assert accuracy([], [], "s") == "no metric"
