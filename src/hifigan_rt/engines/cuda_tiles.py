"""What the kernels of engine `cuda` were compiled for (native/cuda/kernels/kernels.cu)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Tile:
    """What a kernel was compiled for."""

    positions: int
    threads: int


CONVOLUTIONS: Mapping[int, Mapping[int, Mapping[int, Tile]]] = {
    1: {
        4: {128: Tile(128, 128), 64: Tile(256, 128), 32: Tile(256, 128)},
        2: {32: Tile(256, 128)},
        1: {32: Tile(256, 128), 16: Tile(256, 128)},
    },
    2: {
        4: {128: Tile(128, 256), 64: Tile(128, 128), 32: Tile(128, 128)},
        2: {32: Tile(128, 128)},
        1: {32: Tile(128, 128), 16: Tile(128, 128)},
    },
}
"""Tiles of the kernels `convolution_*`, by planes read, steps of 16 channels in a group, and columns of a block."""

ENTRIES: Mapping[int, Tile] = {128: Tile(128, 256), 32: Tile(128, 128)}
"""Tiles of the kernels `convolution_21_k4_*`, which are the first upsampling of float16."""

UNITS: Mapping[int, Mapping[int, Tile]] = {
    1: {128: Tile(128, 128), 64: Tile(256, 128), 32: Tile(384, 128), 16: Tile(384, 128)},
    2: {128: Tile(128, 256), 64: Tile(128, 128), 32: Tile(256, 128), 16: Tile(256, 128)},
}
"""Tiles of the kernels `unit_*`, by planes and channels."""

HOPPER_THREADS: Mapping[str, int] = {
    "convolution_11_k4_n128": 256,
    "convolution_11_k4_n64": 128,
    "convolution_22_k4_n128": 256,
    "convolution_22_k4_n64": 128,
    "convolution_21_k4_n128": 256,
    "unit_1_c128": 256,
    "unit_1_c64": 128,
    "unit_2_c128": 256,
    "unit_2_c64": 128,
}
"""Threads of the kernels that compute capability 9.0 has a second time, as `hopper_*`, by its own instructions. Their
tiles have the same positions."""
