"""Recordings and foreign audio as they are measured: mono, at one rate, float WAV; what is odd about them is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from hifigan_rt.audio import Container, Encoding, conversions, prepare, read_audio, write_audio
from hifigan_rt.tools.bulk.long_clips import ReadSettings
from hifigan_rt.tools.bulk.synthesis import WriteSettings
from hifigan_rt.tools.bulk.work import ClipFacts, Work
from hifigan_rt.tools.evaluation.metrics.levels import FULL_SCALE, overshoot

ENCODING: Encoding = "float"
"""Exact, beyond full scale as well: integers would clip what is to be measured."""

CONTAINER: Container = "wav"
SUFFIX = ".wav"

OFFSET_FLOOR = 0.01
"""A constant part of -40 dB of full scale; that of ordinary sound cards is below -60 dB."""

CLIPPED_RUN = 3
"""Samples in a row at full scale: one alone is what a normalised recording has."""


class Preparation(Work[tuple[np.ndarray, tuple[str, ...]], tuple[np.ndarray, tuple[str, ...]]]):
    """Audio to measurable audio."""

    def __init__(self, sample_rate: int, reading: ReadSettings) -> None:
        self._sample_rate = sample_rate
        self._reading = reading

    def settings(self) -> dict[str, Any]:
        return {
            "command": "eval",
            "sample_rate": self._sample_rate,
            "resample": self._reading.resample,
            "mono": self._reading.mono,
            "encoding": ENCODING,
        }

    def read(self, source: Path) -> tuple[np.ndarray, tuple[str, ...]]:
        recording = read_audio(source, self._reading.max_seconds)
        samples = prepare(
            recording, self._sample_rate, self._reading.resample, self._reading.mono, rate_of=self._reading.rate_of
        )
        notes = () if recording.note is None else (recording.note,)
        changed = conversions(recording.sample_rate, recording.channels, self._sample_rate)
        return samples, (*notes, *changed, *oddities(samples))

    def compute(self, data: tuple[np.ndarray, tuple[str, ...]]) -> tuple[np.ndarray, tuple[str, ...]]:
        return data

    def write(self, data: tuple[np.ndarray, tuple[str, ...]], output: Path) -> ClipFacts:
        samples, notes = data
        write_audio(output, samples, self._sample_rate, ENCODING, CONTAINER)
        return ClipFacts(
            output_samples=len(samples),
            audio_seconds=round(len(samples) / self._sample_rate, 6),
            notes=notes,
        )


def write_settings() -> WriteSettings:
    """How the audio of a model is written."""
    return WriteSettings(ENCODING, CONTAINER)


def oddities(samples: np.ndarray) -> tuple[str, ...]:
    """What makes float `[N]` doubtful as a recording of speech."""
    if not samples.any():
        return ("digital silence",)
    notes = [*overshoot(samples)]
    full = (np.abs(samples) >= FULL_SCALE) & (np.abs(samples) <= 1)
    if len(full) >= CLIPPED_RUN and np.convolve(full, np.ones(CLIPPED_RUN), "valid").max() >= CLIPPED_RUN:
        notes.append(f"clipped: {int(full.sum())} samples at full scale, {CLIPPED_RUN} or more of them in a row")
    offset = float(samples.mean(dtype=np.float64))
    if abs(offset) >= OFFSET_FLOOR:
        notes.append(f"has a constant offset of {offset:+.3f}")
    return tuple(notes)
