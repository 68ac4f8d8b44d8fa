"""F0, voicing and periodicity, from peaks of the normalised cross-correlation joined into the best path.

Published figures use a neural tracker (torchcrepe), which needs PyTorch and weights from the network. Trackers were
compared on copy-synthesis of three LJSpeech clips by HiFi-GAN V1:

    tracker                   V/UV F1          F0 RMSE, cents
    WORLD, DIO + StoneMask    0.89 to 0.93     51 to 70
    WORLD, Harvest            0.93 to 0.98     140 to 374
    this one                  0.96 to 0.98     21 to 96

WORLD's place octave errors and gaps at random. This one is a path after P. Boersma (Accurate short-term analysis of the
fundamental frequency, 1993) over the correlation of RAPT; its voicing threshold was chosen on a grid that included the
clips above. Figures of different trackers do not compare.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from hifigan_rt.tools.evaluation.metrics.correlation import (
    HOP_LENGTH,
    SAMPLE_RATE,
    SHORTEST_LAG,
    Correlation,
    correlate,
)
from hifigan_rt.tools.evaluation.metrics.results import GENERATED, MetricResult
from hifigan_rt.tools.evaluation.metrics.signals import Signal, SignalPair

F0_FLOOR_HZ = 50.0
F0_CEIL_HZ = 550.0
"""The range of the published evaluations (Morrison et al. 2022)."""

FRAME_SECONDS = HOP_LENGTH / SAMPLE_RATE

SILENCE_RMS = 1e-3
"""-60 dB of full scale (the published evaluations' threshold); quieter frames are unvoiced and not periodic."""

_CANDIDATES = 6
_UNVOICED_STRENGTH = 0.6
"""A path is voiced where its correlation exceeds this; Boersma's 0.45 lets weak frames in, an octave off."""

# Boersma 1993, table of defaults of Praat; jumps are given there per 10 ms.
_OCTAVE_COST = 0.01
_OCTAVE_JUMP_COST = 0.35 * 0.01 / FRAME_SECONDS
_VOICING_CHANGE_COST = 0.14


@dataclass(frozen=True)
class PitchTrack:
    """F0 of one signal over time."""

    f0_hz: np.ndarray
    """float64 `[T]`, every `FRAME_SECONDS` from 0 on; 0 where unvoiced."""
    periodicity: np.ndarray
    """float64 `[T]`, from 0 (noise, silence) to 1 (strictly periodic): the largest correlation at any lag."""

    @property
    def voiced(self) -> np.ndarray:
        """bool `[T]`."""
        return self.f0_hz > 0

    @property
    def seconds(self) -> np.ndarray:
        """float64 `[T]`."""
        return np.arange(len(self.f0_hz)) * FRAME_SECONDS


def track_pitch(samples: np.ndarray) -> PitchTrack:
    """Track float64 `[N]` at `SAMPLE_RATE`."""
    periodicities, frequencies, strengths = [], [], []
    for correlation in correlate(samples):
        loud = correlation.rms >= SILENCE_RMS
        f0_hz, strength = _candidates(correlation)
        frequencies.append(f0_hz)
        strengths.append(np.where(loud[:, None], strength, -np.inf))
        periodicities.append(np.where(loud, correlation.values.max(axis=1).clip(0.0), 0.0))
    path = _best_path(np.concatenate(frequencies), np.concatenate(strengths))
    return PitchTrack(path, np.concatenate(periodicities))


def track(signal: Signal) -> PitchTrack:
    """Track a signal, once however often it is asked for."""
    return signal.analysed(PitchTrack, lambda: track_pitch(signal.at(SAMPLE_RATE)))


def measure(pair: SignalPair, keys: Collection[str]) -> dict[str, MetricResult]:
    """`f0_rmse_cents`, `vuv_f1`, `vuv_error` and `periodicity_rmse`."""
    functions = {
        "f0_rmse_cents": f0_rmse_cents,
        "vuv_f1": voicing_f1,
        "vuv_error": voicing_error,
        "periodicity_rmse": periodicity_rmse,
    }
    tracks = [track(signal) for signal in pair.both]
    return {key: functions[key](*tracks) for key in keys}


def f0_rmse_cents(reference: PitchTrack, generated: PitchTrack) -> MetricResult:
    """Root mean square of the F0 ratio in cents over frames voiced in both."""
    both = reference.voiced & generated.voiced
    if reference.voiced.any() and not generated.periodicity.any():
        return MetricResult(math.nan, f"{GENERATED} is below -60 dB of full scale throughout")
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


def periodicity_rmse(reference: PitchTrack, generated: PitchTrack) -> MetricResult:
    """Root mean square difference in periodicity over all frames."""
    return MetricResult(float(np.sqrt(np.mean((reference.periodicity - generated.periodicity) ** 2))))


def _candidates(correlation: Correlation) -> tuple[np.ndarray, np.ndarray]:
    """F0 in Hz and strength of the highest peaks, both `[T, _CANDIDATES]`; strength -inf where there are fewer."""
    values = correlation.values
    inner = values[:, 1:-1]
    is_peak = (inner > values[:, :-2]) & (inner >= values[:, 2:])
    lags = np.arange(SHORTEST_LAG + 1, SHORTEST_LAG + 1 + inner.shape[1])
    ranked = np.where(is_peak, inner - _octave_cost(lags), -np.inf)
    chosen = np.argpartition(-ranked, _CANDIDATES - 1, axis=1)[:, :_CANDIDATES]
    rows = np.arange(len(values))[:, None]
    left, middle, right = (values[rows, chosen + shift] for shift in range(3))
    # The vertex of the parabola through a peak and its neighbours; elsewhere the result is thrown away.
    curvature = np.where(is_peak[rows, chosen], left - 2 * middle + right, -1.0)
    offset = (0.5 * (left - right) / curvature).clip(-0.5, 0.5)
    refined = lags[chosen] + offset
    f0_hz = SAMPLE_RATE / refined
    strength = middle - 0.25 * (left - right) * offset - _octave_cost(refined)
    usable = is_peak[rows, chosen] & (f0_hz >= F0_FLOOR_HZ) & (f0_hz <= F0_CEIL_HZ)
    return f0_hz, np.where(usable, strength, -np.inf)


def _octave_cost(lags: np.ndarray) -> np.ndarray:
    """A slight preference for short lags: every multiple of the period correlates too."""
    cost: np.ndarray = _OCTAVE_COST * np.log2(lags * F0_FLOOR_HZ / SAMPLE_RATE)
    return cost


def _best_path(f0_hz: np.ndarray, strength: np.ndarray) -> np.ndarray:
    """The path through unvoiced (state 0) and candidates with the greatest strength less its jumps: F0 `[T]`."""
    frames = len(f0_hz)
    octaves = np.log2(f0_hz)
    score = np.concatenate([np.full((frames, 1), _UNVOICED_STRENGTH), strength], axis=1)
    states = score.shape[1]
    cost = np.zeros((states, states))
    cost[0, 1:] = cost[1:, 0] = _VOICING_CHANGE_COST
    came_from = np.zeros((frames, states), np.intp)
    best = score[0]
    for t in range(1, frames):
        cost[1:, 1:] = _OCTAVE_JUMP_COST * np.abs(octaves[t - 1][:, None] - octaves[t][None])
        totals = best[:, None] - cost
        came_from[t] = totals.argmax(axis=0)
        best = totals.max(axis=0) + score[t]
    path = np.zeros(frames, np.intp)
    path[-1] = best.argmax()
    for t in range(frames - 1, 0, -1):
        path[t - 1] = came_from[t, path[t]]
    return np.where(path > 0, f0_hz[np.arange(frames), np.maximum(path - 1, 0)], 0.0)
