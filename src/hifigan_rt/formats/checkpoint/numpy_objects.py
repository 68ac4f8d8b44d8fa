"""Arrays and numbers of NumPy in a pickle, as every version and protocol writes them, rebuilt without NumPy's help.

An array of plain numbers becomes a `LazyTensor` over the bytes in the pickle. What holds anything else, objects above
all, is left out as it stands. The forms: numpy/_core/src/multiarray/methods.c (array_reduce, array_reduce_ex),
descriptor.c (arraydescr_reduce), scalartypes.c.src (gentype_reduce).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from hifigan_rt.errors import CheckpointError
from hifigan_rt.formats.checkpoint.limits import MAX_DIMENSIONS
from hifigan_rt.formats.checkpoint.opaque import OpaqueObject, Unfinished
from hifigan_rt.formats.checkpoint.pickle_input import UnreadBytes
from hifigan_rt.formats.checkpoint.pickle_machine import describe
from hifigan_rt.formats.checkpoint.tensors import DTYPES, LazyTensor, Span, Storage

_PLAIN = {f"{dtype.kind}{dtype.itemsize}": name for name, dtype in DTYPES.items() if name != "bfloat16"}
"""Names of `DTYPES` as NumPy abbreviates them: f4, i8."""


@dataclass(frozen=True, slots=True)
class NumpyDtype:
    """A dtype of an array."""

    NOUN: ClassVar[str] = "a NumPy dtype"

    text: str
    """Kind and size, for texts."""
    name: str | None
    """A key of `DTYPES`; None for all that is not plain numbers."""
    big_endian: bool = False


@dataclass(frozen=True, slots=True)
class ArrayClass:
    """The class of arrays, ndarray or one that differs only in where it lies, such as memmap."""

    NOUN: ClassVar[str] = "a class of NumPy"


class _UnfinishedDtype(Unfinished):
    def __init__(self, text: str) -> None:
        super().__init__()
        self._text = text

    def finish(self, state: object) -> NumpyDtype:
        """Take (version, byte order, subarray, names, fields, ...)."""
        if type(state) is not tuple or not 5 <= len(state) <= 9:
            raise CheckpointError(f"is damaged: the state of a NumPy dtype is {describe(state)}")
        name = _PLAIN.get(self._text) if all(entry is None for entry in state[2:5]) else None
        self.result = dtype = NumpyDtype(self._text, name, big_endian=state[1] == ">")
        return dtype


class _UnfinishedArray(Unfinished):
    def __init__(self, objects: NumpyObjects) -> None:
        super().__init__()
        self._objects = objects

    def finish(self, state: object) -> LazyTensor | OpaqueObject:
        """Take (version, shape, dtype, Fortran order, bytes), of which the oldest files have no version."""
        if type(state) is not tuple or len(state) not in (4, 5):
            raise CheckpointError(f"is damaged: the state of a NumPy array is {describe(state)}")
        shape, dtype, is_fortran, data = state[-4:]
        lengths = _lengths(shape)
        axes = range(len(lengths))
        self.result = array = self._objects.array(data, dtype, lengths, axes[::-1] if is_fortran else axes)
        return array


class NumpyObjects:
    """Rebuilds what NumPy pickles; keeps where each array's bytes are."""

    def __init__(self) -> None:
        self.places: dict[str, Span | bytes] = {}
        """The bytes of each array, or where they lie in the file, by the key of its storage."""

    def reconstruct(self, subtype: object, _shape: object, _kind: object) -> Unfinished:
        """Begin an array: `_reconstruct(ndarray, (0,), b"b")`."""
        if type(subtype) is not ArrayClass:
            raise CheckpointError(f"is damaged: a NumPy array is made of {describe(subtype)}")
        return _UnfinishedArray(self)

    def dtype(self, text: object, _align: object = None, _copy: object = None) -> Unfinished:
        """Begin a dtype: `dtype("f4", False, True)`."""
        if type(text) is not str or len(text) > 80:
            raise CheckpointError(f"is damaged: a NumPy dtype is made of {describe(text)}")
        return _UnfinishedDtype(text)

    def scalar(self, dtype: object, data: object = b"") -> object:
        """Make a number; a value of any other kind is left out."""
        kind = _as_dtype(dtype)
        if kind.name is None:
            return OpaqueObject(f"numpy.generic of dtype {kind.text}")
        stored = DTYPES[kind.name].newbyteorder(">" if kind.big_endian else "<")
        if type(data) not in (bytes, bytearray) or len(data) != stored.itemsize:  # type: ignore[arg-type]
            raise CheckpointError(f"is damaged: a NumPy number of {kind.name} is {describe(data)}")
        return np.frombuffer(bytes(data), stored).astype(stored.newbyteorder("="))[0]  # type: ignore[call-overload]

    def frombuffer(
        self, data: object, dtype: object, shape: object, order: object, moves: object = None
    ) -> LazyTensor | OpaqueObject:
        """Make an array of protocol 5: `_frombuffer(bytes, dtype, shape, "C")`, transposed by `moves` for "K"."""
        lengths = _lengths(shape)
        axes = range(len(lengths))
        if order in ("C", "F"):
            return self.array(data, dtype, lengths, axes[::-1] if order == "F" else axes)
        moved = _lengths(moves)
        if order != "K" or sorted(moved) != list(axes):
            raise CheckpointError(f"is damaged: the order of a NumPy array is {describe(order)}, {describe(moves)}")
        return self.array(data, dtype, tuple(lengths[axis] for axis in moved), [moved.index(axis) for axis in axes])

    def array(
        self, data: object, dtype: object, shape: tuple[int, ...], slowest_first: Sequence[int]
    ) -> LazyTensor | OpaqueObject:
        """Describe an array over bytes in the pickle.

        Args:
            data: the bytes.
            dtype: their type, a `NumpyDtype`.
            shape: length of each axis.
            slowest_first: the axes, from the one that changes last between neighbouring bytes to the first.
        """
        kind = _as_dtype(dtype)
        if kind.name is None:
            return OpaqueObject(f"numpy.ndarray of dtype {kind.text}")
        strides = [0] * len(shape)
        size = 1
        for axis in reversed(slowest_first):
            strides[axis] = size
            size *= shape[axis]
        key = f"NumPy array {len(self.places)}"
        self.places[key] = _place(data, size * DTYPES[kind.name].itemsize, shape, kind.name)
        storage = Storage(key, kind.name, size, big_endian=kind.big_endian)
        return LazyTensor(storage, kind.name, 0, shape, tuple(strides))


def _place(data: object, n_bytes: int, shape: tuple[int, ...], name: str) -> Span | bytes:
    """Where the bytes are, checked to be as many as the array needs."""
    is_text = isinstance(data, UnreadBytes) and data.kind == "latin1"
    if isinstance(data, (bytes, bytearray)):
        found = len(data)
    elif isinstance(data, UnreadBytes) and data.kind != "text":
        found = data.length
    else:
        raise CheckpointError(f"is damaged: the bytes of a NumPy array are {describe(data)}")
    # As text a byte is one character, and that is one byte or two in UTF-8.
    if not n_bytes <= found <= (2 * n_bytes if is_text else n_bytes):
        raise CheckpointError(
            f"is damaged: a NumPy array of shape {list(shape)} and type {name} needs {n_bytes} bytes and has {found}"
        )
    if isinstance(data, UnreadBytes):
        return Span(data.start, data.length, n_bytes if is_text else None, is_latin1=is_text)
    return bytes(data)


def _as_dtype(value: object) -> NumpyDtype:
    if type(value) is not NumpyDtype:
        raise CheckpointError(f"is damaged: a NumPy value has {describe(value)} for its dtype")
    return value


def _lengths(shape: object) -> tuple[int, ...]:
    if type(shape) is int:
        shape = (shape,)
    if type(shape) is not tuple or len(shape) > MAX_DIMENSIONS:
        raise CheckpointError(f"is damaged: the shape of a NumPy array is {describe(shape)}")
    for length in shape:
        if type(length) is not int or not 0 <= length < 1 << 62:
            raise CheckpointError(f"is damaged: a length of a NumPy array is {describe(length)}")
    return shape
