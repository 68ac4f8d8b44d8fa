"""How far one signal is from another."""

from __future__ import annotations

import numpy as np


def snr_db(reference: np.ndarray, other: np.ndarray) -> float:
    """Signal-to-noise ratio in dB of `other` against `reference`; infinity if they are equal.

    Both float arrays of one shape; computed in float64.
    """
    expected = reference.astype(np.float64)
    noise = float(np.sum((other.astype(np.float64) - expected) ** 2))
    if noise == 0:
        return float("inf")
    power = float(np.sum(expected**2))
    return float("-inf") if power == 0 else 10 * float(np.log10(power / noise))


def mel_l1(reference: np.ndarray, other: np.ndarray) -> float:
    """Mean absolute difference of two log-mels `[M, T]`, over the frames that both have."""
    frames = min(reference.shape[-1], other.shape[-1])
    difference = reference[..., :frames].astype(np.float64) - other[..., :frames].astype(np.float64)
    return float(np.mean(np.abs(difference)))
