"""F0 and voicing, tracked by WORLD's DIO and refined by StoneMask.

Published figures use a neural tracker (torchcrepe); DIO is chosen because it needs neither PyTorch nor a GPU and takes
a twentieth of the time of WORLD's other tracker, Harvest. Figures of different trackers do not compare.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from hifigan_rt.evaluation.metrics.clips import Clips
from hifigan_rt.evaluation.metrics.results import MetricResult

F0_FLOOR_HZ = 50.0
F0_CEIL_HZ = 550.0
"""The range of the published evaluations (Morrison et al. 2022)."""

FRAME_PERIOD_MS = 5.0


@dataclass(frozen=True)
class PitchTrack:
    """F0 of one signal over time."""

    seconds: np.ndarray
    """float64 `[T]`, every `FRAME_PERIOD_MS`."""
    f0_hz: np.ndarray
    """float64 `[T]`; 0 where unvoiced."""

    @property
    def voiced(self) -> np.ndarray:
        """bool `[T]`."""
        return self.f0_hz > 0


def track_pitch(samples: np.ndarray, sample_rate: int) -> PitchTrack:
    """Track F0 of float64 `[N]` at `sample_rate` Hz."""
    import pyworld

    contiguous = np.ascontiguousarray(samples, np.float64)
    coarse, seconds = pyworld.dio(
        contiguous, sample_rate, f0_floor=F0_FLOOR_HZ, f0_ceil=F0_CEIL_HZ, frame_period=FRAME_PERIOD_MS
    )
    return PitchTrack(seconds, pyworld.stonemask(contiguous, coarse, seconds, sample_rate))


def track_pair(clips: Clips) -> tuple[PitchTrack, PitchTrack]:
    """Tracks of reference and generated signal, computed once per pair."""
    return clips.analysed(
        "pitch", lambda: (track_pitch(clips.pair[0], clips.sample_rate), track_pitch(clips.pair[1], clips.sample_rate))
    )


def measure(clips: Clips, keys: Collection[str]) -> dict[str, MetricResult]:
    """`f0_rmse_cents`, `vuv_f1` and `vuv_error`."""
    functions = {"f0_rmse_cents": f0_rmse_cents, "vuv_f1": voicing_f1, "vuv_error": voicing_error}
    tracks = track_pair(clips)
    return {key: functions[key](*tracks) for key in keys}


def f0_rmse_cents(reference: PitchTrack, generated: PitchTrack) -> MetricResult:
    """Root mean square of the F0 ratio in cents over frames voiced in both."""
    both = reference.voiced & generated.voiced
    if not both.any():
        return MetricResult(math.nan, "no frame is voiced in both signals")
    cents = 1200 * np.log2(generated.f0_hz[both] / reference.f0_hz[both])
    return MetricResult(float(np.sqrt(np.mean(cents**2))))


def voicing_f1(reference: PitchTrack, generated: PitchTrack) -> MetricResult:
    """F1 score of the generated signal's voiced frames against the reference's."""
    frames = int(reference.voiced.sum()) + int(generated.voiced.sum())
    if frames == 0:
        return MetricResult(math.nan, "no frame is voiced in either signal")
    return MetricResult(2 * int((reference.voiced & generated.voiced).sum()) / frames)


def voicing_error(reference: PitchTrack, generated: PitchTrack) -> MetricResult:
    """Share of frames voiced in one signal only."""
    return MetricResult(float(np.mean(reference.voiced != generated.voiced)))
