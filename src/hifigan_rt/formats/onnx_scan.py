"""Scans an ONNX file once, notes what it declares and steps over its weights (field numbers: onnx.proto)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from hifigan_rt.errors import ModelFileError
from hifigan_rt.formats.checkpoint.byte_source import ByteSource
from hifigan_rt.formats.checkpoint.protobuf_wire import LENGTH, VARINT, Field, ProtobufReader
from hifigan_rt.formats.graph_value import GraphValue
from hifigan_rt.formats.onnx_external import ExternalData

_MAX_DEPTH = 16
_MAX_RANK = 32
_MAX_VALUES = 4096
_MAX_METADATA_BYTES = 8 << 20

_DTYPES: Mapping[int, tuple[str, int]] = {
    1: ("float32", 4), 2: ("uint8", 1), 3: ("int8", 1), 4: ("uint16", 2), 5: ("int16", 2), 6: ("int32", 4),
    7: ("int64", 8), 9: ("bool", 1), 10: ("float16", 2), 11: ("float64", 8), 12: ("uint32", 4), 13: ("uint64", 8),
    14: ("complex64", 8), 15: ("complex128", 16), 16: ("bfloat16", 2), 17: ("float8e4m3fn", 1),
    18: ("float8e4m3fnuz", 1), 19: ("float8e5m2", 1), 20: ("float8e5m2fnuz", 1),
}  # fmt: skip
"""Name and bytes per element by the number in onnx.proto (TensorProto.DataType)."""


@dataclass
class _Tensor:
    """What a TensorProto claims, and the bytes that it brings."""

    name: str = ""
    data_type: int = 0
    dims: list[int] = field(default_factory=list)
    raw_bytes: int | None = None
    typed_bytes: int = 0
    external: dict[str, str] = field(default_factory=dict)
    is_external: bool = False


class OnnxScan:
    """What one file declares; filled by `model`."""

    def __init__(self, source: ByteSource) -> None:
        self._reader = ProtobufReader(source)
        self._metadata_bytes = 0
        self.has_graph = False
        self.ir_version = self.opset = 0
        self.producer_name = self.producer_version = ""
        self.inputs: list[GraphValue] = []
        self.outputs: list[GraphValue] = []
        self.metadata: dict[str, str] = {}
        self.initializer_dims: dict[str, tuple[int, ...]] = {}
        self.first_conv_weight = ""
        self.elements_by_dtype: Counter[str] = Counter()
        self.external: list[ExternalData] = []

    def model(self, start: int, end: int) -> None:
        for item in self._reader.fields(start, end):
            if item.number == 1 and item.wire_type == VARINT:
                self.ir_version = item.value
            elif item.wire_type != LENGTH:
                continue
            elif item.number == 2:
                self.producer_name = self._reader.text(item)
            elif item.number == 3:
                self.producer_version = self._reader.text(item)
            elif item.number == 7:
                self.has_graph = True
                self._graph(item, 0)
            elif item.number == 8:
                self._opset(item)
            elif item.number == 14:
                self._metadata_bytes += item.length
                if self._metadata_bytes > _MAX_METADATA_BYTES:
                    raise ModelFileError(f"holds more than {_MAX_METADATA_BYTES} bytes of metadata")
                key, value = self._entry(item)
                self.metadata[key] = value
            elif item.number == 20:  # training_info: two graphs
                for part in self._messages(item, 1, 2):
                    self._graph(part, 1)
            elif item.number == 25:  # functions: their nodes
                for part in self._messages(item, 7):
                    self._node(part, 1)

    def _messages(self, parent: Field, *numbers: int) -> Iterator[Field]:
        for item in self._reader.fields(parent.start, parent.end):
            if item.wire_type == LENGTH and item.number in numbers:
                yield item

    def _opset(self, parent: Field) -> None:
        domain, version = "", 0
        for item in self._reader.fields(parent.start, parent.end):
            if item.number == 1 and item.wire_type == LENGTH:
                domain = self._reader.text(item)
            elif item.number == 2 and item.wire_type == VARINT:
                version = item.value
        if domain in ("", "ai.onnx"):
            self.opset = version

    def _entry(self, parent: Field) -> tuple[str, str]:
        key = value = ""
        for item in self._messages(parent, 1, 2):
            if item.number == 1:
                key = self._reader.text(item)
            else:
                value = self._reader.text(item)
        return key, value

    def _graph(self, parent: Field, depth: int) -> None:
        if depth > _MAX_DEPTH:
            raise ModelFileError(f"nests graphs deeper than {_MAX_DEPTH}")
        for item in self._messages(parent, 1, 5, 11, 12, 15):
            if item.number == 1:
                self._node(item, depth)
            elif item.number == 5:
                tensor = self._tensor(item)
                if depth == 0:
                    self.initializer_dims[tensor.name] = tuple(tensor.dims)
            elif item.number == 15:
                raise ModelFileError("holds sparse weights: they are not supported")
            elif depth == 0:
                values = self.inputs if item.number == 11 else self.outputs
                if len(values) == _MAX_VALUES:
                    raise ModelFileError(f"has more than {_MAX_VALUES} inputs or outputs")
                values.append(self._value(item))

    def _node(self, parent: Field, depth: int) -> None:
        names: list[Field] = []
        op_type = ""
        for item in self._messages(parent, 1, 4, 5):
            if item.number == 1 and len(names) < 2:
                names.append(item)
            elif item.number == 4:
                op_type = self._reader.text(item)
            elif item.number == 5:
                self._attribute(item, depth)
        if depth == 0 and op_type == "Conv" and len(names) == 2 and not self.first_conv_weight:
            self.first_conv_weight = self._reader.text(names[1])

    def _attribute(self, parent: Field, depth: int) -> None:
        for item in self._messages(parent, 5, 6, 10, 11, 22, 23):
            if item.number in (5, 10):
                self._tensor(item)
            elif item.number in (6, 11):
                self._graph(item, depth + 1)
            else:
                raise ModelFileError("holds sparse constants: they are not supported")

    def _tensor(self, parent: Field) -> _Tensor:
        tensor = _Tensor()
        for item in self._reader.fields(parent.start, parent.end):
            if item.number == 1:
                tensor.dims += self._reader.integers(item, _MAX_RANK)
            elif item.wire_type == VARINT:
                if item.number == 2:
                    tensor.data_type = item.value
                elif item.number == 14:
                    tensor.is_external = item.value == 1
                elif item.number in (5, 7, 11):  # integers that were not packed
                    tensor.typed_bytes += 1
            elif item.number in (4, 10) or (item.wire_type == LENGTH and item.number in (5, 6, 7, 11)):
                tensor.typed_bytes += item.length
            elif item.wire_type == LENGTH and item.number == 8:
                tensor.name = self._reader.text(item)
            elif item.wire_type == LENGTH and item.number == 9:
                tensor.raw_bytes = item.length
            elif item.wire_type == LENGTH and item.number == 13:
                key, value = self._entry(item)
                tensor.external[key] = value
        self._check_tensor(tensor)
        return tensor

    def _check_tensor(self, tensor: _Tensor) -> None:
        elements = 1
        for size in tensor.dims:
            if size < 0:
                raise ModelFileError(f"tensor {tensor.name!r} has a negative dimension: {tensor.dims}")
            elements *= size
        if len(tensor.dims) > _MAX_RANK:
            raise ModelFileError(f"tensor {tensor.name!r} has more than {_MAX_RANK} dimensions")
        dtype, width = _DTYPES.get(tensor.data_type, ("", 0))
        if tensor.is_external or tensor.external:
            self.external.append(ExternalData(tensor.name, tensor.external, elements * width))
        else:
            # A float is at least its width in either encoding; an integer that is not raw takes at least one byte.
            # Types of less than a byte, which are not in the table, have up to eight elements in one.
            packed = tensor.raw_bytes is None and dtype not in ("float32", "float64", "complex64", "complex128")
            needed = elements * (1 if packed else width) if width else elements // 8
            present = tensor.typed_bytes if tensor.raw_bytes is None else tensor.raw_bytes
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
        for item in self._messages(parent, 1, 2):
            if item.number == 1:
                name = self._reader.text(item)
                continue
            for tensor_type in self._messages(item, 1):
                for part in self._reader.fields(tensor_type.start, tensor_type.end):
                    if part.number == 1 and part.wire_type == VARINT:
                        dtype = _DTYPES.get(part.value, (f"type {part.value}", 0))[0]
                    elif part.number == 2 and part.wire_type == LENGTH:
                        shape = tuple(self._dimension(size) for size in self._messages(part, 1))
        return GraphValue(name, dtype, shape)

    def _dimension(self, parent: Field) -> int | None:
        for item in self._reader.fields(parent.start, parent.end):
            # Some exporters write 0 or -1 for a dimension that they leave open.
            if item.number == 1 and item.wire_type == VARINT and 0 < item.value < 1 << 31:
                return item.value
        return None
