"""Reads the values of an ONNX tensor, wherever they are: raw, in fields of their type, or in another file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from hifigan_rt.errors import ModelFileError
from hifigan_rt.formats.checkpoint.byte_source import ByteSource, open_source
from hifigan_rt.formats.checkpoint.protobuf_wire import VARINT, Field
from hifigan_rt.formats.onnx_external import check_external_data
from hifigan_rt.formats.onnx_scan import DTYPES, TensorFields

_READ: Mapping[str, str] = {
    "float32": "<f4", "float16": "<f2", "float64": "<f8", "bfloat16": "<u2", "int64": "<i8", "int32": "<i4",
    "bool": "|u1",
}  # fmt: skip
"""Types that are read, as they lie in raw data."""


def read_tensor(tensor: TensorFields, source: ByteSource, path: Path) -> np.ndarray:
    """Read a tensor's values.

    Args:
        tensor: as it was scanned, which has compared its size with what it brings.
        source: the model's file.
        path: the same, beside which external data lie.

    Returns:
        Floats with their own dtype (bfloat16 as float32), whole numbers and truth values as int64.

    Raises:
        ModelFileError: the type is none of them, or the values are cut off.
    """
    dtype = DTYPES.get(tensor.data_type, ("", 0))[0]
    if dtype not in _READ:
        raise ModelFileError(f"tensor {tensor.name!r} has the type {dtype or tensor.data_type}: weights are floats")
    what = f"tensor {tensor.name!r}"
    if tensor.is_external or tensor.external:
        values = np.empty(tensor.elements, _READ[dtype])
        (file,) = check_external_data((tensor,), path)
        with open_source(file) as other:
            other.read_into(int(tensor.external.get("offset", "0")), values, what)
    elif tensor.raw is not None:
        values = np.empty(tensor.elements, _READ[dtype])
        source.read_into(tensor.raw.start, values, what)
    else:
        values = _typed(tensor, dtype, source)
    if values.size != tensor.elements:
        raise ModelFileError(f"{what} claims {tensor.elements} values and brings {values.size}")
    if dtype == "bfloat16":
        values = (values.astype("<u4") << 16).view("<f4")
    return (values if values.dtype.kind == "f" else values.astype("<i8")).reshape(tensor.dims)


def _typed(tensor: TensorFields, dtype: str, source: ByteSource) -> np.ndarray:
    spans = [source.read(item.start, item.length, f"tensor {tensor.name!r}") for item in tensor.typed]
    if dtype in ("float32", "float64"):
        data = b"".join(spans)
        return np.frombuffer(data[: len(data) // 8 * 8] if dtype == "float64" else data, _READ[dtype])
    numbers = [_varints(span, item) for span, item in zip(spans, tensor.typed, strict=True)]
    values = np.concatenate(numbers) if numbers else np.empty(0, "<i8")
    # Types of two bytes stand in fields of 32-bit integers, bit for bit.
    return values.astype("<u2").view(_READ[dtype]) if dtype in ("float16", "bfloat16") else values


def _varints(data: bytes, item: Field) -> np.ndarray:
    """Whole numbers out of their variable lengths; a number that is cut off at the end is left out."""
    octets = np.frombuffer(data, np.uint8)
    ends = np.flatnonzero(octets < 0x80)
    if item.wire_type == VARINT:
        ends = ends[:1]
    starts = np.concatenate([[0], ends[:-1] + 1]).astype(np.intp)[: len(ends)]
    lengths = ends - starts + 1
    if len(lengths) and lengths.max() > 10:
        raise ModelFileError(f"is damaged: a number after byte {item.start} is longer than 64 bits")
    values = np.zeros(len(ends), np.uint64)
    for index in range(int(lengths.max(initial=0))):
        longer = lengths > index
        values[longer] |= (octets[starts[longer] + index].astype(np.uint64) & np.uint64(0x7F)) << np.uint64(7 * index)
    return values.view(np.int64)
