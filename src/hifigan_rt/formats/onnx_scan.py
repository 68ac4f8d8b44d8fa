"""Scans an ONNX file once, notes what it declares and where its weights are (field numbers: onnx.proto)."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from hifigan_rt.errors import ModelFileError
from hifigan_rt.formats.checkpoint.byte_source import ByteSource
from hifigan_rt.formats.checkpoint.protobuf_wire import LENGTH, VARINT, Field, ProtobufReader
from hifigan_rt.formats.graph_value import GraphValue

_MAX_DEPTH = 16
_MAX_RANK = 32
_MAX_VALUES = 4096
_MAX_METADATA_BYTES = 8 << 20
_OWN_DOMAINS = ("", "ai.onnx")

DTYPES: Mapping[int, tuple[str, int]] = {
    1: ("float32", 4), 2: ("uint8", 1), 3: ("int8", 1), 4: ("uint16", 2), 5: ("int16", 2), 6: ("int32", 4),
    7: ("int64", 8), 9: ("bool", 1), 10: ("float16", 2), 11: ("float64", 8), 12: ("uint32", 4), 13: ("uint64", 8),
    14: ("complex64", 8), 15: ("complex128", 16), 16: ("bfloat16", 2), 17: ("float8e4m3fn", 1),
    18: ("float8e4m3fnuz", 1), 19: ("float8e5m2", 1), 20: ("float8e5m2fnuz", 1), 21: ("uint4", 0), 22: ("int4", 0),
    23: ("float4e2m1", 0), 24: ("float8e8m0", 1), 25: ("uint2", 0), 26: ("int2", 0), 27: ("float6e2m3", 0),
    28: ("float6e3m2", 0),
}  # fmt: skip
"""Name and bytes per element, 0 where that is no whole number, by the number in onnx.proto (TensorProto.DataType)."""


@dataclass
class TensorFields:
    """What a TensorProto claims, and the bytes that it brings."""

    name: str = ""
    data_type: int = 0
    dims: list[int] = field(default_factory=list)
    raw: Field | None = None
    """All values as bytes."""
    typed: list[Field] = field(default_factory=list)
    """Values in fields of their type, packed or one by one."""
    external: dict[str, str] = field(default_factory=dict)
    """Location, offset and length of values that lie in another file, as in this one."""
    is_external: bool = False

    @property
    def elements(self) -> int:
        return math.prod(self.dims)

    @property
    def needed_bytes(self) -> int:
        """Bytes of the values as they lie in another file."""
        return self.elements * DTYPES.get(self.data_type, ("", 0))[1]

    @property
    def typed_bytes(self) -> int:
        """Bytes in fields of their type; one for an integer that is not packed."""
        return sum(1 if item.wire_type == VARINT else item.length for item in self.typed)


@dataclass(frozen=True)
class NodeFields:
    """A node of the main graph."""

    op_type: str
    """The operator; one of another set than ONNX's has the set's name and a dot before its own."""
    domain: str
    """Empty for ONNX's own set."""
    name: str
    inputs: tuple[str, ...]
    """Names of values; empty for one that is left out."""
    outputs: tuple[str, ...]
    attributes: Mapping[str, Field]
    """AttributeProtos by name."""


class OnnxScan:
    """What one file declares; filled by `model`."""

    def __init__(self, source: ByteSource) -> None:
        self.reader = ProtobufReader(source)
        self._metadata_bytes = 0
        self.has_graph = False
        self.ir_version = 0
        self.producer_name = ""
        self.inputs: list[GraphValue] = []
        self.outputs: list[GraphValue] = []
        self.metadata: dict[str, str] = {}
        self.initializers: dict[str, TensorFields] = {}
        self.nodes: list[NodeFields] = []
        self.elements_by_dtype: Counter[str] = Counter()
        self.external: list[TensorFields] = []

    def model(self, start: int, end: int) -> None:
        for item in self.reader.fields(start, end):
            if item.number == 1 and item.wire_type == VARINT:
                self.ir_version = item.value
            elif item.wire_type != LENGTH:
                continue
            elif item.number == 2:
                self.producer_name = self.reader.text(item)
            elif item.number == 7:
                self.has_graph = True
                self._graph(item, 0)
            elif item.number == 14:
                self._metadata_bytes += item.length
                if self._metadata_bytes > _MAX_METADATA_BYTES:
                    raise ModelFileError(f"holds more than {_MAX_METADATA_BYTES} bytes of metadata")
                key, value = self._entry(item)
                self.metadata[key] = value
            elif item.number == 20:  # training_info: two graphs
                for part in self.reader.messages(item, 1, 2):
                    self._graph(part, 1)
            elif item.number == 25:  # functions: their nodes
                for part in self.reader.messages(item, 7):
                    self._node(part, 1)

    def _entry(self, parent: Field) -> tuple[str, str]:
        key, value = self.reader.entry(parent)
        return key, "" if value is None else self.reader.text(value)

    def _graph(self, parent: Field, depth: int) -> None:
        if depth > _MAX_DEPTH:
            raise ModelFileError(f"nests graphs deeper than {_MAX_DEPTH}")
        for item in self.reader.messages(parent, 1, 5, 11, 12, 15):
            if item.number == 1:
                self._node(item, depth)
            elif item.number == 5:
                tensor = self.tensor(item)
                if depth == 0:
                    self.initializers[tensor.name] = tensor
            elif item.number == 15:
                raise ModelFileError("holds sparse weights: they are not supported")
            elif depth == 0:
                values = self.inputs if item.number == 11 else self.outputs
                if len(values) == _MAX_VALUES:
                    raise ModelFileError(f"has more than {_MAX_VALUES} inputs or outputs")
                values.append(self._value(item))

    def _node(self, parent: Field, depth: int) -> None:
        texts: dict[int, list[Field]] = {1: [], 2: [], 3: [], 4: [], 7: []}
        attributes: dict[str, Field] = {}
        for item in self.reader.messages(parent, 1, 2, 3, 4, 5, 7):
            if item.number != 5:
                texts[item.number].append(item)
            elif (name := self._attribute(item, depth)) or depth == 0:
                attributes[name] = item
        if depth == 0:
            read = {number: tuple(self.reader.text(item) for item in items) for number, items in texts.items()}
            name, op_type, domain = ("".join(read[number][-1:]) for number in (3, 4, 7))
            domain = "" if domain in _OWN_DOMAINS else domain
            op_type = f"{domain}.{op_type}" if domain else op_type
            self.nodes.append(NodeFields(op_type, domain, name, read[1], read[2], attributes))

    def _attribute(self, parent: Field, depth: int) -> str:
        """Check what it holds; returns its name."""
        name = ""
        for item in self.reader.messages(parent, 1, 5, 6, 10, 11, 22, 23):
            if item.number == 1:
                name = self.reader.text(item)
            elif item.number in (5, 10):
                self.tensor(item)
            elif item.number in (6, 11):
                self._graph(item, depth + 1)
            else:
                raise ModelFileError("holds sparse constants: they are not supported")
        return name

    def tensor(self, parent: Field) -> TensorFields:
        tensor = TensorFields()
        for item in self.reader.inside(parent):
            if item.number == 1:
                tensor.dims += self.reader.integers(item, _MAX_RANK)
            elif item.wire_type == VARINT and item.number == 2:
                tensor.data_type = item.value
            elif item.wire_type == VARINT and item.number == 14:
                tensor.is_external = item.value == 1
            elif item.number in (4, 5, 6, 7, 10, 11):  # packed, or one value
                tensor.typed.append(item)
            elif item.wire_type == LENGTH and item.number == 8:
                tensor.name = self.reader.text(item)
            elif item.wire_type == LENGTH and item.number == 9:
                tensor.raw = item
            elif item.wire_type == LENGTH and item.number == 13:
                key, value = self._entry(item)
                tensor.external[key] = value
        self._check_tensor(tensor)
        return tensor

    def _check_tensor(self, tensor: TensorFields) -> None:
        if any(size < 0 for size in tensor.dims):
            raise ModelFileError(f"tensor {tensor.name!r} has a negative dimension: {tensor.dims}")
        elements = tensor.elements
        if len(tensor.dims) > _MAX_RANK:
            raise ModelFileError(f"tensor {tensor.name!r} has more than {_MAX_RANK} dimensions")
        dtype, width = DTYPES.get(tensor.data_type, ("", 0))
        if tensor.is_external or tensor.external:
            self.external.append(tensor)
        else:
            # A float is at least its width in either encoding; an integer that is not raw takes at least one byte.
            # Types of less than a byte, and those that are not in the table, have up to eight elements in one.
            packed = tensor.raw is None and dtype not in ("float32", "float64", "complex64", "complex128")
            needed = elements * (1 if packed else width) if width else elements // 8
            present = tensor.typed_bytes if tensor.raw is None else tensor.raw.length
            if present < needed:
                raise ModelFileError(
                    f"tensor {tensor.name!r} claims {elements} values {tensor.dims}, which take {needed} bytes or "
                    f"more, and brings {present}"
                )
        if len(tensor.dims) > 1:  # weights; biases, axes and shapes are small and of any type
            self.elements_by_dtype[dtype or f"type {tensor.data_type}"] += elements

    def _value(self, parent: Field) -> GraphValue:
        name, dtype = "", "unknown"
        shape: tuple[int | None, ...] | None = None
        for item in self.reader.messages(parent, 1, 2):
            if item.number == 1:
                name = self.reader.text(item)
                continue
            for tensor_type in self.reader.messages(item, 1):
                for part in self.reader.inside(tensor_type):
                    if part.number == 1 and part.wire_type == VARINT:
                        dtype = DTYPES.get(part.value, (f"type {part.value}", 0))[0]
                    elif part.number == 2 and part.wire_type == LENGTH:
                        shape = tuple(self._dimension(size) for size in self.reader.messages(part, 1))
        return GraphValue(name, dtype, shape)

    def _dimension(self, parent: Field) -> int | None:
        for item in self.reader.inside(parent):
            # Some exporters write 0 or -1 for a dimension that they leave open.
            if item.number == 1 and item.wire_type == VARINT and 0 < item.value < 1 << 31:
                return item.value
        return None
