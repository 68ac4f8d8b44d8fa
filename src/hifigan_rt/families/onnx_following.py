"""Finds a HiFi-GAN generator in an ONNX graph by following its convolutions from the output back to the input.

Names mean nothing here: exporters keep, change or lose them. What a node is follows from what it reads. Every node
between the audio and the generator's input is accounted for; the first that fits nowhere is named.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from hifigan_rt.families.onnx_steps import AnotherGraph, describe_node, is_length_of, strip_identities
from hifigan_rt.formats.onnx_nodes import OnnxNodes
from hifigan_rt.formats.onnx_scan import NodeFields

_AUDIO_SHAPES = frozenset(("Squeeze", "Unsqueeze", "Reshape", "Flatten", "Transpose"))
"""What may be done to the shape of audio: its one channel stays in order."""
_PAD_MODES = {"constant": "zeros", "reflect": "reflect", "edge": "replicate"}
_BLOCK_OPERATORS = frozenset(("Conv", "ConvTranspose", "Add", "Sum", "LeakyRelu", "Relu", "Pad", "Identity", "Cast"))
_BLOCK_DEPTH = 6
"""Nodes from the end of a residual block's unit to what it reads."""
_MAX_STAGES = 32
_MAX_UNITS = 4096

PaddingMode = Literal["zeros", "reflect", "replicate"]


@dataclass(frozen=True)
class FollowedConv:
    """A convolution with what stands directly before it and belongs to it."""

    transposed: bool
    weight: str
    bias: str | None
    """Names of constants."""
    stride: int
    dilation: int
    padding: tuple[int, int]
    """Rows added at the ends, or cut off from the whole result of a transposed convolution but for `output_padding`."""
    output_padding: int
    mode: PaddingMode
    slope: float | None
    """Slope of the activation before it; None if there is none."""
    source: str
    """The value that it reads before activation and padding."""
    is_trimmed: bool = False
    """Whether only as many rows as its source has are kept of its result, from the first on."""
    conditioning: FollowedConv | None = None
    """The convolution of a vector that is added to its result."""


@dataclass(frozen=True)
class FollowedUnit:
    """The convolutions around one addition of a residual block, one or two."""

    convs: tuple[FollowedConv, ...]


@dataclass(frozen=True)
class FollowedStage:
    """A transposed convolution and the residual blocks whose mean follows."""

    upsample: FollowedConv
    blocks: tuple[tuple[FollowedUnit, ...], ...]


@dataclass(frozen=True)
class FollowedGenerator:
    """The layers of a generator as they were found."""

    first: FollowedConv
    stages: tuple[FollowedStage, ...]
    last: FollowedConv
    output: Literal["tanh", "clamp", "none"]


def follow_generator(nodes: OnnxNodes, output: str) -> FollowedGenerator:
    """Follow a graph's output back to the first convolution of the generator that makes it.

    Raises:
        AnotherGraph: a node on the way fits nowhere in a generator; the text names it.
        ModelFileError: a constant on the way cannot be read.
    """
    return _Follower(nodes).generator(output)


class _Follower:
    """One search; every method takes the name of a value and looks at what makes it."""

    def __init__(self, nodes: OnnxNodes) -> None:
        self._nodes = nodes

    def generator(self, output: str) -> FollowedGenerator:
        value, end = self._end(output)
        last = self._conv(value, "the last convolution", transposed=False)
        stages: list[FollowedStage] = []
        value = last.source
        while (first := self._first(value)) is None:
            if len(stages) == _MAX_STAGES:
                raise AnotherGraph(f"it has more than {_MAX_STAGES} stages")
            blocks, value = self._blocks(value)
            upsample = self._conditioned(value, transposed=True)
            stages.insert(0, FollowedStage(upsample, blocks))
            value = upsample.source
        if not stages:
            raise AnotherGraph("its convolutions are followed by no transposed one")
        return FollowedGenerator(first, tuple(stages), last, end)

    def _end(self, value: str) -> tuple[str, Literal["tanh", "clamp", "none"]]:
        while True:
            value = strip_identities(self._nodes, value)
            node = self._nodes.producer(value)
            if node is None or node.op_type not in _AUDIO_SHAPES:
                break
            value = node.inputs[0]
        if node is not None and node.op_type == "Tanh":
            return strip_identities(self._nodes, node.inputs[0]), "tanh"
        if node is not None and node.op_type == "Clip":
            bounds = [self._nodes.scalar(name) if name else None for name in node.inputs[1:]]
            if not bounds:
                bounds = [self._nodes.number(node, "min", -math.inf), self._nodes.number(node, "max", math.inf)]
            if bounds != [-1.0, 1.0]:
                raise AnotherGraph(f"{describe_node(node)} cuts samples at other values than -1 and 1")
            return strip_identities(self._nodes, node.inputs[0]), "clamp"
        return value, "none"

    def _first(self, value: str) -> FollowedConv | None:
        """The first convolution, if the value is its result, with a conditioning or without."""
        value = strip_identities(self._nodes, value)
        node = self._nodes.producer(self._untrimmed(value)[0])
        if node is None:
            raise AnotherGraph(f"its input {value[:80]!r} is upsampled without a convolution before")
        if node.op_type == "Conv":
            return self._conv(value, "the first convolution", transposed=False)
        if node.op_type == "Add" and all(self._makes(name, "Conv") for name in node.inputs):
            return self._conditioned(value, transposed=False)
        return None

    def _untrimmed(self, value: str) -> tuple[str, str]:
        """The value of which another is the beginning, and what says how much; itself and nothing if it is whole."""
        value = strip_identities(self._nodes, value)
        node = self._nodes.producer(value)
        if node is None or node.op_type != "Slice" or len(node.inputs) < 4 or self._nodes.is_constant(node.inputs[2]):
            return value, ""
        steps = self._integers(node.inputs[4]) if len(node.inputs) > 4 and node.inputs[4] else [1]
        if self._integers(node.inputs[1]) != [0] or steps != [1] or self._integers(node.inputs[3]) not in ([2], [-1]):
            return value, ""
        return strip_identities(self._nodes, node.inputs[0]), node.inputs[2]

    def _makes(self, value: str, op_type: str) -> bool:
        node = self._nodes.producer(self._untrimmed(value)[0])
        return node is not None and node.op_type == op_type and not node.domain

    def _conditioned(self, value: str, *, transposed: bool) -> FollowedConv:
        """A layer, to whose result that of a convolution of one row may be added."""
        value = strip_identities(self._nodes, value)
        node = self._nodes.producer(value)
        what = "an upsampling" if transposed else "the first convolution"
        if node is None or node.op_type != "Add" or len(node.inputs) != 2:
            return self._conv(value, what, transposed=transposed)
        pairs = [(node.inputs[0], node.inputs[1]), (node.inputs[1], node.inputs[0])]
        found = [(layer, other) for layer, other in pairs if self._makes(other, "Conv") and self._is_pointwise(other)]
        if len(found) != 1:
            raise AnotherGraph(f"{describe_node(node)} adds what is neither a residual nor a conditioning vector")
        layer, other = found[0]
        conditioning = self._conv(other, "the convolution of a conditioning vector", transposed=False)
        if conditioning.slope is not None or conditioning.padding != (0, 0):
            raise AnotherGraph(f"{describe_node(node)} adds a convolution of several rows")
        return replace(self._conv(layer, what, transposed=transposed), conditioning=conditioning)

    def _is_pointwise(self, value: str) -> bool:
        node = self._nodes.producer(strip_identities(self._nodes, value))
        if node is None or len(node.inputs) < 2:
            return False
        shape = self._nodes.shape_of_initializer(node.inputs[1])
        sizes = self._nodes.integers(node, "kernel_shape", () if shape is None else shape[2:])
        return all(size == 1 for size in sizes)

    def _blocks(self, value: str) -> tuple[tuple[tuple[FollowedUnit, ...], ...], str]:
        """The residual blocks whose mean a value is, and the value that all of them read."""
        value = strip_identities(self._nodes, value)
        node = self._nodes.producer(value)
        divisor: float | None = None
        if node is not None and node.op_type in ("Div", "Mul") and len(node.inputs) == 2:
            numbers = [self._nodes.scalar(name) for name in node.inputs]
            if node.op_type == "Div" and numbers[1]:
                value, divisor = node.inputs[0], numbers[1]
            elif node.op_type == "Mul" and any(numbers):
                index = 0 if numbers[0] is None else 1
                factor = numbers[1 - index]
                value, divisor = node.inputs[index], 1 / factor if factor else None
        elif node is not None and node.op_type == "Mean":
            divisor = len(node.inputs)
        ends = self._summands(value)
        if not math.isclose(divisor or 1.0, len(ends), rel_tol=1e-6):
            what = f"the sum of {len(ends)} residual blocks, {value[:80]!r}, is divided by {divisor or 1.0:g}"
            raise AnotherGraph(self._odd_before(ends) or what)
        blocks, starts = [], []
        for end in ends:
            units, start = self._units(end)
            blocks.append(units)
            starts.append(start)
        if len(set(starts)) != 1:
            raise AnotherGraph(self._odd_before(starts) or f"the blocks before {value[:80]!r} do not read one value")
        return tuple(blocks), starts[0]

    def _odd_before(self, values: Sequence[str]) -> str:
        """The nearest node before some values that no residual block has; empty if there is none close by."""
        level = list(values)
        for _ in range(_BLOCK_DEPTH):
            nodes = [node for value in level if (node := self._nodes.producer(value)) is not None]
            odd = [node for node in nodes if node.domain or node.op_type not in _BLOCK_OPERATORS]
            if odd:
                return f"{describe_node(odd[0])} stands among the residual blocks"
            inner = [node for node in nodes if node.op_type != "ConvTranspose"]
            level = [name for node in inner for name in node.inputs if not self._nodes.is_constant(name)]
            level = list(dict.fromkeys(level))
        return ""

    def _summands(self, value: str) -> list[str]:
        """The ends of residual blocks of which a value is the sum, in order."""
        found: list[str] = []
        left = [value]
        while left:
            value = strip_identities(self._nodes, left.pop())
            node = self._nodes.producer(value)
            if node is None or node.op_type not in ("Add", "Sum", "Mean") or self._unit(node) is not None:
                found.append(value)
            else:
                left += reversed(node.inputs)
            if len(found) + len(left) > _MAX_UNITS:
                raise AnotherGraph(f"{value[:80]!r} is a sum of more than {_MAX_UNITS} values")
        return found

    def _units(self, value: str) -> tuple[tuple[FollowedUnit, ...], str]:
        units: list[FollowedUnit] = []
        while True:
            node = self._nodes.producer(value)
            found = None if node is None or node.op_type != "Add" else self._unit(node)
            if found is None:
                break
            unit, value = found
            units.insert(0, unit)
            if len(units) > _MAX_UNITS:
                raise AnotherGraph(f"a residual block has more than {_MAX_UNITS} units")
        if not units:
            said = f"input {value[:80]!r}" if node is None else describe_node(node)
            raise AnotherGraph(f"{said} stands where a residual block should end with an addition")
        return tuple(units), value

    def _unit(self, node: NodeFields) -> tuple[FollowedUnit, str] | None:
        """The unit that an addition ends, and the value that it reads; None if the addition ends none."""
        if node.op_type not in ("Add", "Sum") or len(node.inputs) != 2:
            return None
        values = [strip_identities(self._nodes, name) for name in node.inputs]
        for value, residual in (values, values[::-1]):
            if not self._makes(value, "Conv"):
                continue
            last = self._conv(value, "a residual block", transposed=False)
            if last.source == residual:
                return FollowedUnit((last,)), residual
            if self._makes(last.source, "Conv"):
                first = self._conv(last.source, "a residual block", transposed=False)
                if first.source == residual:
                    return FollowedUnit((first, last)), residual
        return None

    def _conv(self, value: str, what: str, *, transposed: bool) -> FollowedConv:
        value, rows = self._untrimmed(value)
        node = self._nodes.producer(value)
        cut = (0, 0)
        if transposed and node is not None and node.op_type == "Slice":
            cut = self._cut(node)
            value = strip_identities(self._nodes, node.inputs[0])
            node = self._nodes.producer(value)
        wanted = "ConvTranspose" if transposed else "Conv"
        if node is None:
            raise AnotherGraph(f"input {value[:80]!r} stands where {what} should be")
        if node.op_type != wanted or node.domain or not 2 <= len(node.inputs) <= 3:
            raise AnotherGraph(f"{describe_node(node)} stands where {what} should be")
        constants = [name for name in node.inputs[1:] if name]
        if not all(self._nodes.is_constant(name) for name in constants) or not node.inputs[1]:
            raise AnotherGraph(f"the weights of {describe_node(node)} are not constant")
        axis, stride, dilation, pads = self._spatial(node)
        source, slope, pad, mode, whole = self._before(node.inputs[0], axis)
        if rows and (transposed or mode != "zeros" or not is_length_of(self._nodes, rows, whole)):
            raise AnotherGraph(f"of the result of {describe_node(node)} some rows are kept, and not those of its input")
        if transposed:
            # Its own pads cut rows off; before it the first row may stand twice, and nothing else.
            if pad != (0, 0) and (pad, mode) != ((1, 0), "replicate"):
                raise AnotherGraph(f"the input of {describe_node(node)} is padded")
        elif pad != (0, 0):
            if mode != "zeros" and pads != (0, 0):
                raise AnotherGraph(f"{describe_node(node)} pads twice, in two ways")
            pads = (pads[0] + pad[0], pads[1] + pad[1])
        output_padding = self._nodes.integers(node, "output_padding", (0,))
        return FollowedConv(
            transposed=transposed,
            weight=node.inputs[1],
            bias=node.inputs[2] if len(node.inputs) == 3 and node.inputs[2] else None,
            stride=stride,
            dilation=dilation,
            padding=(pads[0] + cut[0], pads[1] + cut[1]),
            output_padding=max(output_padding),
            mode=mode,
            slope=slope,
            source=source,
            is_trimmed=bool(rows),
        )

    def _spatial(self, node: NodeFields) -> tuple[int, int, int, tuple[int, int]]:
        """Axis of time among those of the kernel, stride, dilation and pads of a convolution along one dimension."""
        nodes = self._nodes
        if nodes.text(node, "auto_pad", "NOTSET") not in ("NOTSET", "VALID") or nodes.integer(node, "group", 1) != 1:
            raise AnotherGraph(f"{describe_node(node)} pads by itself, or in groups of channels")
        if "output_shape" in node.attributes:
            raise AnotherGraph(f"{describe_node(node)} names the shape of its result")
        strides, dilations = nodes.integers(node, "strides"), nodes.integers(node, "dilations")
        pads, shape = nodes.integers(node, "pads"), nodes.shape_of_initializer(node.inputs[1])
        rank = max(len(strides), len(dilations), len(pads) // 2, 0 if shape is None else len(shape) - 2, 1)
        strides, dilations, pads = strides or (1,) * rank, dilations or (1,) * rank, pads or (0,) * (2 * rank)
        if len(strides) != rank or len(dilations) != rank or len(pads) != 2 * rank or rank > 2:
            raise AnotherGraph(f"{describe_node(node)} has attributes of several ranks, or more than two dimensions")
        kernel = nodes.integers(node, "kernel_shape", () if shape is None else shape[2:]) or (0,) * rank
        axis = 0 if rank == 1 or (kernel[-1] == 1 and kernel[0] != 1) else 1
        other = 1 - axis
        if rank == 2 and (strides[other], pads[other], pads[rank + other]) != (1, 0, 0):
            raise AnotherGraph(f"{describe_node(node)} convolves along two dimensions")
        return axis, strides[axis], dilations[axis], (pads[axis], pads[rank + axis])

    def _before(self, value: str, axis: int) -> tuple[str, float | None, tuple[int, int], PaddingMode, list[str]]:
        """What stands before a convolution: the value that it reads, an activation and a padding, in either order."""
        slope: float | None = None
        pad, mode = (0, 0), "zeros"
        whole: list[str] = []
        while True:
            value = strip_identities(self._nodes, value)
            whole.append(value)
            node = self._nodes.producer(value)
            if node is None or node.domain:
                break
            if node.op_type in ("LeakyRelu", "Relu") and slope is None:
                slope = self._nodes.number(node, "alpha", 0.01) if node.op_type == "LeakyRelu" else 0.0
            elif node.op_type == "Pad" and pad == (0, 0):
                pad, mode = self._pad(node, axis)
                whole.clear()
            else:
                break
            value = node.inputs[0]
        return value, slope, pad, mode, whole  # type: ignore[return-value] # mode is one of _PAD_MODES

    def _pad(self, node: NodeFields, axis: int) -> tuple[tuple[int, int], str]:
        mode = _PAD_MODES.get(self._nodes.text(node, "mode", "constant"))
        inputs = [*node.inputs, "", "", ""][1:4]
        pads = self._integers(inputs[0]) if inputs[0] else list(self._nodes.integers(node, "pads"))
        if inputs[1] and self._nodes.scalar(inputs[1]) != 0 and mode == "zeros":
            raise AnotherGraph(f"{describe_node(node)} pads with another value than 0")
        if mode is None or inputs[2] or len(pads) not in (6, 8):
            raise AnotherGraph(f"{describe_node(node)} pads in a way that no generator has")
        rank = len(pads) // 2
        left, right = pads[2 + axis], pads[rank + 2 + axis]
        pads[2 + axis] = pads[rank + 2 + axis] = 0
        if any(pads) or left < 0 or right < 0:
            raise AnotherGraph(f"{describe_node(node)} pads other dimensions than time, or cuts")
        return (left, right), mode

    def _cut(self, node: NodeFields) -> tuple[int, int]:
        """Rows that a slice takes away at both ends of time."""
        inputs = [*node.inputs, "", ""]
        if len(node.inputs) < 3:
            starts, ends, axes, steps = (
                list(self._nodes.integers(node, name)) for name in ("starts", "ends", "axes", "steps")
            )
        else:
            starts, ends, axes, steps = (self._integers(name) if name else [] for name in inputs[1:5])
        if len(starts) != 1 or len(ends) != 1 or axes[:1] not in ([2], [3], [-1]) or steps not in ([], [1]):
            raise AnotherGraph(f"{describe_node(node)} takes rows in a way that no generator has")
        start, end = starts[0], ends[0]
        if start < 0 or (end >= 0 and end < 1 << 31):
            raise AnotherGraph(f"{describe_node(node)} keeps a fixed number of rows")
        return start, -end if end < 0 else 0

    def _integers(self, value: str) -> list[int]:
        if not self._nodes.is_constant(value):
            raise AnotherGraph(f"value {value[:80]!r} should be constant")
        array = self._nodes.constant(value)
        if array.dtype.kind != "i" or array.size > 64:
            raise AnotherGraph(f"value {value[:80]!r} should be a few integers")
        return [int(number) for number in array.reshape(-1)]
