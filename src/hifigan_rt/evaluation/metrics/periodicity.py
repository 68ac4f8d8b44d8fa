"""Periodicity: how much of a signal repeats after one pitch period, whatever the period.

The published metric takes it from a neural tracker's confidence (torchcrepe). This is the classical quantity behind
such trackers, the peak of the normalised cross-correlation (Talkin: A robust algorithm for pitch tracking, 1995).
"""

from __future__ import annotations

import math
from collections.abc import Collection

import numpy as np

from hifigan_rt.evaluation.metrics.clips import Clips
from hifigan_rt.evaluation.metrics.pitch import F0_CEIL_HZ, F0_FLOOR_HZ
from hifigan_rt.evaluation.metrics.results import MetricResult

SAMPLE_RATE = 16000
HOP_LENGTH = 160
WINDOW = 640
"""40 ms, two periods of the lowest pitch: noise reaches 0.3 at most, where one period would let it reach 0.5."""

SILENCE_RMS = 1e-3
"""-60 dB of full scale (the published evaluations' threshold); quieter frames count as not periodic."""

_SHORTEST_LAG = math.ceil(SAMPLE_RATE / F0_CEIL_HZ)
_LONGEST_LAG = int(SAMPLE_RATE / F0_FLOOR_HZ)
_SPAN = WINDOW + _LONGEST_LAG
_N_FFT = 1024
"""At least `_SPAN`: then no product that a lag up to the longest needs wraps round."""
_BLOCK_FRAMES = 256


def measure(clips: Clips, keys: Collection[str]) -> dict[str, MetricResult]:
    """`periodicity_rmse`."""
    tracks = [periodicity(samples) for samples in clips.pair_at(SAMPLE_RATE)]
    if len(tracks[0]) == 0:
        result = MetricResult(math.nan, f"the clip is shorter than {1000 * _SPAN / SAMPLE_RATE:.0f} ms")
    else:
        result = MetricResult(float(np.sqrt(np.mean((tracks[0] - tracks[1]) ** 2))))
    return dict.fromkeys(keys, result)


def periodicity(samples: np.ndarray) -> np.ndarray:
    """Periodicity over time, from 0 (noise, silence) to 1 (strictly periodic).

    Args:
        samples: float64 `[N]` at `SAMPLE_RATE`.

    Returns:
        float64 `[T]`, frame t looking at the 60 ms from t * `HOP_LENGTH` on; empty if there are fewer.
    """
    if len(samples) < _SPAN:
        return np.empty(0)
    frames = np.lib.stride_tricks.sliding_window_view(samples, _SPAN)[::HOP_LENGTH]
    blocks = [_block_periodicity(frames[i : i + _BLOCK_FRAMES]) for i in range(0, len(frames), _BLOCK_FRAMES)]
    return np.concatenate(blocks)


def _block_periodicity(frames: np.ndarray) -> np.ndarray:
    frames = frames - frames.mean(axis=1, keepdims=True)
    spectrum = np.fft.rfft(frames, _N_FFT, axis=1)
    window_spectrum = np.fft.rfft(frames[:, :WINDOW], _N_FFT, axis=1)
    correlation = np.fft.irfft(window_spectrum.conj() * spectrum, _N_FFT, axis=1)[:, _SHORTEST_LAG : _LONGEST_LAG + 1]
    running = np.cumsum(np.pad(frames**2, ((0, 0), (1, 0))), axis=1)
    energies = running[:, WINDOW:] - running[:, : _LONGEST_LAG + 1]
    loud = energies[:, 0] >= WINDOW * SILENCE_RMS**2
    # The floor keeps lags that lead into digital silence from dividing by 0; the rounding of the sums lies below it.
    scale = np.sqrt(np.maximum(energies[:, :1] * energies[:, _SHORTEST_LAG:], 1e-12))
    return np.where(loud, np.clip((correlation / scale).max(axis=1), 0.0, 1.0), 0.0)
