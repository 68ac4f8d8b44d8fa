"""Scans the .xml of an OpenVINO IR once and notes what it declares; nothing is built in memory.

Entities are refused with the document type that would declare them, so a file cannot grow while it is read.
(Format: docs.openvino.ai, "Intermediate Representation Syntax".)
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from xml.parsers import expat

from hifigan_rt.errors import ModelFileError
from hifigan_rt.formats.checkpoint.byte_source import ByteSource
from hifigan_rt.formats.graph_value import GraphValue
from hifigan_rt.formats.mel_layout import Shape

MAX_XML_BYTES = 64 << 20
"""V1 as exported takes 0.6 MB, quantised 2 MB."""

WEIGHTS_NOTE = "sha256 of the .bin: "
"""Begins the comment with which our exports end. OpenVINO writes a model again without it, maybe with other weights."""

_MAX_DEPTH = 64
_MAX_ELEMENTS = 2_000_000
_MAX_RANK = 32
_STEPS = ("strides", "dilations", "pads_begin", "pads_end")
_MAX_STEP = 1 << 16
"""OpenVINO 2026.4 does not return from compiling a convolution with steps of 1e9."""

_DTYPES: Mapping[str, tuple[str, int]] = {
    "f64": ("float64", 64), "f32": ("float32", 32), "f16": ("float16", 16), "bf16": ("bfloat16", 16),
    "i64": ("int64", 64), "i32": ("int32", 32), "i16": ("int16", 16), "i8": ("int8", 8), "i4": ("int4", 4),
    "u64": ("uint64", 64), "u32": ("uint32", 32), "u16": ("uint16", 16), "u8": ("uint8", 8), "u4": ("uint4", 4),
    "u1": ("uint1", 1), "boolean": ("bool", 8), "fp64": ("float64", 64), "fp32": ("float32", 32),
    "fp16": ("float16", 16), "f8e4m3": ("float8e4m3", 8), "f8e5m2": ("float8e5m2", 8),
}  # fmt: skip
"""Name and bits per element, by the words of `element_type` and of a port's `precision`, in lower case."""


@dataclass
class _Port:
    """One end of a layer."""

    precision: str
    dims: list[int | None] = field(default_factory=list)


@dataclass
class _Layer:
    """What has been read of the layer that is open."""

    name: str
    kind: str
    depth: int
    data: dict[str, str] = field(default_factory=dict)
    inputs: list[_Port] = field(default_factory=list)
    outputs: list[_Port] = field(default_factory=list)


class OpenVinoScan:
    """What one .xml declares; filled by `read`."""

    def __init__(self) -> None:
        self.inputs: list[GraphValue] = []
        self.outputs: list[GraphValue] = []
        self.metadata: dict[str, str] = {}
        self.is_ours = False
        """Whether our own export says that it wrote the file."""
        self.conv_channels: int | None = None
        """Input channels of the first convolution."""
        self.weights_end = 0
        """Bytes that the .bin must have."""
        self.weights_sha256: str | None = None
        """Digest that the .bin must have; None where the file does not tell."""
        self.elements_by_dtype: Counter[str] = Counter()
        self._path: list[str] = []
        self._layers: list[_Layer] = []
        self._elements = 0
        self._text: list[str] | None = None

    def read(self, source: ByteSource) -> None:
        """Scan the whole file.

        Raises:
            ModelFileError: it is too large, no XML, declares a document type, or claims what cannot be.
        """
        if source.size > MAX_XML_BYTES:
            raise ModelFileError(f"has {source.size} bytes: no .xml of a vocoder is larger than {MAX_XML_BYTES}")
        parser = expat.ParserCreate()
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._characters
        parser.CommentHandler = self._comment
        parser.StartDoctypeDeclHandler = _refuse_doctype
        try:
            for piece in source.pieces(0, source.size, "the XML"):
                parser.Parse(piece)
            parser.Parse(b"", True)  # noqa: FBT003 - expat takes no keywords
        except expat.ExpatError as error:
            raise ModelFileError(f"is damaged or truncated: no well-formed XML ({error}); copy it again") from error

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        self._elements += 1
        if self._elements > _MAX_ELEMENTS or len(self._path) == _MAX_DEPTH:
            raise ModelFileError(f"has more than {_MAX_ELEMENTS} elements, or nests them deeper than {_MAX_DEPTH}")
        if not self._path and tag != "net":
            raise ModelFileError(f"is no OpenVINO IR: its XML is a {tag[:40]!r}, and an IR is a 'net'")
        parent = self._path[-1] if self._path else ""
        self._path.append(tag)
        layer = self._layers[-1] if self._layers else None
        if tag == "layer" and parent == "layers":
            kind, name = attributes.get("type", ""), attributes.get("name", "")
            self._layers.append(_Layer(name[:400], kind, len(self._path)))
        elif self._path[1:2] == ["rt_info"]:
            self._runtime_info(attributes)
        elif layer is None:
            return
        elif tag == "data" and parent == "layer":
            layer.data = attributes
        elif tag == "port" and parent in ("input", "output"):
            ports = layer.inputs if parent == "input" else layer.outputs
            ports.append(_Port(attributes.get("precision", "")))
        elif tag == "dim":
            self._text = []

    def _characters(self, text: str) -> None:
        if self._text is not None:
            self._text.append(text[:32])

    def _comment(self, text: str) -> None:
        if text.startswith(WEIGHTS_NOTE):
            self.weights_sha256 = text.removeprefix(WEIGHTS_NOTE)

    def _end(self, tag: str) -> None:
        self._path.pop()
        if tag == "dim" and self._text is not None and self._layers:
            size = _integer("".join(self._text).strip(), "a dimension")
            layer, self._text = self._layers[-1], None
            ports = layer.inputs if "input" in self._path[layer.depth :] else layer.outputs
            if ports:
                ports[-1].dims.append(size if size > 0 else None)
        elif tag == "layer" and self._layers and len(self._path) == self._layers[-1].depth - 1:
            self._layer(self._layers.pop())

    def _runtime_info(self, attributes: dict[str, str]) -> None:
        """What OpenVINO keeps beside the graph; the metadata of an ONNX file land under `framework`."""
        value = attributes.get("value", "")
        below = self._path[2:]
        if len(below) == 2 and below[0] == "framework":
            self.metadata[below[1]] = value
        elif below == ["hifigan_rt", "version"]:
            self.is_ours = True

    def _layer(self, layer: _Layer) -> None:
        for key in _STEPS:
            if any(abs(_integer(part.strip(), f"{key} of layer {layer.name!r}")) > _MAX_STEP
                   for part in layer.data.get(key, "0").split(",")):  # fmt: skip
                raise ModelFileError(f"layer {layer.name!r} has {key} {layer.data[key][:40]!r}: no vocoder goes so far")
        top = layer.depth == 3
        if layer.kind == "Const":
            self._constant(layer)
        elif layer.kind == "Parameter" and top:
            dtype = _dtype(layer.data.get("element_type", ""))[0]
            self.inputs.append(GraphValue(layer.name, dtype, _parameter_shape(layer.data.get("shape", ""))))
        elif layer.kind == "Result" and top and layer.inputs:
            port = layer.inputs[0]
            name = layer.name.partition("/sink_port")[0]
            self.outputs.append(GraphValue(name, _dtype(port.precision)[0], tuple(port.dims)))
        elif layer.kind == "Convolution" and self.conv_channels is None and len(layer.inputs) == 2:
            kernel = layer.inputs[1].dims
            self.conv_channels = kernel[1] if len(kernel) > 2 else None

    def _constant(self, layer: _Layer) -> None:
        offset, size = (_integer(layer.data.get(key, "0"), f"{key} of constant {layer.name!r}") for key in
                        ("offset", "size"))  # fmt: skip
        text = layer.data.get("shape", "").strip()
        dims = [_integer(part.strip(), f"shape of constant {layer.name!r}") for part in text.split(",") if text]
        if min([offset, size, *dims]) < 0 or len(dims) > _MAX_RANK:
            raise ModelFileError(
                f"constant {layer.name!r} has an impossible offset {offset}, size {size} or shape {dims[:_MAX_RANK]}"
            )
        dtype, bits = _dtype(layer.data.get("element_type", ""))
        elements = math.prod(dims)
        if (elements * bits + 7) // 8 > size:
            raise ModelFileError(
                f"constant {layer.name!r} claims {elements} values {dims} of {dtype}, and brings {size} bytes"
            )
        self.weights_end = max(self.weights_end, offset + size)
        if len(dims) > 1:  # weights; biases, axes and shapes are small and of any type
            self.elements_by_dtype[dtype] += elements


def _refuse_doctype(*_: object) -> None:
    raise ModelFileError("declares a document type, which no OpenVINO IR does: entities could make it grow without end")


def _dtype(word: str) -> tuple[str, int]:
    """Name and bits; of what is not known, the word itself and no bits, so that nothing is claimed about its size."""
    return _DTYPES.get(word.lower(), (word[:20].lower() or "unknown", 0))


def _integer(text: str, what: str) -> int:
    if not (text.isascii() and text.lstrip("-").isdigit() and len(text) <= 18):
        raise ModelFileError(f"{what} is {text[:40]!r}: no number")
    return int(text)


def _parameter_shape(text: str) -> Shape | None:
    """Dimensions as `80`, `?` or a range `1..100`; "..." leaves the rank open."""
    parts = [part.strip() for part in text.split(",")] if text.strip() else []
    if "..." in parts or len(parts) > _MAX_RANK:
        return None
    return tuple(int(part) if part.isascii() and part.isdigit() and 0 < len(part) < 10 else None for part in parts)
