"""Rounds weights to the float32 of the files that are written."""

from __future__ import annotations

import numpy as np

from hifigan_rt.errors import ExportError


def as_float32(name: str, array: np.ndarray) -> np.ndarray:
    """Round a tensor, little-endian and C-contiguous.

    Raises:
        ExportError: it holds values that float32 has not; the text names it.
    """
    with np.errstate(over="ignore"):
        rounded = np.ascontiguousarray(array, "<f4")
    if not np.isfinite(rounded).all():
        raise ExportError(f"{name} holds values beyond float32 (3.4e38), the arithmetic of an exported model")
    return rounded
