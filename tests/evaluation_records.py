"""Results of evaluations made by hand, for the tests of what reads them."""

from __future__ import annotations

import math

from hifigan_rt.config import PRESETS
from hifigan_rt.tools.evaluation.metrics.results import MetricResult
from hifigan_rt.tools.evaluation.results import (
    Clip,
    ClipScores,
    Comparison,
    Difference,
    EvaluationResult,
    LimitCheck,
    Metric,
    MetricSummary,
    System,
    WorstClip,
)
from hifigan_rt.tools.evaluation.statistics import paired_difference, summarize

VALUES = {
    "float32": {"stoi": (0.97, 0.96, 0.98), "snr": (math.inf, 20.0, math.nan)},
    "bfloat16": {"stoi": (0.96, 0.95, 0.97), "snr": (10.0, 12.0, math.nan)},
}
CLIPS = ("a", "b", "sub/c")


def metric(key: str, **changes) -> Metric:
    values = {
        "key": key, "title": key.upper(), "unit": "dB" if key == "snr" else "", "direction": "higher",
        "definition": "what it is", "source": "who said so", "identity": 1.0, "needs_reference": True,
    }  # fmt: skip
    return Metric(**(values | changes))


def result(**changes) -> EvaluationResult:
    """Two systems, three clips, two metrics: one value is infinite, one is not defined, and one clip failed."""
    rows, summaries = [], []
    for system, columns in VALUES.items():
        for index, clip in enumerate(CLIPS):
            scores = {
                key: MetricResult(values[index], {math.inf: "identical"}.get(values[index], ""))
                if not math.isnan(values[index])
                else MetricResult(math.nan, "the reference is digital silence")
                for key, values in columns.items()
            }
            rows.append(ClipScores(system, clip, f"audio/{system}/{clip}.flac", 1.5, None, scores, ("cropped",)))
        for key, values in columns.items():
            worst = (WorstClip(CLIPS[1], values[1]),)
            summaries.append(MetricSummary(system, key, summarize(values), worst))
    rows[-1] = ClipScores("bfloat16", CLIPS[2], failed="no file for it in 'made'")
    stoi = paired_difference(VALUES["float32"]["stoi"], VALUES["bfloat16"]["stoi"])
    fields = {
        "date": "2026-01-02T03:04:05+00:00",
        "command": "hifigan eval --model ljspeech-v1",
        "data_set": "clips (3 clips)",
        "sample_rate": 22050,
        "mel": PRESETS["v1"].mel,
        "metrics": (metric("stoi"), metric("snr", identity=math.inf)),
        "left_out": {"pesq_wb": "metric 'pesq_wb' needs the package pesq"},
        "systems": (
            System("float32", "model", "ljspeech-v1", "ab" * 32, "native", "native 0.1", "CPU", "float32"),
            System("bfloat16", "folder", "made", notes=("1 file more than clips",)),
        ),
        "clips": tuple(Clip(name, f"audio/reference/{name}.flac", 1.5) for name in CLIPS),
        "scores": tuple(rows),
        "summaries": tuple(summaries),
        "comparisons": (
            Comparison(
                "float32", "bfloat16", 2, 0, 40.5, 40.6, (Difference("stoi", stoi, moved=True, verdict="worse"),),
                "bfloat16 against float32 (2 clips): costs 0.010 STOI",
            ),
        ),
        "limits": (LimitCheck("float32", "stoi", "min", 0.95, 0.97, passed=True),),
        "accuracy": "STOI 0.970",
        "packages": {"pystoi": "0.4.1"},
    }  # fmt: skip
    return EvaluationResult(**(fields | changes))
