"""Mel-cepstral distortion (R. Kubichek 1993) of WORLD's spectral envelopes.

The least portable of the published numbers: order, c0, time alignment, frame selection and the factor in front differ
from tool to tool. Here: orders 1 to 24, no c0, no alignment, all frames in which one of the signals is anything,
10 / ln 10 * sqrt(2).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Collection

import numpy as np

from hifigan_rt.tools.evaluation.metrics.pitch import PitchTrack, track
from hifigan_rt.tools.evaluation.metrics.results import GENERATED, MetricResult, undefined
from hifigan_rt.tools.evaluation.metrics.signals import Signal, SignalPair

ORDER = 24

_UNVOICED_HALF_SECONDS = 1.5 / 500
"""Reach of CheapTrick's window, three periods long, which takes unvoiced frames for 500 Hz."""

_BLOCK_FRAMES = 1000
"""Frames analysed at once: 20 MB of envelopes and their transforms, whatever the length of the clip."""


def measure(pair: SignalPair, keys: Collection[str]) -> dict[str, MetricResult]:
    """`mcd`."""
    for role, samples in zip(("the reference", GENERATED), pair.samples, strict=True):
        if not samples.any():
            return undefined(keys, f"{role} is digital silence, which has no spectral envelope")
    distances = mel_cepstral_distances_db(*(_cepstra(signal) for signal in pair.both))
    sounding = ~_both_silent(pair)
    if not sounding.any():
        return undefined(keys, "both are digital silence in all frames")
    return dict.fromkeys(keys, MetricResult(float(np.mean(distances[sounding]))))


def _both_silent(pair: SignalPair) -> np.ndarray:
    """Frames, bool `[T]`, in which both signals are digital silence as far as CheapTrick looks.

    Its envelope there is that of noise which it adds, another one in each signal: equal silence would be 1.5 dB apart.
    """
    voices = [track(signal) for signal in pair.both]
    sounding = np.concatenate([[0], np.cumsum((pair.samples[0] != 0) | (pair.samples[1] != 0))])
    centres = np.round(voices[0].seconds * pair.sample_rate).astype(np.int64)
    half = math.ceil(_UNVOICED_HALF_SECONDS * pair.sample_rate)
    first, last = (np.clip(centres + shift, 0, len(sounding) - 1) for shift in (-half, half + 1))
    silent: np.ndarray = (sounding[first] == sounding[last]) & ~(voices[0].voiced | voices[1].voiced)
    return silent


def _cepstra(signal: Signal) -> np.ndarray:
    """Mel-cepstra of a signal, float64 `[T, ORDER + 1]`, computed once."""

    def analyse() -> np.ndarray:
        contour, alpha = track(signal), all_pass_constant(signal.sample_rate)
        return np.concatenate(
            [
                mel_cepstrum(
                    envelope(signal.samples, contour, slice(first, first + _BLOCK_FRAMES), signal.sample_rate),
                    ORDER, alpha,
                )
                for first in range(0, len(contour.f0_hz), _BLOCK_FRAMES)
            ]
        )  # fmt: skip

    return signal.analysed("mel-cepstra", analyse)


def envelope(samples: np.ndarray, track: PitchTrack, frames: slice, sample_rate: int) -> np.ndarray:
    """CheapTrick's spectral envelope with its default transform (1,024 at 22,050 Hz), power `[T, bins]`."""
    import pyworld

    power: np.ndarray = pyworld.cheaptrick(
        np.ascontiguousarray(samples), track.f0_hz[frames], track.seconds[frames], sample_rate
    )
    return power


def mel_cepstral_distances_db(reference: np.ndarray, generated: np.ndarray) -> np.ndarray:
    """The distance of mel-cepstra `[T, order + 1]` in dB, frame by frame, c0 left out: float64 `[T]`."""
    difference = reference[:, 1:] - generated[:, 1:]
    distances: np.ndarray = 10 / math.log(10) * np.sqrt(2 * np.sum(difference**2, axis=1))
    return distances


def mel_cepstrum(power: np.ndarray, order: int, alpha: float) -> np.ndarray:
    """Mel-cepstrum of power envelopes: cepstrum of the log magnitude, its frequency axis warped by an all-pass.

    Args:
        power: `[T, bins]`, above 0.
        order: of the last coefficient.
        alpha: the all-pass constant, in (-1, 1); 0 leaves the plain cepstrum.

    Returns:
        float64 `[T, order + 1]`.
    """
    cepstrum = np.fft.irfft(np.log(power), axis=1)[:, : power.shape[1]]
    # Causal part of the log magnitude, half the log power: the mirror image doubles all of it but the ends.
    cepstrum[:, 0] /= 2
    cepstrum[:, -1] /= 2
    warped: np.ndarray = cepstrum @ _warping(power.shape[1], order, alpha).T
    return warped


@functools.lru_cache(maxsize=8)
def all_pass_constant(sample_rate: int) -> float:
    """The constant, to three decimals, whose all-pass phase is nearest to the mel scale 1000 log2(1 + f / 1000).

    0.312 at 8 kHz, 0.41 at 16 kHz, 0.455 at 22.05 kHz, 0.554 at 48 kHz.
    """
    omega = np.linspace(0, np.pi, 1000)
    mel = np.log1p(omega / np.pi * sample_rate / 2000)
    mel /= mel[-1]
    errors = []
    for alpha in np.arange(1000) / 1000:
        phase = omega + 2 * np.arctan2(alpha * np.sin(omega), 1 - alpha * np.cos(omega))
        errors.append(np.mean((phase / np.pi - mel) ** 2))
    return float(np.argmin(errors)) / 1000


@functools.lru_cache(maxsize=8)
def _warping(size: int, order: int, alpha: float) -> np.ndarray:
    """The matrix `[order + 1, size]` that takes a cepstrum to its frequency-warped one.

    Column n is the n-th power of the all-pass as a series in the warped z^-1, and each follows from the last (Oppenheim
    and Johnson: Discrete representation of signals, 1972).
    """
    matrix = np.zeros((order + 1, size))
    matrix[0, 0] = 1
    for n in range(1, size):
        last, column = matrix[:, n - 1], matrix[:, n]
        column[0] = alpha * last[0]
        if order > 0:
            column[1] = (1 - alpha**2) * last[0] + alpha * last[1]
        for m in range(2, order + 1):
            column[m] = last[m - 1] + alpha * (last[m] - column[m - 1])
    return matrix
