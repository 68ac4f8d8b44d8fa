"""Reads .safetensors: a JSON header of names, types and offsets, then the bytes.

Layout: https://github.com/huggingface/safetensors, section Format. The header is judged here, not by the safetensors
package, whose NumPy side has no bfloat16 and whose errors name no tensor.
"""

from __future__ import annotations

import json
import math
from typing import Any

from hifigan_rt.errors import CheckpointError
from hifigan_rt.formats.checkpoint.byte_source import ByteSource
from hifigan_rt.formats.checkpoint.limits import MAX_DIMENSIONS, MAX_HEADER_BYTES, Budget
from hifigan_rt.formats.checkpoint.pickle_machine import describe
from hifigan_rt.formats.checkpoint.tensors import DTYPES, LazyTensor, Span, Storage, TensorLoader
from hifigan_rt.formats.checkpoint.torch_files import Tree

CONFIG_KEYS = ("hifigan_rt.config", "config")
"""Metadata entries that may hold the original's config.json as text, in this order."""

_DTYPE_NAMES = {
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "C64": "complex64",
    "I64": "int64",
    "I32": "int32",
    "I16": "int16",
    "I8": "int8",
    "U64": "uint64",
    "U32": "uint32",
    "U16": "uint16",
    "U8": "uint8",
    "BOOL": "bool",
}


def read_safetensors(source: ByteSource) -> Tree:
    """Read the header and check that the tensors cover the rest of the file without gap or overlap.

    Raises:
        CheckpointError: truncated, damaged, or the header breaks a rule.
    """
    header, metadata, start = _read_header(source)
    spans = {name: _parse_entry(name, entry) for name, entry in header.items()}
    _check_cover(spans, source.size - start)
    tensors = {name: tensor for name, (tensor, _) in spans.items()}
    located = {name: Span(start + first, last - first) for name, (_, (first, last)) in spans.items()}
    config, notes = _read_config(metadata)
    loader = TensorLoader(source, located, Budget(source.size), big_endian=False)
    return Tree(tensors, loader, "safetensors", config, notes)


def read_metadata(source: ByteSource) -> dict[str, str]:
    """Read the texts that a file has beside its tensors.

    Raises:
        CheckpointError: truncated or damaged.
    """
    return _read_header(source)[1]


def _read_header(source: ByteSource) -> tuple[dict[str, Any], dict[str, str], int]:
    """The entries of tensors, the metadata, and where the bytes begin."""
    length = int.from_bytes(source.read(0, 8, "the length of the header"), "little")
    if length > MAX_HEADER_BYTES:
        raise CheckpointError(f"has a safetensors header of {length} bytes: at most {MAX_HEADER_BYTES}")
    header = _parse_json(source.read(8, length, "the safetensors header"), "its safetensors header")
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise CheckpointError("is damaged: its safetensors metadata are not texts")
    return header, metadata, 8 + length


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise ValueError("a name stands twice")
    return fields


def _parse_json(raw: bytes | str, what: str) -> dict[str, Any]:
    try:
        fields = json.loads(raw, object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"is damaged: {what} is not JSON: {error}") from error
    if not isinstance(fields, dict):
        raise CheckpointError(f"is damaged: {what} is {describe(fields)} instead of an object")
    return fields


def _is_count(value: object) -> bool:
    return type(value) is int and 0 <= value < 1 << 62


def _parse_entry(name: str, entry: object) -> tuple[LazyTensor, tuple[int, int]]:
    if not isinstance(entry, dict):
        raise CheckpointError(f"is damaged: its safetensors header describes {describe(name)} by {describe(entry)}")
    kind, shape, offsets = entry.get("dtype"), entry.get("shape"), entry.get("data_offsets")
    if not isinstance(kind, str) or kind not in _DTYPE_NAMES:
        raise CheckpointError(
            f"holds tensor {describe(name)} of type {describe(kind)}: {', '.join(_DTYPE_NAMES)} are read; save "
            "tensor.float() in its place"
        )
    if not isinstance(shape, list) or len(shape) > MAX_DIMENSIONS or not all(_is_count(length) for length in shape):
        raise CheckpointError(f"is damaged: tensor {describe(name)} has the shape {_describe_list(shape)}")
    if not isinstance(offsets, list) or len(offsets) != 2 or not all(_is_count(offset) for offset in offsets):
        raise CheckpointError(f"is damaged: tensor {describe(name)} has the offsets {_describe_list(offsets)}")
    dtype = _DTYPE_NAMES[kind]
    size = math.prod(shape)
    strides = tuple(math.prod(shape[axis + 1 :]) for axis in range(len(shape)))
    first, last = offsets
    n_bytes = size * DTYPES[dtype].itemsize
    if last - first != n_bytes:
        raise CheckpointError(
            f"is damaged: tensor {describe(name)} of shape {shape} and type {kind} needs {n_bytes} bytes and its "
            f"offsets {offsets} span {last - first}"
        )
    storage = Storage(name, dtype, size)
    return LazyTensor(storage, dtype, 0, tuple(shape), strides), (first, last)


def _describe_list(values: object) -> str:
    return repr(values) if isinstance(values, list) and len(repr(values)) <= 80 else describe(values)


def _check_cover(spans: dict[str, tuple[LazyTensor, tuple[int, int]]], n_bytes: int) -> None:
    end, before = 0, ""
    for name, (_, (first, last)) in sorted(spans.items(), key=lambda item: item[1][1]):
        if last > n_bytes:
            raise CheckpointError(
                f"is truncated or damaged: tensor {describe(name)} has the offsets [{first}, {last}] and the file has "
                f"{n_bytes} bytes of tensors"
            )
        if first < end:
            raise CheckpointError(f"is damaged: tensor {describe(name)} overlaps tensor {describe(before)}")
        if first > end:
            raise CheckpointError(f"is damaged: {first - end} bytes before tensor {describe(name)} belong to no tensor")
        end, before = last, name
    if end != n_bytes:
        raise CheckpointError(f"is damaged: the last {n_bytes - end} bytes belong to no tensor")


def _read_config(metadata: dict[str, str]) -> tuple[dict[str, object] | None, tuple[str, ...]]:
    for key in CONFIG_KEYS:
        if key not in metadata:
            continue
        try:
            return _parse_json(metadata[key], f"metadata entry {key!r}"), ()
        except CheckpointError as error:
            return None, (f"the config in the file's metadata was left out: {error}",)
    return None, ()
