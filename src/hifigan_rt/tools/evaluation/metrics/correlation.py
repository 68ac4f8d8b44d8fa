"""Normalised cross-correlation of a signal with what follows it: near 1 one pitch period later, if there is one.

The classical ground of pitch trackers (D. Talkin: A robust algorithm for pitch tracking, 1995).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

SAMPLE_RATE = 16000
HOP_LENGTH = 80
WINDOW = 640
"""40 ms, two periods of the lowest pitch: noise then reaches 0.3; with one period it would reach 0.5."""

SHORTEST_LAG = 28
LONGEST_LAG = 321
"""One sample beyond the lags of 550 and 50 Hz, so that a peak at either has both its neighbours."""

_SPAN = WINDOW + LONGEST_LAG
_N_FFT = 1024
"""Length of the transform, at least the span: then no product that a lag up to the longest needs wraps round."""
_BLOCK_FRAMES = 256
_CENTRE = (WINDOW + HOP_LENGTH) // 2
"""What a frame looks at starts this much before its time: the middle of window and its copy 5 ms later (200 Hz)."""


@dataclass(frozen=True)
class Correlation:
    """Correlation of a stretch of a signal, frame by frame every 5 ms."""

    values: np.ndarray
    """float64 `[T, lags]` in [-1, 1], lags from `SHORTEST_LAG` to `LONGEST_LAG` samples."""
    rms: np.ndarray
    """float64 `[T]`, of the frame's window without its mean."""


def correlate(samples: np.ndarray) -> Iterator[Correlation]:
    """Correlate float64 `[N]` at `SAMPLE_RATE`, a block of frames at a time; 1 + N // `HOP_LENGTH` frames in all.

    Beyond the ends the first and the last sample go on: zeros would make a step of an offset, and a step correlates.
    """
    count = 1 + len(samples) // HOP_LENGTH
    padded = np.pad(samples, (_CENTRE, _SPAN), mode="edge")
    frames = np.lib.stride_tricks.sliding_window_view(padded, _SPAN)[::HOP_LENGTH][:count]
    for first in range(0, count, _BLOCK_FRAMES):
        yield _correlate_frames(frames[first : first + _BLOCK_FRAMES])


def _correlate_frames(frames: np.ndarray) -> Correlation:
    frames = frames - frames.mean(axis=1, keepdims=True)
    spectrum = np.fft.rfft(frames, _N_FFT, axis=1)
    window_spectrum = np.fft.rfft(frames[:, :WINDOW], _N_FFT, axis=1)
    products = np.fft.irfft(window_spectrum.conj() * spectrum, _N_FFT, axis=1)[:, SHORTEST_LAG : LONGEST_LAG + 1]
    running = np.cumsum(np.pad(frames**2, ((0, 0), (1, 0))), axis=1)
    energies = running[:, WINDOW:] - running[:, : LONGEST_LAG + 1]
    # The floor keeps lags that lead into digital silence from dividing by 0; the rounding of the sums lies below it.
    scale = np.sqrt(np.maximum(energies[:, :1] * energies[:, SHORTEST_LAG:], 1e-12))
    return Correlation(np.clip(products / scale, -1.0, 1.0), np.sqrt(energies[:, 0] / WINDOW))
