"""Makes an array of whatever a caller passes as a mel, or says what it is instead; shape and values are not looked at.

Arrays are taken, and what gives one by itself: NumPy's protocol, or DLPack in the host's memory. A list of rows is one
mel: no mel has one dimension, so that it can be nothing else. Everything else, and whatever a foreign object raises
when it is asked for its array, is a `MelError` that names the type and the way out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from hifigan_rt.errors import MelError

_DLPACK_CPU, _DLPACK_PINNED = 1, 3
"""DLPack's numbers for host memory."""

_SHOWN_CHARACTERS = 200
"""Length of a foreign text that is passed on."""


def as_floats(mel: object) -> np.ndarray:
    """Make an array of floats.

    Args:
        mel: an array, a nested list of numbers, or an object that gives an array.

    Returns:
        Any shape; float16, float32, float64 or wider, in either byte order.

    Raises:
        MelError: it gives no array, or one of something else than floats.
    """
    try:
        array = _as_array(mel)
    except Exception as error:  # foreign objects raise anything
        reason = " ".join(str(error).split())[:_SHOWN_CHARACTERS] or type(error).__name__
        raise MelError(
            f"the mel, a {type(mel).__name__}, cannot be made an array ({reason}): pass {_way_out(mel)}"
        ) from error
    if array.ndim == 0 and array.dtype.kind in "OSU" and not isinstance(mel, np.ndarray):
        raise MelError(f"the mel is {_described(mel)}")
    if array.dtype.kind in "iub":
        floats = "mel.astype('float32')" if isinstance(mel, np.ndarray) else "np.asarray(mel, 'float32')"
        raise MelError(f"the mel has dtype {array.dtype}, and its values must be floats: pass {floats}")
    if array.dtype.kind != "f":
        raise MelError(f"the mel has dtype {array.dtype}, and its values must be float16, float32 or float64")
    if isinstance(mel, np.ma.MaskedArray) and np.ma.is_masked(mel):
        raise MelError(f"the mel has {int(np.ma.getmaskarray(mel).sum())} masked values: pass mel.filled(VALUE)")
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


def is_rows(items: list[Any] | tuple[Any, ...]) -> bool:
    """Whether a list holds rows of numbers, and so is one mel instead of several."""
    return len(items) > 0 and all(_dimensions(item) == 1 for item in items)


def _as_array(mel: Any) -> np.ndarray:
    if hasattr(mel, "__dlpack__") and not hasattr(mel, "__array__"):
        return np.from_dlpack(mel)
    return np.asarray(mel)


def _dimensions(item: Any) -> int:
    if isinstance(item, (list, tuple)):
        return 1 + (_dimensions(item[0]) if item else 0)
    dimensions = getattr(item, "ndim", 0)
    return dimensions if isinstance(dimensions, int) else 0


def _way_out(mel: object) -> str:
    of_torch = type(mel).__module__.partition(".")[0] == "torch"
    return "mel.detach().float().cpu().numpy()" if of_torch else "a NumPy array of float32"


def _described(mel: object) -> str:
    """Name what is no array at all, and what to pass."""
    if isinstance(mel, Mapping):
        keys = ", ".join(map(repr, list(mel)[:8]))
        return f"a {type(mel).__name__} with the keys {keys[:_SHOWN_CHARACTERS] or 'none'}: pass one of its arrays"
    if isinstance(mel, Iterator):
        return f"a {type(mel).__name__}, which gives its items once: pass list(...) of it"
    if isinstance(mel, (str, bytes)):
        return (
            f"text, {mel[:_SHOWN_CHARACTERS]!r}: pass an array; hifigan_rt.mel.files.read_mel_file reads that of a file"
        )
    return f"a {type(mel).__name__}: pass a NumPy array of float32"
