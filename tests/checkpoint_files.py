"""Writes checkpoint files byte by byte, without PyTorch; tests marked `torch` have torch.load confirm the bytes.

A tree is plain Python values with `Tensor`, `Global`, `Call`, `Persistent`, `Ordered` and `Raw` nodes in it.
"""

from __future__ import annotations

import io
import json
import struct
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hifigan_rt.errors import CheckpointError
from hifigan_rt.formats.checkpoint import Checkpoint, LazyTensor, Selection, read_state

MAGIC = 0x1950A86A20F9469CFC6C
STORAGE_NAMES = {
    "float64": "DoubleStorage",
    "float32": "FloatStorage",
    "float16": "HalfStorage",
    "int64": "LongStorage",
    "int32": "IntStorage",
    "int16": "ShortStorage",
    "int8": "CharStorage",
    "uint8": "ByteStorage",
    "bool": "BoolStorage",
    "complex64": "ComplexFloatStorage",
    "complex128": "ComplexDoubleStorage",
}

SAVES = [(legacy, protocol) for legacy in (False, True) for protocol in (2, 3, 4, 5)]
"""Whether torch.save writes its old format, and the pickle's protocol."""


@dataclass(frozen=True)
class Raw:
    """Opcodes as they are."""

    code: bytes


@dataclass(frozen=True)
class Global:
    module: str
    name: str


@dataclass(frozen=True)
class Call:
    function: Any
    arguments: Any


@dataclass(frozen=True)
class Instance:
    """An object of a class, with its attributes; without any argument, as TorchScript writes modules."""

    kind: Global
    attributes: dict[str, Any]


@dataclass(frozen=True)
class Persistent:
    key: Any


@dataclass(frozen=True)
class Ordered:
    items: dict[Any, Any]


@dataclass(frozen=True, eq=False)
class Tensor:
    """A tensor over a storage of its own (`key`), or a view into it."""

    storage: np.ndarray
    key: str
    shape: tuple[int, ...] | None = None
    strides: tuple[int, ...] | None = None
    offset: int = 0
    storage_name: str | None = None
    view: tuple[str, int, int] | None = None
    rebuilder: str = "_rebuild_tensor_v2"


ORDERED_DICT = Global("collections", "OrderedDict")


class Encoder:
    """Turns trees into opcodes and collects their storages."""

    def __init__(self, *, legacy: bool) -> None:
        self.legacy = legacy
        self.storages: dict[str, np.ndarray] = {}

    def pickle(self, value: Any, protocol: int = 2) -> bytes:
        return b"\x80" + bytes([protocol]) + self.encode(value) + b"."

    def encode(self, value: Any) -> bytes:
        constants = {None: b"N", True: b"\x88", False: b"\x89"}
        if value is None or isinstance(value, bool):
            return constants[value]
        match value:
            case Raw():
                return value.code
            case int() if -(1 << 31) <= value < 1 << 31:
                return b"J" + struct.pack("<i", value)
            case int():
                raw = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
                return b"\x8a" + bytes([len(raw)]) + raw
            case float():
                return b"G" + struct.pack(">d", value)
            case str():
                raw = value.encode()
                return b"X" + struct.pack("<I", len(raw)) + raw
            case list():
                return b"](" + b"".join(map(self.encode, value)) + b"e"
            case tuple():
                return b"(" + b"".join(map(self.encode, value)) + b"t"
            case dict():
                return b"}" + self._items(value)
            case Ordered():
                return self.encode(Call(ORDERED_DICT, ())) + self._items(value.items)
            case Global():
                return b"c" + value.module.encode() + b"\n" + value.name.encode() + b"\n"
            case Call():
                return self.encode(value.function) + self.encode(value.arguments) + b"R"
            case Instance():
                return self.encode(value.kind) + b")\x81" + self.encode(value.attributes) + b"b"
            case Persistent():
                return self.encode(value.key) + b"Q"
            case Tensor():
                return self.encode(self._tensor(value))
        raise TypeError(type(value))

    def _items(self, items: dict[Any, Any]) -> bytes:
        return b"(" + b"".join(self.encode(key) + self.encode(item) for key, item in items.items()) + b"u"

    def _tensor(self, tensor: Tensor) -> Call:
        storage = tensor.storage
        self.storages[tensor.key] = storage
        name = tensor.storage_name or STORAGE_NAMES[storage.dtype.name]
        key: tuple[Any, ...] = ("storage", Global("torch", name), tensor.key, "cpu", storage.size)
        if self.legacy:
            key = (*key, tensor.view)
        shape = storage.shape if tensor.shape is None else tensor.shape
        strides = tensor.strides
        if strides is None:
            strides = tuple(int(np.prod(shape[i + 1 :])) for i in range(len(shape)))
        arguments: tuple[Any, ...] = (Persistent(key), tensor.offset, shape, strides)
        if tensor.rebuilder == "_rebuild_tensor_v2":
            arguments = (*arguments, False, Call(ORDERED_DICT, ()))
        return Call(Global("torch._utils", tensor.rebuilder), arguments)


def legacy_file(root: Any, protocol: int = 2) -> bytes:
    """The stacked pickles that PyTorch wrote before 1.6."""
    encoder = Encoder(legacy=True)
    system = {"protocol_version": 1001, "little_endian": True, "type_sizes": {"short": 2, "int": 4, "long": 4}}
    data = encoder.pickle(MAGIC) + encoder.pickle(1001) + encoder.pickle(system) + encoder.pickle(root, protocol)
    keys = sorted(encoder.storages)
    data += encoder.pickle(keys)
    for key in keys:
        data += struct.pack("<q", encoder.storages[key].size) + encoder.storages[key].tobytes()
    return data


def zip_file(
    root: Any,
    *,
    prefix: str = "archive",
    byteorder: str | None = "little",
    protocol: int = 2,
    compression: int = zipfile.ZIP_STORED,
    extra: dict[str, bytes] | None = None,
) -> bytes:
    """The archive that PyTorch writes since 1.6; `extra` entries carry their whole names."""
    encoder = Encoder(legacy=False)
    pickled = encoder.pickle(root, protocol)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        archive.writestr(f"{prefix}/data.pkl", pickled)
        if byteorder is not None:
            archive.writestr(f"{prefix}/byteorder", byteorder)
        for key, storage in encoder.storages.items():
            swapped = storage.byteswap() if byteorder == "big" else storage
            archive.writestr(f"{prefix}/data/{key}", swapped.tobytes())
        archive.writestr(f"{prefix}/version", "3\n")
        for name, data in (extra or {}).items():
            archive.writestr(name, data)
    return buffer.getvalue()


def safetensors_file(header: dict[str, Any] | bytes, data: bytes = b"") -> bytes:
    """A header as given, and the bytes behind it."""
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(raw)) + raw + data


def read_any_state(path: Path) -> Checkpoint:
    """Read the tensors under `generator`, or at the top level, whatever network they are of."""

    def select(root: Any) -> Selection:
        if not isinstance(root, dict):
            raise CheckpointError("holds no dictionary")
        state = root.get("generator", root)
        state = state if isinstance(state, dict) else {}
        return Selection({name: value for name, value in state.items() if isinstance(value, LazyTensor)}, ())

    return read_state(path, select)
