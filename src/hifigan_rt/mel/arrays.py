"""Tells what a caller passes as a mel: one array, rows of one, or an array on a device."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from hifigan_rt.errors import MelError
from hifigan_rt.system.arrays import Expected

_DLPACK_CPU, _DLPACK_PINNED = 1, 3
"""DLPack's numbers for host memory."""

_MEL = Expected("mel", "hifigan_rt.mel.files.read_mel_file", MelError)


def as_floats(mel: object) -> np.ndarray:
    """Make an array of floats.

    Args:
        mel: an array, a nested list of numbers, or an object that gives an array.

    Returns:
        Any shape; float16, float32, float64 or wider, in either byte order.

    Raises:
        MelError: it gives no array, or one of something else than floats.
    """
    array = _MEL.array(mel)
    floats = "mel.astype('float32')" if isinstance(mel, np.ndarray) else "np.asarray(mel, 'float32')"
    if array.dtype.kind in "iub":
        raise MelError(f"the mel has dtype {array.dtype}, and its values must be floats: pass {floats}")
    if array.dtype.kind == "O" and array.ndim == 1:
        raise MelError("the mel is an array of dtype object: if it holds several mels, pass list(mel)")
    if array.dtype.kind != "f":
        # The bfloat16 of JAX has the kind of raw bytes, but not their type.
        way_out = f": pass {floats}" if array.dtype.kind == "V" and array.dtype.type is not np.void else ""
        raise MelError(f"the mel has dtype {array.dtype}, and its values must be float16, float32 or float64{way_out}")
    return array


def is_on_device(mel: object) -> bool:
    """Whether an array lies in another memory than the host's, as DLPack or `__cuda_array_interface__` tell."""
    if hasattr(mel, "__dlpack_device__"):
        try:
            kind, _ = mel.__dlpack_device__()
        except Exception:  # noqa: BLE001 - `as_floats` names what has no memory at all, such as a sparse tensor
            return False
        return kind not in (_DLPACK_CPU, _DLPACK_PINNED)
    return hasattr(mel, "__cuda_array_interface__")


def stream_of(interface: Mapping[str, Any]) -> int | None:
    """The stream of CUDA on which an array may still be written, by its `__cuda_array_interface__`; None if it is done.

    Raises:
        MelError: it is unclear.
    """
    stream: int | None = interface.get("stream")
    if stream == 0:
        raise MelError(
            "the mel names stream 0, and version 3 of __cuda_array_interface__ allows none of that number, since it "
            "could be either default stream: name 1, the legacy one, or 2, that of the thread"
        )
    return stream


def is_rows(items: list[Any] | tuple[Any, ...]) -> bool:
    """Whether a list holds rows of numbers, and so is one mel: no mel has one dimension, so it can be nothing else."""
    return len(items) > 0 and all(_dimensions(item) == 1 for item in items)


def _dimensions(item: Any) -> int:
    if isinstance(item, (list, tuple)):
        return 1 + (_dimensions(item[0]) if item else 0)
    dimensions = getattr(item, "ndim", 0)
    return dimensions if isinstance(dimensions, int) else 0
