"""Measures one clip: reads its audio, computes the metrics of each system, compares with the baseline's audio."""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hifigan_rt.audio.signal_metrics import snr_db
from hifigan_rt.config import MelConfig
from hifigan_rt.errors import AudioError, HifiganError, OutputError, error_text
from hifigan_rt.tools import records
from hifigan_rt.tools.evaluation.metrics import MetricResult, Signal, compute
from hifigan_rt.tools.evaluation.metrics.levels import overshoot
from hifigan_rt.tools.evaluation.metrics.waveform import si_sdr_db
from hifigan_rt.tools.evaluation.signal_files import SignalFiles
from hifigan_rt.tools.evaluation.sounds import SoundTrack, sound_of, write_script


@dataclass(frozen=True)
class Task:
    """What is measured of one system; paths of mono audio of one sample rate."""

    generated: str
    reference: str | None
    baseline: str | None
    """The same clip by the first system; None for that system itself."""
    metrics: tuple[str, ...]
    mel: MelConfig | None


@dataclass(frozen=True)
class Measured:
    """What came out."""

    scores: Mapping[str, MetricResult]
    notes: tuple[str, ...] = ()
    identical: bool | None = None
    """Whether the audio is the baseline's; None if there is none to compare with."""
    snr_db: float = math.nan
    """SNR of the audio against the baseline's; NaN if identical or unknown."""
    si_sdr_db: float = math.nan
    failed: str | None = None


@dataclass(frozen=True)
class SoundTask:
    """The script with the sound of a clip, see `sounds`."""

    path: str
    tracks: tuple[SoundTrack, ...]


@dataclass(frozen=True)
class ClipTask:
    """All that is measured of one clip; its files are decoded and analysed once for all systems."""

    tasks: tuple[Task, ...]
    """One per system."""
    sound: SoundTask | None = None
    """None if the script is there already."""


def measure_clip(clip: ClipTask) -> tuple[Measured, ...]:
    """Do each of a clip's tasks, then write its sound; a script that cannot be written is left to the report."""
    signals = SignalFiles()
    measured = tuple(measure(task, signals) for task in clip.tasks)
    if clip.sound is not None:
        with contextlib.suppress(OutputError):
            write_script(sound_of(clip.sound.tracks, signals), Path(clip.sound.path))
    return measured


def measure(task: Task, signals: SignalFiles) -> Measured:
    """Compute the metrics of one system's clip.

    A metric that fails where it should not has no value, and its error for a reason; the others stand.

    Args:
        task: what is measured.
        signals: gives the files, and keeps what is analysed of them.
    """
    try:
        generated = signals.read(task.generated)
        reference = None if task.reference is None else signals.read(task.reference)
        results, notes = _scores(task, reference, generated)
        against = {} if task.baseline is None else _against(signals.read(task.baseline).given, generated.given)
    except HifiganError as error:
        return Measured({}, failed=str(error))
    notes = (*overshoot(generated.given), *notes)
    return Measured(results, notes, **against)


def _scores(task: Task, reference: Signal | None, generated: Signal) -> tuple[dict[str, MetricResult], tuple[str, ...]]:
    try:
        scores = compute(task.metrics, reference, generated, task.mel)
    except AudioError:
        raise
    except Exception:  # noqa: BLE001 - one by one, to find which it was
        return _one_by_one(task.metrics, reference, generated, task.mel)
    return scores.results, scores.notes


def _one_by_one(
    keys: Sequence[str], reference: Signal | None, generated: Signal, mel: MelConfig | None
) -> tuple[dict[str, MetricResult], tuple[str, ...]]:
    results: dict[str, MetricResult] = {}
    notes: tuple[str, ...] = ()
    for key in keys:
        try:
            scores = compute([key], reference, generated, mel)
            results[key], notes = scores.results[key], scores.notes
        except Exception as error:  # noqa: BLE001 - its package's business
            results[key] = MetricResult(math.nan, f"its computation failed: {error_text(error)}")
    return results, notes


def _against(baseline: np.ndarray, generated: np.ndarray) -> dict[str, Any]:
    if np.array_equal(baseline, generated):
        return {"identical": True}
    common = min(len(baseline), len(generated))
    first, second = baseline[:common].astype(np.float64), generated[:common].astype(np.float64)
    if not first.any():
        return {"identical": False}
    return {"identical": False, "snr_db": snr_db(first, second), "si_sdr_db": si_sdr_db(first, second)}


def encode(value: ClipTask | Measured) -> dict[str, Any]:
    """What JSON can carry between processes and into the score file."""
    encoded: dict[str, Any] = records.encoded(dataclasses.asdict(value), keep_infinite=True)
    return encoded
