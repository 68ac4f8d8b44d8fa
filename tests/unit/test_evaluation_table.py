"""What the terminal shows of an evaluation, and the rows of its CSV."""

import csv
import dataclasses
import math

from evaluation_records import metric, result
from hifigan_rt.tools.evaluation.output import to_csv
from hifigan_rt.tools.evaluation.results import Clip, MetricSummary
from hifigan_rt.tools.evaluation.statistics import summarize
from hifigan_rt.tools.evaluation.table import failures, remarks, to_text


def test_means_stand_beside_what_is_published():
    lines = to_text(result()).splitlines()
    assert lines[0] == "clips (3 clips), 22050 Hz"
    assert lines[1] == "  float32: ljspeech-v1 on native 0.1, float32, CPU"
    assert lines[2] == "  bfloat16: audio in 'made'"
    header, stoi, snr = lines[4:7]
    assert header.split() == ["metric", "float32", "bfloat16", "published"]
    # 0.96, 0.97, 0.98: Student's t with 2 degrees is 4.303, times 0.01 over the root of 3.
    assert " ".join(stoi.split()) == "STOI ↑ 0.970 ± 0.025 0.960 ± 0.025 0.956 to 0.974"
    assert snr.startswith("SNR (dB) ↑")
    assert len({len(line.rstrip()) for line in (header, stoi)}) == 1
    assert "worst STOI: b 0.960" in lines
    assert "bfloat16 against float32 (2 clips): costs 0.010 STOI" in lines
    assert "float32: stoi is 0.970, must be at least 0.95: kept" in lines


def test_an_interval_that_lies_unevenly_shows_its_ends():
    skewed = summarize([1 + 0.01 * index for index in range(39)] + [90.0])
    made = dataclasses.replace(
        result(),
        metrics=(metric("mcd"),),
        summaries=(MetricSummary("float32", "mcd", skewed),),
        limits=(),
        comparisons=(),
    )
    mean, low, high = skewed.interval.mean, skewed.interval.low, skewed.interval.high
    assert f" {mean:.3f} ({low:.3f} to {high:.3f})" in to_text(made)
    assert "\nmean (one end to the other) where the interval" in to_text(made)
    assert "one end" not in to_text(result())


def test_identical_and_missing_values_have_words():
    columns = {"snr": (math.inf, math.inf), "mcd": (math.nan, math.nan), "stoi": (0.5,)}
    metrics = tuple(metric(key) for key in columns)
    summaries = tuple(MetricSummary("float32", key, summarize(values)) for key, values in columns.items())
    made = dataclasses.replace(result(), metrics=metrics, summaries=summaries, limits=(), comparisons=())
    lines = {line.split()[0]: line.split() for line in to_text(made).splitlines() if line}
    assert "identical" in lines["SNR"]
    assert lines["MCD"][2] == "–"
    assert lines["STOI"][2:4] == ["0.500", "–"], "one value has no interval, a system without it has a dash"


def test_means_of_some_clips_and_infinite_ones_say_so():
    columns = {"snr": (math.inf, math.nan), "si_sdr": (math.inf, math.inf), "mcd": (-math.inf, 2.0), "stoi": (0.5, 0.7)}
    columns["pesq"] = (2.0, math.nan)
    metrics = tuple(metric(key) for key in columns)
    summaries = tuple(MetricSummary("float32", key, summarize(values)) for key, values in columns.items())
    made = dataclasses.replace(result(), metrics=metrics, summaries=summaries, limits=(), comparisons=())
    lines = {line.split()[0]: line for line in to_text(made).splitlines() if line}
    assert "identical (1 of 2 clips)" in lines["SNR"]
    assert " ∞ " in lines["SI_SDR"], "a copy of another level has an infinite SI-SDR too"
    assert " −∞ " in lines["MCD"]
    assert "2.000 (1 of 2 clips)" in lines["PESQ"]
    assert "clips" not in lines["STOI"]


def test_what_is_odd_is_told_once():
    notes = ("digital silence",)
    clips = (Clip("a", notes=notes), Clip("b", notes=notes), Clip("sub/c"))
    made = result()
    odd = dataclasses.replace(made.scores[3], notes=("clipped: 9 samples", "cropped to 9 samples"))
    scores = (*made.scores[:3], odd)
    why = "there are no recordings"
    left_out = {"stoi": why, "mcd": why, **made.left_out}
    told = list(remarks(dataclasses.replace(made, clips=clips, scores=scores, left_out=left_out)))
    assert told == [
        "left out stoi, mcd: there are no recordings",
        "metric 'pesq_wb' needs the package pesq",
        "bfloat16: 1 file more than clips",
        "recording 'a' and 1 more: digital silence",
        "bfloat16 'a': clipped: 9 samples",
        "float32 'sub/c': no snr: the reference is digital silence",
    ]


def test_failures_are_named_once():
    made = result()
    assert failures(made) == [("bfloat16, sub/c", "no file for it in 'made'")]
    clips = (*made.clips[:2], Clip("sub/c", problem="damaged"))
    assert failures(dataclasses.replace(made, clips=clips)) == [("sub/c", "damaged")]


def test_csv_has_a_row_per_system_and_clip():
    rows = list(csv.DictReader(to_csv(result()).splitlines()))
    assert [(row["system"], row["clip"]) for row in rows[:4]] == [
        ("float32", "a"), ("float32", "b"), ("float32", "sub/c"), ("bfloat16", "a"),
    ]  # fmt: skip
    assert rows[0]["stoi"] == "0.97"
    assert rows[0]["snr"] == "inf"
    assert rows[2]["snr"] == ""
    assert rows[5]["failed"] == "no file for it in 'made'"
    assert rows[5]["stoi"] == ""
    assert rows[0]["notes"] == "cropped"
