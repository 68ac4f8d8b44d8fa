"""Tensors as descriptions, and the loader that turns them into arrays within a memory budget."""

from __future__ import annotations

import codecs
import math
import sys
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import ClassVar

import numpy as np

from hifigan_rt.errors import CheckpointError
from hifigan_rt.formats.checkpoint.byte_source import ByteSource
from hifigan_rt.formats.checkpoint.limits import MAX_PICKLE_BYTES, Budget
from hifigan_rt.formats.checkpoint.pickle_input import UnreadBytes

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
    big_endian: bool | None = None
    """Order of its bytes; None is the file's own."""

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
        return math.prod(self.shape)

    @property
    def is_contiguous(self) -> bool:
        expected = 1
        for length, stride in zip(reversed(self.shape), reversed(self.strides), strict=True):
            if length != 1 and stride != expected:
                return False
            expected *= length
        return True


def named_tensor(value: object) -> LazyTensor | None:
    """Take the tensor out of a pair `(name, tensor)`, as PaddlePaddle pickles it; None for anything else."""
    if type(value) is not tuple or len(value) != 2 or type(value[0]) is not str or type(value[1]) is not LazyTensor:
        return None
    return value[1]


@dataclass(frozen=True, slots=True)
class Span:
    """Where a storage lies in the file."""

    start: int
    length: int
    """Bytes in the file."""
    inflated: int | None = None
    """Bytes after inflating or decoding, if they do not stand in the file as they are."""
    is_latin1: bool = False
    """Whether they stand there as UTF-8 text, each character a byte, as pickle's protocol 2 has it; else deflated."""
    crc32: int | None = None
    """Checksum of the bytes after inflating, as a zip's directory has it, where there is one."""

    @property
    def size(self) -> int:
        """Bytes of the storage."""
        return self.length if self.inflated is None else self.inflated


class TensorLoader:
    """Reads lazy tensors; every byte that it allocates is claimed from the budget first."""

    def __init__(
        self, source: ByteSource, spans: Mapping[str, Span | bytes], budget: Budget, *, big_endian: bool
    ) -> None:
        self._source = source
        self._spans = spans
        self._budget = budget
        self._big_endian = big_endian
        self._whole: dict[str, np.ndarray] = {}
        self._unread = 0
        """Bytes of texts that were read after all."""

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
        wide <<= np.uint32(16)  # not 16, which NumPy 1.26 takes for int64 beside an array without dimensions
        self.release(array)
        return wide.view(np.float32)

    def load_unread(self, value: UnreadBytes) -> str | bytes:
        """Read a long text or byte string.

        Raises:
            CheckpointError: it is longer than all that a pickle may hold, or damaged.
        """
        self._unread += value.length
        if self._unread > MAX_PICKLE_BYTES:
            raise CheckpointError(f"holds texts of {self._unread} bytes: at most {MAX_PICKLE_BYTES}")
        raw = self._source.read(value.start, value.length, value.NOUN)
        if value.kind == "bytes":
            return raw
        try:
            text = raw.decode("utf-8")
            return text if value.kind == "text" else text.encode("latin-1")
        except UnicodeError as error:
            raise CheckpointError(f"is damaged: {value.NOUN} in it is not what its pickle says") from error

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
        if isinstance(span, bytes):
            array = _copy_view(tensor, dtype, np.frombuffer(span, np.uint8), start)
        elif span.is_latin1 and tensor.is_contiguous and n_bytes == span.inflated:
            array = np.empty(tensor.shape, dtype)
            decode_into(self._source, span, array.reshape(-1).view(np.uint8), "a NumPy array")
        elif span.inflated is None and tensor.is_contiguous:
            array = np.empty(tensor.shape, dtype)
            self._source.read_into(span.start + start, array, f"storage {tensor.storage.key}")
        else:
            # Such views may overlap: the storage is read once, or a small file could keep us reading for days.
            array = _copy_view(tensor, dtype, self._load_whole(tensor.storage.key, span), start)
        big_endian = self._big_endian if tensor.storage.big_endian is None else tensor.storage.big_endian
        if big_endian != (sys.byteorder == "big"):
            array.byteswap(inplace=True)
        if dtype.kind == "b":
            # PyTorch writes 0 and 1; other bytes would make arrays that NumPy's own functions disagree about.
            stored = array.view(np.uint8)
            np.minimum(stored, 1, out=stored)
        return array

    def _load_whole(self, key: str, span: Span) -> np.ndarray:
        if key not in self._whole:
            self._budget.take(span.size)
            whole = np.empty(span.size, np.uint8)
            if span.inflated is None:
                self._source.read_into(span.start, whole, f"storage {key}")
            elif span.is_latin1:
                decode_into(self._source, span, whole, "a NumPy array")
            else:
                inflate_into(self._source, span, whole, f"storage {key}")
            self._whole[key] = whole
        return self._whole[key]


def _copy_view(tensor: LazyTensor, dtype: np.dtype, whole: np.ndarray, start: int) -> np.ndarray:
    """Copy what a tensor sees of its storage's bytes, `whole` (uint8), into C order."""
    strides = tuple(stride * dtype.itemsize for stride in tensor.strides)
    return np.array(np.ndarray(tensor.shape, dtype, whole, start, strides), order="C")


def decode_into(source: ByteSource, span: Span, out: np.ndarray, what: str) -> None:
    """Fill `out` (uint8) with the characters of a text, each of which is a byte.

    Raises:
        CheckpointError: the text is no UTF-8, has a character that is no byte, or is longer or shorter.
    """
    decoder = codecs.getincrementaldecoder("utf-8")()
    whole = chain(source.pieces(span.start, span.length, what), [b""])
    try:
        pieces = (decoder.decode(raw, final=not raw).encode("latin-1") for raw in whole)
        _fill(out, pieces, f"{what} has", "needs")
    except UnicodeError as error:
        raise CheckpointError(f"is damaged: {what} stands in it as a text that is none of bytes") from error


def inflate_into(source: ByteSource, span: Span, out: np.ndarray, what: str) -> None:
    """Fill `out` (uint8) with a raw deflate stream that must give exactly as many bytes.

    Raises:
        CheckpointError: the stream is damaged, or gives fewer or more bytes.
    """
    try:
        _fill(out, _inflated(source, span, what), f"{what} inflates to", "declares")
    except zlib.error as error:
        raise CheckpointError(f"is damaged: {what}: {error}") from error


def _inflated(source: ByteSource, span: Span, what: str) -> Iterator[bytes]:
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    for packed in source.pieces(span.start, span.length, what):
        left, is_full = packed, False
        # A full piece may leave bytes inside of zlib, which no input would bring out.
        while (left or is_full) and not inflater.eof:
            piece = inflater.decompress(left, _INFLATE_CHUNK)
            yield piece
            left, is_full = inflater.unconsumed_tail, len(piece) == _INFLATE_CHUNK


def _fill(out: np.ndarray, pieces: Iterable[bytes], gives: str, wants: str) -> None:
    filled = 0
    for data in pieces:
        if filled + len(data) > out.size:
            raise CheckpointError(f"is damaged: {gives} more than the {out.size} bytes that it {wants}")
        out[filled : filled + len(data)] = np.frombuffer(data, np.uint8)
        filled += len(data)
    if filled != out.size:
        raise CheckpointError(f"is damaged: {gives} {filled} bytes and {wants} {out.size}")
