"""Weights and mels from a seed: what makes the golden outputs, and what tests feed to engines."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np


def seeded_weights(shapes: Mapping[str, tuple[int, ...]], seed: int) -> dict[str, np.ndarray]:
    """Random float64 parameters, drawn in the order of their sorted names.

    Scaled so that every layer keeps about the variance of its input, as trained weights do: the signal neither dies
    nor saturates the final tanh, so that an error anywhere in the network shows in the output.
    """
    rng = np.random.default_rng(seed)
    weights = {}
    for name in sorted(shapes):
        shape = shapes[name]
        values = rng.standard_normal(shape)
        if name.endswith(".bias"):
            values *= 0.1
        elif name.startswith("ups."):
            # A transposed convolution sums C_in * K / stride products per output; K is about twice the stride.
            values /= np.sqrt(shape[0] * 2)
        elif name.startswith("conv_pre"):
            # Log-mels are around -5: without this the first layer would be far above one.
            values /= 5 * np.sqrt(shape[1] * shape[2])
        elif name == "scale":
            values = 1 + np.abs(values)
        else:
            values /= 2 * np.sqrt(np.prod(shape[1:]))
        weights[name] = values
    return weights


def seeded_vector(channels: int) -> np.ndarray:
    """A float64 conditioning vector `[G]` of float32 numbers."""
    return np.random.default_rng(7).standard_normal(channels).astype(np.float32).astype(np.float64)


def seeded_mel(batch: int, num_mels: int, frames: int, seed: int) -> np.ndarray:
    """A float64 mel `[B, M, T]` in the range of natural-log mels, -11.5 to 1."""
    return np.random.default_rng(seed).uniform(-11.5, 1.0, (batch, num_mels, frames))
