"""The nodes of an ONNX file as a neutral graph: who makes a value, with which attributes, and what is constant."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np

from hifigan_rt.errors import ModelFileError
from hifigan_rt.formats.checkpoint.byte_source import ByteSource
from hifigan_rt.formats.checkpoint.protobuf_wire import FIXED32, LENGTH, VARINT, Field
from hifigan_rt.formats.onnx_folding import FOLDED, Folding
from hifigan_rt.formats.onnx_scan import NodeFields, OnnxScan, TensorFields
from hifigan_rt.formats.onnx_tensors import read_tensor

_MAX_DEPTH = 64
"""Operations upon each other that a constant is computed with."""
_MAX_INTEGERS = 4096


class OnnxNodes:
    """The main graph of a file, as long as the file is open; values have the names of the file.

    A value is constant if it is an initializer, a Constant node, or computed of constants by the operators that
    exporters leave among weights, such as those of weight norm.
    """

    def __init__(self, scan: OnnxScan, source: ByteSource, path: Path) -> None:
        self._scan, self._source, self._path = scan, source, path
        self.inputs = tuple(value for value in scan.inputs if value.name not in scan.initializers)
        """Those that must be fed."""
        self.outputs = tuple(value.name for value in scan.outputs)
        self._producers: dict[str, NodeFields] = {}
        self._depths = dict.fromkeys(scan.initializers, 0)
        self._scalars: dict[str, float | None] = {}
        self.is_ordered = True
        """Whether each value is made once, and before it is read, as the format demands: so there are no loops."""
        made = {value.name for value in scan.inputs} | scan.initializers.keys()
        for node in scan.nodes:
            outputs = [name for name in node.outputs if name]
            self.is_ordered &= made.issuperset(name for name in node.inputs if name) and made.isdisjoint(outputs)
            made.update(outputs)
            self._producers.update(dict.fromkeys(outputs, node))
            depths = [self._depths.get(name, _MAX_DEPTH) for name in node.inputs if name]
            depth = 1 + max(depths, default=0)
            if not node.domain and node.op_type in FOLDED and depth <= _MAX_DEPTH:
                self._depths.update(dict.fromkeys(node.outputs, depth))

    def producer(self, value: str) -> NodeFields | None:
        """The node that makes a value; None for an input or an initializer."""
        return self._producers.get(value)

    def is_constant(self, value: str) -> bool:
        return value in self._depths

    def shape_of_initializer(self, value: str) -> tuple[int, ...] | None:
        """Shape of an initializer without reading it."""
        tensor = self._scan.initializers.get(value)
        return None if tensor is None else tuple(tensor.dims)

    def constant(self, value: str) -> np.ndarray:
        """The values of a constant: as stored, or computed in float64 and rounded once.

        Raises:
            ModelFileError: the values cannot be read or computed.
        """
        tensor = self._scan.initializers.get(value)
        if tensor is not None:
            return self._read(tensor)
        folding = Folding(3 * self.size_bytes + (16 << 20))
        stored: list[np.dtype] = []
        result = self._fold(value, folding, {}, stored)
        if result.dtype.kind == "f" and not any(dtype == np.float64 for dtype in stored):
            return result.astype(np.float32)
        return result

    def scalar(self, value: str) -> float | None:
        """A constant that is a single number; None for any other value."""
        if value not in self._scalars:
            tensor, found = self._scan.initializers.get(value), None
            if value in self._depths and (tensor is None or tensor.elements == 1):
                array = self.constant(value)
                found = float(array.reshape(-1)[0]) if array.size == 1 else None
            self._scalars[value] = found
        return self._scalars[value]

    def integers(self, node: NodeFields, name: str, default: tuple[int, ...] = ()) -> tuple[int, ...]:
        """An attribute that is a list of integers."""
        found = self._attribute(node, name, 8, VARINT, LENGTH)
        lists = [self._scan.reader.integers(item, _MAX_INTEGERS) for item in found]
        return tuple(number for numbers in lists for number in numbers) if found else default

    def integer(self, node: NodeFields, name: str, default: int) -> int:
        """An attribute that is an integer."""
        found = self._attribute(node, name, 3, VARINT)
        return self._scan.reader.integers(found[-1], 1)[0] if found else default

    def number(self, node: NodeFields, name: str, default: float) -> float:
        """An attribute that is a float32, as the shortest decimal number that means it: 0.1 and not 0.10000000149."""
        found = self._attribute(node, name, 2, FIXED32)
        if not found:
            return default
        (value,) = struct.unpack("<f", self._source.read(found[-1].start, 4, "an attribute"))
        return float(str(np.float32(value)))

    def text(self, node: NodeFields, name: str, default: str) -> str:
        """An attribute that is a text."""
        found = self._attribute(node, name, 4, LENGTH)
        return self._scan.reader.text(found[-1]) if found else default

    def tensor(self, node: NodeFields, name: str) -> np.ndarray | None:
        """An attribute that is a tensor; None if it is not there."""
        for field in self._attribute(node, name, 5, LENGTH):
            return self._read(self._scan.tensor(field))
        return None

    def _attribute(self, node: NodeFields, name: str, number: int, *wire_types: int) -> list[Field]:
        field = node.attributes.get(name)
        inside = () if field is None else self._scan.reader.inside(field)
        return [item for item in inside if item.number == number and item.wire_type in wire_types]

    def _read(self, tensor: TensorFields) -> np.ndarray:
        return read_tensor(tensor, self._source, self._path)

    @property
    def size_bytes(self) -> int:
        """Bytes of the file and of what its external tensors take."""
        return self._source.size + sum(tensor.needed_bytes for tensor in self._scan.external)

    def _fold(self, value: str, folding: Folding, known: dict[str, np.ndarray], stored: list[np.dtype]) -> np.ndarray:
        if value in known:
            return known[value]
        tensor, node = self._scan.initializers.get(value), self._producers.get(value)
        if tensor is not None:
            array = self._read(tensor)
            stored.append(array.dtype)
        elif node is None or value not in self._depths:
            raise ModelFileError(f"value {value!r} is no constant")
        elif node.op_type == "Constant":
            array = self._constant_node(node)
            stored.append(array.dtype)
        else:
            inputs = [self._fold(name, folding, known, stored) if name else None for name in node.inputs]
            array = folding.compute(node.op_type, inputs, _Attributes(self, node))
        known[value] = array
        return array

    def _constant_node(self, node: NodeFields) -> np.ndarray:
        for field in self._attribute(node, "value", 5, LENGTH):
            return self._read(self._scan.tensor(field))
        for name, array in (
            ("value_ints", np.array(self.integers(node, "value_ints"), np.int64)),
            ("value_int", np.array(self.integer(node, "value_int", 0), np.int64)),
            ("value_float", np.array(self.number(node, "value_float", 0.0), np.float32)),
        ):
            if name in node.attributes:
                return array
        raise ModelFileError(f"constant {node.outputs[0]!r} holds neither a tensor, nor integers, nor a number")


class _Attributes:
    """The attributes of one node, for the folding of its operator."""

    def __init__(self, nodes: OnnxNodes, node: NodeFields) -> None:
        self._nodes, self._node = nodes, node

    def integers(self, name: str) -> tuple[int, ...] | None:
        return self._nodes.integers(self._node, name) if name in self._node.attributes else None

    def integer(self, name: str, default: int) -> int:
        return self._nodes.integer(self._node, name, default)

    def tensor(self, name: str) -> np.ndarray | None:
        return self._nodes.tensor(self._node, name)
