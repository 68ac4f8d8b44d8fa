"""Reads the list of inputs, outputs and gears that newer .om containers carry (CANN: ge_model_inout_types.h)."""

from __future__ import annotations

import struct

from hifigan_rt.errors import ModelFileError
from hifigan_rt.formats.om_model_def import MAX_GEARS, MAX_RANK, MAX_TENSORS, ModelDef, OmTensor, printable

MAX_BYTES = 1 << 20
"""Maximum size of the whole list: a hundred gears of a model with one input take 2 kB."""

_INPUTS, _OUTPUTS, _DYNAMIC_DIMS = 0, 1, 4
_TENSOR_HEAD = struct.Struct("<QiiIIII")

_DTYPES = {
    0: "float32", 1: "float16", 2: "int8", 3: "int32", 4: "uint8", 6: "int16", 7: "uint16", 8: "uint32", 9: "int64",
    10: "uint64", 11: "float64", 12: "bool", 27: "bfloat16",
}  # fmt: skip
"""Dtypes by their numbers in the C interface (aclDataType)."""


def parse_inout_info(data: bytes) -> ModelDef:
    """Read the entries {type u32, length u32, value}; unknown types are passed over.

    Raises:
        ModelFileError: an entry or a count is longer than the data.
    """
    info = ModelDef()
    entries = _Bytes(data)
    while entries.left:
        kind, length = entries.unpack(_ENTRY)
        value = _Bytes(entries.take(length))
        if kind == _INPUTS:
            info.inputs = _tensors(value)
        elif kind == _OUTPUTS:
            info.outputs = _tensors(value)
        elif kind == _DYNAMIC_DIMS:
            info.gears = dict(enumerate(_gears(value)))
    return info


_ENTRY = struct.Struct("<II")
_COUNT = struct.Struct("<I")


class _Bytes:
    """Takes bytes from the front, and never more than there are."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._position = 0

    @property
    def left(self) -> int:
        return len(self._data) - self._position

    def take(self, length: int) -> bytes:
        if length > self.left:
            raise ModelFileError(f"is damaged: its list of inputs claims {length} bytes where {self.left} are left")
        self._position += length
        return self._data[self._position - length : self._position]

    def unpack(self, layout: struct.Struct) -> tuple[int, ...]:
        return layout.unpack(self.take(layout.size))


def _tensors(value: _Bytes) -> list[OmTensor]:
    (count,) = value.unpack(_COUNT)
    if count > MAX_TENSORS:
        raise ModelFileError(f"claims {count} inputs or outputs: at most {MAX_TENSORS} are read")
    tensors = []
    for _ in range(count):
        _, _, dtype, name_bytes, dims_bytes, *skipped = value.unpack(_TENSOR_HEAD)
        name = value.take(name_bytes).decode("utf-8", "replace")
        shape = _int64s(value.take(dims_bytes), signed=True)
        for length in skipped:
            value.take(length)
        tensors.append(OmTensor(printable(name), _DTYPES.get(dtype, f"type {dtype}"), shape))
    return tensors


def _gears(value: _Bytes) -> tuple[tuple[int, ...], ...]:
    (count,) = value.unpack(_COUNT)
    if count > MAX_GEARS:
        raise ModelFileError(f"claims {count} gears: at most {MAX_GEARS} are read")
    widths = [value.unpack(_COUNT)[0] for _ in range(count)]
    return tuple(_int64s(value.take(8 * width), signed=False) for width in widths)


def _int64s(data: bytes, *, signed: bool) -> tuple[int, ...]:
    if len(data) > 8 * MAX_RANK:
        raise ModelFileError(f"lists {len(data) // 8} dimensions: at most {MAX_RANK} are read")
    return struct.unpack(f"<{len(data) // 8}{'q' if signed else 'Q'}", data[: len(data) // 8 * 8])
