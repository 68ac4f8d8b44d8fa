"""Weights in the order in which the kernels of engine `cuda` take them (native/cuda/kernels/products.h)."""

from __future__ import annotations

import math

import numpy as np

from hifigan_rt.graph import Layer

STEP = 16
"""Channels and columns of one step of products."""

_STEPS_AHEAD = 3
"""Steps of products whose weights are on their way: one less than the largest ring of the kernels (products.h)."""


def columns_of(layer: Layer, weight: np.ndarray) -> np.ndarray:
    """A layer as a convolution with all its results for one position side by side.

    Args:
        layer: a convolution or a transposed one.
        weight: `[C_out, C_in, K]`, or `[C_in, C_out, K]` of a transposed one.

    Returns:
        float32 `[columns, C_in, taps]`: for each 8 channels the phases of a transposed convolution, each with these
        channels; channels that are not there are zeros. Tap j reads the row `j - left_of(layer)` rows further.
    """
    weight = weight.astype(np.float32)
    if layer.kind == "conv":
        return np.concatenate([weight, np.zeros((-len(weight) % 8, *weight.shape[1:]), np.float32)])
    c_in, c_out, kernel = weight.shape
    taps = taps_of(layer)
    # Row q of the input adds its tap p + stride * m to the result at position q + m, phase p.
    spread = np.zeros((c_in, c_out + -c_out % 8, taps * layer.stride), np.float32)
    spread[:, :c_out, :kernel] = weight
    phases = spread.reshape(c_in, -1, 8, taps, layer.stride)[:, :, :, ::-1]
    return phases.transpose(1, 4, 2, 0, 3).reshape(-1, c_in, taps)


def taps_of(layer: Layer) -> int:
    """Taps of `columns_of`."""
    return layer.kernel_size if layer.kind == "conv" else -(-layer.kernel_size // layer.stride)


def left_of(layer: Layer) -> int:
    """Rows before its own that the first tap reads."""
    return layer.padding[0] if layer.kind == "conv" else taps_of(layer) - 1


def exponent_of(weight: np.ndarray) -> int:
    """The power of two that brings the largest weight to 1 or above, below 2; 0 if all are zeros."""
    largest = float(np.abs(weight).max(initial=0))
    return 0 if largest == 0 else 1 - math.frexp(largest)[1]


def ahead_bytes(count: int, planes: int) -> int:
    """Bytes behind the weights of a layer with so many columns that are loaded at its end, and never used."""
    return _STEPS_AHEAD * planes * count * 2 * STEP


def halves_of(values: np.ndarray) -> np.ndarray:
    """Round float32 to float16 as `astype` does, which takes ten times as long for what is below the normal numbers."""
    small = np.abs(values) < 2.0**-14
    halves = np.where(small, np.float32(0), values).astype(np.float16)
    tiny = values[small]
    # Steps of 2^-24; rint rounds to even.
    steps = np.rint(np.abs(tiny) * np.float32(2.0**24)).astype(np.uint16)
    halves.view(np.uint16)[small] = steps | np.signbit(tiny).astype(np.uint16) << 15
    return halves


def pack(columns: np.ndarray, count: int, planes: int, group: int) -> np.ndarray:
    """Lay weights out in the order of the products.

    Args:
        columns: `[columns, C_in, taps]`, scaled to fit float16.
        count: columns to lay out, those that are not there as zeros; a multiple of 16.
        planes: 2 for the rounded values and what their rounding lost.
        group: channels whose taps come together; a multiple of 16.

    Returns:
        float16, flat: [group][tap][step of 16 channels][plane][16 columns][lane][8].
    """
    present, c_in, taps = columns.shape
    whole = np.zeros((count, c_in + -c_in % group, taps), np.float32)
    whole[:present, :c_in] = columns
    parts = [halves_of(whole)]
    if planes == 2:
        parts.append(halves_of(whole - parts[0].astype(np.float32)))
    # Columns: 16, half, lane / 4. Channels: group, step, half, lane % 4, neighbour.
    shape = (planes, count // STEP, 2, 8, -1, group // STEP, 2, 4, 2, taps)
    packed = np.stack(parts).reshape(shape).transpose(4, 9, 5, 0, 1, 3, 7, 2, 6, 8)
    return np.ascontiguousarray(packed).reshape(-1)
