"""Paired differences, and the sentences that people read."""

import math

import pytest

from evaluation_records import metric
from hifigan_rt.tools.evaluation.comparison import compare
from hifigan_rt.tools.evaluation.measuring import Measured
from hifigan_rt.tools.evaluation.metrics.results import MetricResult
from hifigan_rt.tools.evaluation.results import ClipScores

CLIPS = tuple("abcd")
METRICS = (
    metric("stoi", title="STOI"),
    metric("mcd", title="MCD", unit="dB", direction="lower"),
    metric("loudness_lufs", title="loudness", unit="LUFS", direction="neither"),
)


def rows(system, **columns):
    return [
        ClipScores(system, clip, f"{clip}.flac", 1.0, None, {key: MetricResult(columns[key][index]) for key in columns})
        for index, clip in enumerate(CLIPS)
    ]


def against(**changes):
    return {
        clip: Measured({}, (), **({"identical": False, "snr_db": 40.0, "si_sdr_db": 41.0} | changes)) for clip in CLIPS
    }


BASE = {"stoi": (0.9, 0.8, 0.95, 0.85), "mcd": (4.0, 5.0, 4.5, 4.2), "loudness_lufs": (-20.0, -21.0, -19.0, -20.5)}


def shifted(**shifts):
    jitter = (0.001, -0.001, 0.002, -0.002)
    return {
        key: tuple(value + shifts[key] + j if key in shifts else value for value, j in zip(values, jitter, strict=True))
        for key, values in BASE.items()
    }


def compared(found=None, **shifts):
    return compare(rows("first", **BASE), rows("second", **shifted(**shifts)), found or against(), METRICS, 0)


def test_what_got_worse_costs_and_what_got_better_gains():
    made = compared(stoi=-0.05, mcd=-0.5)
    assert [entry.verdict for entry in made.differences] == ["worse", "better", "same"]
    assert [entry.moved for entry in made.differences] == [True, True, False]
    # Student's t of 1, -1, 2, -2 thousandths: s = 0.001826, times 3.182 over the root of 4.
    assert made.sentence == (
        "second against first (4 clips): costs 0.050 ± 0.003 STOI; gains 0.500 ± 0.003 dB MCD; nothing else moved (of "
        "3 metrics). Waveforms agree to 40.0 dB SNR (median)."
    )
    assert (made.baseline, made.system, made.clips, made.identical) == ("first", "second", 4, 0)
    assert (made.snr_db, made.si_sdr_db) == (40.0, 41.0)


def test_more_is_worse_where_less_is_better():
    assert [entry.verdict for entry in compared(stoi=0.05, mcd=0.5).differences] == ["better", "worse", "same"]


def test_what_has_no_better_side_changes():
    made = compared(loudness_lufs=-1.0)
    assert made.differences[2].verdict == "changed"
    assert "changes −1.000 ± 0.003 LUFS loudness" in made.sentence


def test_a_difference_that_the_interval_does_not_resolve_is_none():
    noisy = shifted() | {"stoi": (0.95, 0.75, 0.99, 0.80)}
    made = compare(rows("first", **BASE), rows("second", **noisy), against(snr_db=1.0), METRICS, 0)
    assert made.differences[0].interval.mean != 0
    assert made.differences[0].verdict == "same"
    assert made.sentence == "second against first (4 clips): no metric moved (of 3)."


def test_a_resolved_difference_below_the_shown_digits_is_none():
    tiny = {key: tuple(value + 1e-6 * (index + 1) for index, value in enumerate(BASE[key])) for key in BASE}
    made = compare(rows("first", **BASE), rows("second", **tiny), against(), METRICS, 0)
    assert all(entry.interval.excludes_zero for entry in made.differences)
    assert [entry.verdict for entry in made.differences] == ["same"] * 3


def test_equal_audio_is_called_so():
    made = compared(against(identical=True, snr_db=math.nan, si_sdr_db=math.nan))
    assert made.sentence == "second against first (4 clips): the audio is the same, sample by sample."
    assert made.identical == 4
    assert math.isnan(made.snr_db)


def test_closeness_tells_of_how_many_clips_it_is():
    found = against(snr_db=math.nan, si_sdr_db=math.nan)
    found["b"] = Measured({}, identical=False, snr_db=19.0, si_sdr_db=19.0)
    made = compared(found)
    assert made.sentence.endswith(" Waveforms agree to 19.0 dB SNR (median of 1 of 4 clips).")
    assert made.snr_clips == 1
    found["c"] = Measured({}, identical=True)
    assert compared(found).sentence.endswith(" SNR (median of 1 of 4 clips, 1 identical).")
    found["b"] = Measured({}, identical=False, snr_db=math.inf)
    assert " agree to ∞ dB SNR " in compared(found).sentence, "equal but for the length"


def test_a_difference_tells_of_how_many_clips_it_is():
    second = shifted(stoi=-0.05) | {"stoi": (0.85, 0.749, 0.902, math.nan)}
    made = compare(rows("first", **BASE), rows("second", **second), against(snr_db=1.0), METRICS, 0)
    # -0.050, -0.051 and -0.048: Student's t with 2 degrees is 4.303, times 0.00153 over the root of 3.
    assert "costs 0.050 ± 0.004 STOI (3 of 4 clips);" in made.sentence


def test_a_bootstrap_that_lies_unevenly_shows_its_ends():
    clips = tuple(f"c{index:02}" for index in range(40))
    rises = [1 + 0.01 * index for index in range(39)] + [90.0]  # resolved, and half the width is more than the mean

    def of(system, values):
        return [
            ClipScores(system, clip, "", 1.0, None, {"mcd": MetricResult(v)})
            for clip, v in zip(clips, values, strict=True)
        ]

    found = dict.fromkeys(clips, Measured({}, identical=False, snr_db=1.0, si_sdr_db=1.0))
    made = compare(of("first", [4.0] * 40), of("second", [4 + rise for rise in rises]), found, METRICS[1:2], 0)
    interval = made.differences[0].interval
    assert interval.low > 0
    assert interval.high - interval.low > 2 * interval.mean
    assert f"costs 3.41 ({interval.low:.2f} to {interval.high:.2f}) dB MCD;" in made.sentence
    falls = compare(of("first", [99.0] * 40), of("second", [99 - rise for rise in rises]), found, METRICS[1:2], 0)
    assert f"gains 3.41 ({interval.low:.2f} to {interval.high:.2f}) dB MCD;" in falls.sentence


def test_equal_differences_have_no_interval():
    second = BASE | {"stoi": tuple(value - 0.1 for value in BASE["stoi"])}
    made = compare(rows("first", **BASE), rows("second", **second), against(snr_db=1.0), METRICS, 0)
    assert [entry.verdict for entry in made.differences] == ["unknown", "same", "same"]
    assert not any(entry.moved for entry in made.differences)
    assert made.sentence == (
        "second against first (4 clips): −0.100 STOI: all differences are equal, so there is no interval; nothing else "
        "moved (of 2 metrics)."
    )
    alone = compare(rows("first", **BASE), rows("second", **second), against(snr_db=1.0), METRICS[:1], 0)
    assert alone.sentence.endswith("no interval; no other metric has values to compare.")


def test_clips_that_failed_anywhere_are_left_out():
    second = rows("second", **shifted(stoi=-0.05))
    second[0] = ClipScores("second", "a", failed="gone")
    found = against()
    del found["a"]
    made = compare(rows("first", **BASE), second, found, METRICS, 0)
    assert made.clips == 3
    assert made.differences[0].interval.count == 3


@pytest.mark.parametrize(
    ("kept", "text"), [(1, "(1 clip): one clip tells no differences."), (0, "they have no clip in common.")]
)
def test_too_few_clips_tell_nothing(kept, text):
    second = [
        row if index < kept else ClipScores("second", row.clip, failed="gone")
        for index, row in enumerate(rows("second", **shifted(stoi=-0.05)))
    ]
    made = compare(rows("first", **BASE), second, against(snr_db=math.nan), METRICS, 0)
    assert made.sentence.endswith(text)
    assert [entry.verdict for entry in made.differences] == ["unknown"] * 3


def test_values_that_one_has_not_do_not_count():
    first = BASE | {"mcd": (math.nan, 5.0, math.inf, 4.2)}
    made = compare(rows("first", **first), rows("second", **shifted(mcd=0.5)), against(), METRICS, 0)
    assert made.differences[1].interval.count == 2


@pytest.mark.parametrize("infinite", [math.inf, -math.inf])
def test_what_became_infinite_is_not_called_the_same(infinite):
    first = BASE | {"mcd": (5.0, 6.0, math.inf, math.inf)}
    second = shifted(stoi=-0.05) | {"mcd": (infinite, infinite, math.inf, math.inf)}
    made = compare(rows("first", **first), rows("second", **second), against(), METRICS, 0)
    assert made.differences[1].verdict == "unknown"
    assert "nothing else moved (of 2 metrics)" in made.sentence
    made = compare(rows("first", **first), rows("second", **second), against(), METRICS[:2], 0)
    assert "all of 1 metric moved" in made.sentence
