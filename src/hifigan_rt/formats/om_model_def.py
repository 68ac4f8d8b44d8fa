"""Reads what a compiled Ascend model says about itself: the protobuf ModelDef in an .om container.

Field numbers and attribute names: CANN, graph_metadef/proto/ge_ir.proto and ge_attr_define.cc. Operators that are
neither inputs nor outputs nor hold the gears are stepped over after their type.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from hifigan_rt.errors import ModelFileError
from hifigan_rt.formats.checkpoint.protobuf_wire import LENGTH, VARINT, Field, ProtobufReader

GEAR_INPUT_NAME = "ascend_mbatch_shape_data"
"""The input that atc adds to a model with gears; the runtime fills it, and hides it."""

MAX_RANK = 32
MAX_TENSORS = 256
MAX_GEARS = 1024
"""atc takes 100 gears at most, 256 for the newest chips."""

_MAX_ATTRIBUTE_BYTES = 1 << 16

_DTYPES = {
    1: "float32", 2: "float16", 3: "int8", 4: "uint8", 5: "int16", 6: "uint16", 7: "int32", 8: "int64", 9: "uint32",
    10: "uint64", 11: "bool", 12: "float64", 27: "bfloat16",
}  # fmt: skip
"""Dtypes by their numbers in ge_ir.proto, which differ from those in the C interface."""

_INPUT_TYPES = ("Data", "AippData", "RefData")
_PRED_VALUE = re.compile(r"_pred_value_(\d{1,4})")
_ORIGIN_DIMS = "_mbatch_origin_input_dims"


@dataclass(frozen=True)
class OmTensor:
    """An input or output; -1 stands for a dimension that the gear decides."""

    name: str
    dtype: str
    shape: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.name} {self.dtype} [{', '.join(str(size) for size in self.shape)}]"


@dataclass
class ModelDef:
    """What a ModelDef declares, or the list of inputs and outputs beside it; empty where it tells nothing."""

    attributes: dict[str, str] = field(default_factory=dict)
    """Those that are strings: soc_version, atc_version, atc_cmdline and others."""
    inputs: list[OmTensor] = field(default_factory=list)
    outputs: list[OmTensor] = field(default_factory=list)
    gears: dict[int, tuple[int, ...]] = field(default_factory=dict)
    """Sizes of what is open, by the number of the gear."""


@dataclass
class _Op:
    name: str = ""
    type: str = ""
    inputs: list[OmTensor] = field(default_factory=list)
    outputs: list[OmTensor] = field(default_factory=list)
    integers: dict[str, tuple[int, ...]] = field(default_factory=dict)


def read_model_def(reader: ProtobufReader, start: int, end: int) -> ModelDef:
    """Read the ModelDef in the bytes `start` to `end`; one reader for all of a file, whose fields it counts.

    Raises:
        ModelFileError: the bytes are no such message, or hold more than any model does.
    """
    model = _ModelDefReader(reader)
    model.read(Field(0, LENGTH, 0, start, end))
    return model.found


def printable(text: str) -> str:
    """Text out of a file, fit for a terminal."""
    return "".join(character if character.isprintable() else "?" for character in text)


class _ModelDefReader:
    def __init__(self, reader: ProtobufReader) -> None:
        self._reader = reader
        self.found = ModelDef()

    def read(self, definition: Field) -> None:
        in_root = True
        for item in self._reader.messages(definition, 7, 11):
            if item.number == 7:
                for op in self._reader.messages(item, 6):
                    self._add(self._op(op), in_root)
                in_root = False  # the graphs that follow are bodies of operators, with inputs of their own
            else:
                key, value = self._reader.entry(item)
                text = None if value is None else self._string(value)
                if text is not None and len(self.found.attributes) < MAX_TENSORS:
                    self.found.attributes[printable(key)] = text

    def _text(self, item: Field) -> str:
        return printable(self._reader.text(item))

    def _string(self, attribute: Field) -> str | None:
        # Some attributes hold whole files; no setting is that long.
        texts = (item for item in self._reader.messages(attribute, 2) if item.length <= _MAX_ATTRIBUTE_BYTES)
        text = next(texts, None)
        return None if text is None else self._text(text)

    def _integers(self, attribute: Field) -> tuple[int, ...]:
        """The list of integers that an AttrDef holds; empty if it holds something else."""
        values: list[int] = []
        for item in self._reader.messages(attribute, 1):
            self._add_dimensions(values, item, 3, "lists")
        return tuple(values)

    def _add_dimensions(self, values: list[int], parent: Field, number: int, what: str) -> None:
        for item in self._reader.inside(parent):
            if item.number == number and item.wire_type in (VARINT, LENGTH):
                values += self._reader.integers(item, MAX_RANK)
            if len(values) > MAX_RANK:
                raise ModelFileError(f"{what} more than {MAX_RANK} dimensions at byte {parent.start}")

    def _op(self, parent: Field) -> _Op:
        op = _Op()
        for item in self._reader.messages(parent, 1, 2, 10, 33, 34):
            if item.number == 1:
                op.name = self._text(item)
            elif item.number == 2:
                op.type = self._text(item)
                if op.type not in (*_INPUT_TYPES, "NetOutput", "Case", "StreamSwitchN"):
                    return op
            elif item.number == 10:
                key, value = self._reader.entry(item)
                if value is not None and (key == _ORIGIN_DIMS or _PRED_VALUE.fullmatch(key)):
                    if len(op.integers) == MAX_GEARS:
                        raise ModelFileError(f"has more than {MAX_GEARS} gears")
                    op.integers[key] = self._integers(value)
            else:
                tensors = op.inputs if item.number == 33 else op.outputs
                if len(tensors) == MAX_TENSORS:
                    raise ModelFileError(f"has more than {MAX_TENSORS} inputs or outputs")
                tensors.append(self._tensor(item))
        return op

    def _tensor(self, parent: Field) -> OmTensor:
        name, dtype, shape = "", "", list[int]()
        for item in self._reader.inside(parent):
            if item.number == 1 and item.wire_type == LENGTH:
                name = self._text(item)
            elif item.number == 2 and item.wire_type == VARINT:
                dtype = _DTYPES.get(item.value, f"type {item.value}")
            elif item.number == 3 and item.wire_type == LENGTH:
                self._add_dimensions(shape, item, 1, "has a tensor of")
        return OmTensor(name, dtype, tuple(shape))

    def _add(self, op: _Op, in_root: bool) -> None:
        if in_root and op.type in _INPUT_TYPES and op.name != GEAR_INPUT_NAME:
            described = op.outputs or op.inputs
            dtype, shape = (described[0].dtype, described[0].shape) if described else ("", ())
            if len(self.found.inputs) == MAX_TENSORS:
                raise ModelFileError(f"has more than {MAX_TENSORS} inputs or outputs")
            # In a model with gears the tensor has the shape of the largest; the attribute keeps what was asked for.
            self.found.inputs.append(OmTensor(op.name, dtype, op.integers.get(_ORIGIN_DIMS) or shape))
        elif in_root and op.type == "NetOutput":
            self.found.outputs = [
                OmTensor(tensor.name or f"output_{index}", tensor.dtype, tensor.shape)
                for index, tensor in enumerate(op.inputs)
            ]
        for key, values in op.integers.items():
            match = _PRED_VALUE.fullmatch(key)
            if match is not None and len(self.found.gears) < MAX_GEARS:
                self.found.gears[int(match[1])] = values
