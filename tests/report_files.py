"""Results of evaluations with sound on disk, for the tests of the report: a tone per system tells which it is."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

import evaluation_records
from hifigan_rt.audio import write_audio
from hifigan_rt.tools.evaluation.metrics.results import MetricResult
from hifigan_rt.tools.evaluation.results import (
    Clip,
    ClipScores,
    EvaluationResult,
    MetricSummary,
    System,
    WorstClip,
)
from hifigan_rt.tools.evaluation.statistics import summarize

SECONDS = 1.0
FIRST_HZ = 200.0
"""Of the recording; each system is 50 Hz higher than the one before."""


def tone(track: int, sample_rate: int = 22050, seconds: float = SECONDS) -> np.ndarray:
    """float32 `[N]`: what track `track` of every clip sounds like; the recording is 0."""
    times = np.arange(round(seconds * sample_rate)) / sample_rate
    return (0.3 * np.sin(2 * np.pi * (FIRST_HZ + 50 * track) * times)).astype(np.float32)


def write_sound(result: EvaluationResult, folder: Path, seconds: float = SECONDS) -> None:
    """Write every file that the result names."""
    names = [system.name for system in result.systems]
    paths = [(clip.reference, 0) for clip in result.clips]
    paths += [(row.audio, names.index(row.system) + 1) for row in result.scores]
    for relative, track in paths:
        if relative is not None:
            path = folder / relative
            path.parent.mkdir(parents=True, exist_ok=True)
            write_audio(path, tone(track, result.sample_rate, seconds), result.sample_rate, "pcm24")


def result_of(clips: Sequence[str], systems: Sequence[str] = ("one",), **changes) -> EvaluationResult:
    """A result of any size: STOI rises from clip to clip, SNR is infinite on the first and undefined on the second."""
    base = evaluation_records.result()
    rows, summaries = [], []
    for place, system in enumerate(systems):
        values = {
            "stoi": [0.5 + 0.4 * index / len(clips) + 0.01 * place for index in range(len(clips))],
            "snr": [[math.inf, math.nan][index] if index < 2 else 10.0 + index for index in range(len(clips))],
        }
        for index, clip in enumerate(clips):
            reasons = {"snr": ["identical", "the reference is digital silence"][index] if index < 2 else ""}
            scores = {key: MetricResult(column[index], reasons.get(key, "")) for key, column in values.items()}
            rows.append(ClipScores(system, clip, f"audio/{place}/{index}.flac", SECONDS, None, scores))
        worst = (WorstClip(clips[0], values["stoi"][0]),)
        for key, column in values.items():
            summaries.append(MetricSummary(system, key, summarize(column), worst if key == "stoi" else ()))
    fields = {
        "systems": tuple(System(name, "model", "ljspeech-v1") for name in systems),
        "clips": tuple(Clip(name, f"audio/ref/{index}.flac", SECONDS) for index, name in enumerate(clips)),
        "scores": tuple(rows),
        "summaries": tuple(summaries),
        "comparisons": (),
        "limits": (),
        "left_out": {},
    }
    return dataclasses.replace(base, **(fields | changes))
