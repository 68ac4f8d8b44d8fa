"""Distances between short-time spectra: multi-resolution STFT distance and log-spectral distance."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator
from dataclasses import dataclass

import numpy as np

from hifigan_rt.mel.analysis import hann_window
from hifigan_rt.tools.evaluation.metrics.results import MetricResult, undefined
from hifigan_rt.tools.evaluation.metrics.signals import SignalPair

POWER_FLOOR = 1e-8
"""Power |X|^2 below it is raised to it (the eps of auraloss); 16-bit rounding noise lies at 3e-8 for 1,024 samples."""

_BLOCK_VALUES = 1 << 18
"""Windowed samples handled at once: 2 MB of float64, so that memory does not grow with the clip."""


@dataclass(frozen=True)
class Resolution:
    """Settings of one short-time Fourier transform, in samples."""

    n_fft: int
    hop_length: int
    win_length: int


MULTI_RESOLUTION = (Resolution(1024, 120, 600), Resolution(2048, 240, 1200), Resolution(512, 50, 240))
"""Yamamoto, Song, Kim: Parallel WaveGAN (2020), table 1; the defaults of auraloss."""

LOG_SPECTRAL = Resolution(2048, 512, 2048)


def measure(pair: SignalPair, keys: Collection[str]) -> dict[str, MetricResult]:
    """`mr_stft` and `lsd`."""
    if pair.reference is not None and not pair.reference.given.any():
        return undefined(keys, "the reference is digital silence")
    functions = {"mr_stft": multi_resolution_stft, "lsd": log_spectral_distance_db}
    needed = LOG_SPECTRAL.n_fft // 2 + 1
    if len(pair.generated) < needed:
        return undefined(keys, f"the clip has {len(pair.generated)} samples and the transform needs at least {needed}")
    return {key: MetricResult(functions[key](*pair.samples)) for key in keys}


def multi_resolution_stft(reference: np.ndarray, generated: np.ndarray) -> float:
    """Spectral convergence plus mean absolute ln-magnitude difference, mean over `MULTI_RESOLUTION`.

    Args:
        reference: float64 `[N]`, N at least half the longest transform, plus one.
        generated: the same shape.
    """
    return float(np.mean([_single_resolution(reference, generated, setting) for setting in MULTI_RESOLUTION]))


def log_spectral_distance_db(reference: np.ndarray, generated: np.ndarray) -> float:
    """Root mean square over bins of the difference in 10 log10 power, mean over frames; shapes as above."""
    total, frames = 0.0, 0
    for powers in _power_blocks(reference, generated, LOG_SPECTRAL):
        difference = 10 * np.log10(powers[0] / powers[1])
        total += float(np.sum(np.sqrt(np.mean(difference**2, axis=1))))
        frames += len(difference)
    return total / frames


def _single_resolution(reference: np.ndarray, generated: np.ndarray, setting: Resolution) -> float:
    error_power = reference_power = log_difference = 0.0
    values = 0
    for powers in _power_blocks(reference, generated, setting):
        magnitudes = np.sqrt(powers)
        error_power += float(np.sum((magnitudes[0] - magnitudes[1]) ** 2))
        reference_power += float(np.sum(powers[0]))
        log_difference += float(np.sum(np.abs(np.log(magnitudes[0] / magnitudes[1]))))
        values += magnitudes[0].size
    return math.sqrt(error_power / reference_power) + log_difference / values


def _power_blocks(reference: np.ndarray, generated: np.ndarray, setting: Resolution) -> Iterator[np.ndarray]:
    """Floored power spectra of both signals, float64 `[2, frames, bins]`, a block of frames at a time."""
    half = setting.n_fft // 2
    padded = np.pad(np.stack([reference, generated]), ((0, 0), (half, half)), mode="reflect")
    windows = np.lib.stride_tricks.sliding_window_view(padded, setting.n_fft, axis=1)[:, :: setting.hop_length]
    hann = hann_window(setting.n_fft, setting.win_length)
    block = max(1, _BLOCK_VALUES // (2 * setting.n_fft))
    for first in range(0, windows.shape[1], block):
        spectrum = np.fft.rfft(windows[:, first : first + block] * hann, axis=-1)
        yield np.maximum(spectrum.real**2 + spectrum.imag**2, POWER_FLOOR)
