"""Makes an array of whatever a caller passes in its place, or says what it is instead.

Arrays are taken, nested lists of numbers, and what gives an array by itself: NumPy's protocol, or DLPack in the host's
memory. Everything else, and whatever a foreign object raises when it is asked for its array, is an error of ours that
names the type and the way out. Shape, dtype and values are for the caller to check.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import dataclass
from typing import Any

import numpy as np

from hifigan_rt.errors import HifiganError

_SHOWN_CHARACTERS = 200
"""Length of a foreign text that is passed on."""


@dataclass(frozen=True)
class Expected:
    """What should be an array, for the texts of errors."""

    name: str
    """Name as in "the mel"."""
    reader: str
    """Function that reads one from a file."""
    error: type[HifiganError]

    def array(self, value: object) -> np.ndarray:
        """Make an array.

        Returns:
            Any shape and dtype.

        Raises:
            HifiganError: the error of this kind: the value gives no array, or one with masked values.
        """
        try:
            array = _as_array(value)
        except Exception as error:  # foreign objects raise anything
            reason = " ".join(str(error).split())[:_SHOWN_CHARACTERS] or type(error).__name__
            raise self.error(
                f"the {self.name}, a {type(value).__name__}, cannot be made an array ({reason}): pass "
                f"{self._way_out(value)}"
            ) from error
        is_no_array = array.dtype.kind in "OSU" and (array.ndim == 0 or isinstance(value, Mapping))
        if is_no_array and not isinstance(value, np.ndarray):
            raise self.error(f"the {self.name} is {self._described(value)}")
        if isinstance(value, np.ma.MaskedArray) and np.ma.is_masked(value):
            count = int(np.ma.getmaskarray(value).sum())
            raise self.error(f"the {self.name} has {count} masked values: pass {self.name}.filled(VALUE)")
        return array

    def _way_out(self, value: object) -> str:
        of_torch = type(value).__module__.partition(".")[0] == "torch"
        if of_torch:
            return f"{self.name}.detach().float().cpu().numpy()"
        plain = isinstance(value, (list, tuple)) or not isinstance(value, Iterable)
        return "a NumPy array of float32" if plain else "list(...) of it"

    def _described(self, value: object) -> str:
        """Name what is no array at all, and what to pass."""
        kind = type(value).__name__
        if isinstance(value, Mapping):
            keys = ", ".join(map(repr, list(value)[:8]))[:_SHOWN_CHARACTERS] or "none"
            return f"a {kind} with the keys {keys}: pass one of its arrays"
        if isinstance(value, Iterator):
            return f"a {kind}, which gives its items once: pass list(...) of it"
        if isinstance(value, (str, bytes, os.PathLike)):
            text = os.fspath(value)
            what = "text" if value is text else "a path"
            return f"{what}, {text[:_SHOWN_CHARACTERS]!r}: pass an array; {self.reader} reads that of a file"
        if isinstance(value, Set):
            return f"a {kind}, which has no order: pass a list"
        if isinstance(value, Iterable) or hasattr(value, "__getitem__"):
            return f"a {kind}: pass list(...) of it"
        return f"a {kind}: pass a NumPy array of float32"


def _as_array(value: Any) -> np.ndarray:
    if getattr(value, "requires_grad", None) is True and hasattr(value, "detach"):
        value = value.detach()  # a tensor of PyTorch that takes part in training: its numbers are as any other's
    if hasattr(value, "__dlpack__") and not hasattr(value, "__array__"):
        return np.from_dlpack(value)
    return np.asarray(value)
