"""Tensors as descriptions, and the loader that turns them into arrays within a memory budget."""

from __future__ import annotations

import sys
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from hifigan_rt.errors import CheckpointError
from hifigan_rt.formats.checkpoint.byte_source import ByteSource
from hifigan_rt.formats.checkpoint.limits import Budget

DTYPES: Mapping[str, np.dtype] = {
    "float64": np.dtype(np.float64),
    "float32": np.dtype(np.float32),
    "float16": np.dtype(np.float16),
    "bfloat16": np.dtype(np.uint16),
    "complex128": np.dtype(np.complex128),
    "complex64": np.dtype(np.complex64),
    "int64": np.dtype(np.int64),
    "int32": np.dtype(np.int32),
    "int16": np.dtype(np.int16),
    "int8": np.dtype(np.int8),
    "uint64": np.dtype(np.uint64),
    "uint32": np.dtype(np.uint32),
    "uint16": np.dtype(np.uint16),
    "uint8": np.dtype(np.uint8),
    "bool": np.dtype(np.bool_),
}
"""PyTorch's names and how their bytes are read; bfloat16 is the upper half of a float32."""

_INFLATE_CHUNK = 1 << 18


@dataclass(frozen=True, slots=True)
class Storage:
    """A run of numbers in the file that tensors look into."""

    NOUN: ClassVar[str] = "a storage"

    key: str
    dtype: str
    """A key of DTYPES."""
    size: int
    """Length of the whole run, in elements."""
    first: int = 0
    """A storage view starts here, in elements."""
    view_size: int | None = None
    """Elements of a storage view; None for the whole run."""

    @property
    def usable(self) -> int:
        """Elements that tensors may look into."""
        return self.size if self.view_size is None else self.view_size


@dataclass(frozen=True, slots=True, eq=False)
class LazyTensor:
    """A tensor that is not read yet; its extent was checked against its storage."""

    NOUN: ClassVar[str] = "a tensor"

    storage: Storage
    dtype: str
    offset: int
    """First element, counted in the tensor's dtype from the beginning of the storage."""
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    """Distances along each dimension, in elements."""

    @property
    def size(self) -> int:
        total = 1
        for length in self.shape:
            total *= length
        return total

    @property
    def is_contiguous(self) -> bool:
        expected = 1
        for length, stride in zip(reversed(self.shape), reversed(self.strides), strict=True):
            if length != 1 and stride != expected:
                return False
            expected *= length
        return True


@dataclass(frozen=True, slots=True)
class Span:
    """Where a storage lies in the file."""

    start: int
    length: int
    """Bytes in the file."""
    inflated: int | None = None
    """Bytes after inflating, if the storage is compressed."""


class TensorLoader:
    """Reads lazy tensors; every byte that it allocates is claimed from the budget first."""

    def __init__(self, source: ByteSource, spans: Mapping[str, Span], budget: Budget, *, big_endian: bool) -> None:
        self._source = source
        self._spans = spans
        self._budget = budget
        self._swap = big_endian != (sys.byteorder == "big")
        self._whole: dict[str, np.ndarray] = {}

    def load(self, tensor: LazyTensor) -> np.ndarray:
        """Read one tensor; bfloat16 is widened to float32, which is exact.

        Raises:
            CheckpointError: the file is too short, damaged, or the budget is spent.
        """
        array = self._load_stored(tensor)
        if tensor.dtype != "bfloat16":
            return array
        self._budget.take(2 * array.nbytes)
        wide = array.astype(np.uint32)
        wide <<= 16
        self.release(array)
        return wide.view(np.float32)

    def claim(self, n_bytes: int) -> None:
        """Claim memory that the caller allocates; see `Budget.take`."""
        self._budget.take(n_bytes)

    def release(self, array: np.ndarray) -> None:
        """Give an array's memory back to the budget; the caller drops it."""
        self._budget.give_back(array.nbytes)

    def _load_stored(self, tensor: LazyTensor) -> np.ndarray:
        dtype = DTYPES[tensor.dtype]
        span = self._spans[tensor.storage.key]
        n_bytes = tensor.size * dtype.itemsize
        self._budget.take(n_bytes)
        if n_bytes == 0:
            return np.empty(tensor.shape, dtype)
        start = tensor.storage.first * DTYPES[tensor.storage.dtype].itemsize + tensor.offset * dtype.itemsize
        if span.inflated is None and tensor.is_contiguous:
            array = np.empty(tensor.shape, dtype)
            self._source.read_into(span.start + start, array, f"storage {tensor.storage.key}")
        else:
            # Such views may overlap: the storage is read once, or a small file could keep us reading for days.
            strides = tuple(stride * dtype.itemsize for stride in tensor.strides)
            whole = self._load_whole(tensor.storage.key, span)
            array = np.array(np.ndarray(tensor.shape, dtype, whole, start, strides), order="C")
        if self._swap:
            array.byteswap(inplace=True)
        if dtype.kind == "b":
            # PyTorch writes 0 and 1; other bytes would make arrays that NumPy's own functions disagree about.
            stored = array.view(np.uint8)
            np.minimum(stored, 1, out=stored)
        return array

    def _load_whole(self, key: str, span: Span) -> np.ndarray:
        if key not in self._whole:
            size = span.length if span.inflated is None else span.inflated
            self._budget.take(size)
            whole = np.empty(size, np.uint8)
            if span.inflated is None:
                self._source.read_into(span.start, whole, f"storage {key}")
            else:
                inflate_into(self._source, span, whole, f"storage {key}")
            self._whole[key] = whole
        return self._whole[key]


def inflate_into(source: ByteSource, span: Span, out: np.ndarray, what: str) -> None:
    """Fill `out` (uint8) with a raw deflate stream that must give exactly as many bytes.

    Raises:
        CheckpointError: the stream is damaged, or gives fewer or more bytes.
    """
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    filled, position, end = 0, span.start, span.start + span.length
    try:
        while position < end and not inflater.eof:
            packed = source.read(position, min(_INFLATE_CHUNK, end - position), what)
            position += len(packed)
            while packed and not inflater.eof:
                # One byte more than fits shows that the stream holds more than it declares.
                data = inflater.decompress(packed, min(_INFLATE_CHUNK, out.size - filled + 1))
                if filled + len(data) > out.size:
                    raise CheckpointError(
                        f"is damaged: {what} inflates to more than the {out.size} bytes that it declares"
                    )
                out[filled : filled + len(data)] = np.frombuffer(data, np.uint8)
                filled += len(data)
                packed = inflater.unconsumed_tail
    except zlib.error as error:
        raise CheckpointError(f"is damaged: {what}: {error}") from error
    if filled != out.size:
        raise CheckpointError(f"is damaged: {what} inflates to {filled} bytes and declares {out.size}")
