"""Shapes of mels: which are taken, and where a dimension of 1 is one too many.

Such dimensions come from other layouts: channels, a batch within a batch, `[B, M, 1, T]` of some exports. Where exactly
one mel is expected (a file, a request, an item of a list), they are left out if only one reading remains; where a batch
may be meant, they are refused with the call of `np.squeeze` that leaves them out.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np

from hifigan_rt.errors import MelError
from hifigan_rt.graph import check_frames


def check_shape(shape: Sequence[int], num_mels: int | None) -> None:
    """Check the shape of a mel.

    Raises:
        MelError: it is not `[M, T]` or `[B, M, T]` with the model's bands and a number of frames that is accepted.
    """
    fits = len(shape) in (2, 3) and num_mels in (None, shape[-2])
    if not fits:
        raise MelError(_mismatch(shape, num_mels))
    if 0 in shape:
        what = "frames" if shape[-1] == 0 else "items"
        raise MelError(f"the mel has shape {list(shape)}: it holds no {what}; leave it out")
    check_frames(shape[-1])


def one_mel(array: np.ndarray, num_mels: int | None, *, time_major: bool = False) -> np.ndarray:
    """Leave out dimensions of 1 where one mel is expected and `[M, T]` (or `[T, M]`) is the only reading.

    Args:
        array: any shape.
        num_mels: M of the model; None if it is not known.
        time_major: `[T, M]` is wanted instead.

    Returns:
        A view of two dimensions; the array itself if it has two, or more than one reading, or none.
    """
    axes = axes_to_leave_out(array.shape, num_mels, time_major=time_major)
    return np.squeeze(array, axes) if axes else array


def axes_to_leave_out(shape: Sequence[int], num_mels: int | None, *, time_major: bool = False) -> tuple[int, ...]:
    """Tell the axes that `one_mel` leaves out of an array of this shape, whosever it is."""
    if len(shape) <= 2:
        return ()
    return _too_many(shape, 2, num_mels, band_axis=1 if time_major else 0) or ()


def _mismatch(shape: Sequence[int], num_mels: int | None) -> str:
    bands = "M" if num_mels is None else num_mels
    seen = f"the mel has shape {list(shape)}"
    if num_mels is not None and len(shape) in (2, 3) and shape[-1] == num_mels:
        return f"{seen}; this looks time-major: pass {'mel.T' if len(shape) == 2 else 'mel.transpose(0, 2, 1)'}"
    for dimensions, band_axis, transposed in ((2, 0, ""), (2, 1, ".T"), (3, 1, ""), (3, 2, ".transpose(0, 2, 1)")):
        axes = _too_many(shape, dimensions, num_mels, band_axis)
        if axes is not None:
            # "1 axis" and "several" are one call: np.squeeze takes a number or a tuple.
            named = str(axes[0]) if len(axes) == 1 else str(axes)
            many = "a dimension of 1" if len(axes) == 1 else f"{len(axes)} dimensions of 1"
            return f"{seen}, {many} too many: pass np.squeeze(mel, {named}){transposed}"
    if num_mels is not None and len(shape) in (2, 3):
        return f"the mel has {shape[-2]} bands (shape {list(shape)}), and this model takes {num_mels}"
    return f"{seen}, and [{bands}, T] or [B, {bands}, T] is needed (bands before frames)"


def _too_many(shape: Sequence[int], dimensions: int, num_mels: int | None, band_axis: int) -> tuple[int, ...] | None:
    """The axes of size 1 to leave out, so that `dimensions` remain; None if no or more than one shape can remain."""
    spare = len(shape) - dimensions
    singles = [axis for axis, size in enumerate(shape) if size == 1]
    if spare < 1 or len(singles) < spare or 0 in shape:
        return None
    readings: dict[tuple[int, ...], tuple[int, ...]] = {}
    for axes in combinations(singles, spare):
        rest = tuple(size for axis, size in enumerate(shape) if axis not in axes)
        if num_mels in (None, rest[band_axis]):
            readings.setdefault(rest, axes)
    return next(iter(readings.values())) if len(readings) == 1 else None
