"""Finds a HiFi-GAN generator in an ONNX graph by following its convolutions from the output back to the input.

Names mean nothing here: exporters keep, change or lose them. What a node is follows from what it reads. Every node
between the audio and the generator's input is accounted for; the first that fits nowhere is named.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from hifigan_rt.families.onnx_convs import ConvFollower, FollowedConv
from hifigan_rt.families.onnx_steps import AnotherGraph, describe_node, strip_identities
from hifigan_rt.formats.onnx_nodes import OnnxNodes
from hifigan_rt.formats.onnx_scan import NodeFields

_AUDIO_SHAPES = frozenset(("Squeeze", "Unsqueeze", "Reshape", "Flatten", "Transpose"))
"""What may be done to the shape of audio: its one channel stays in order."""
_BLOCK_OPERATORS = frozenset(("Conv", "ConvTranspose", "Add", "Sum", "LeakyRelu", "Relu", "Pad", "Identity", "Cast"))
_BLOCK_DEPTH = 6
"""Nodes from the end of a residual block's unit to what it reads."""
_MAX_STAGES = 32
_MAX_UNITS = 4096


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
        self._convs = ConvFollower(nodes)

    def generator(self, output: str) -> FollowedGenerator:
        value, end = self._end(output)
        last = self._convs.conv(value, "the last convolution", transposed=False)
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
        is_transposed = False
        end: Literal["clamp", "none"] = "none"
        while True:
            value = strip_identities(self._nodes, value)
            node = self._nodes.producer(value)
            if node is not None and node.op_type == "Clip":
                self._check_bounds(node)
                end = "clamp"
            elif node is None or node.op_type not in _AUDIO_SHAPES:
                break
            elif node.op_type == "Reshape" and is_transposed:  # it may cut the samples into rows, which change places
                raise AnotherGraph(f"{describe_node(node)} is followed by a Transpose: samples may change places")
            is_transposed = is_transposed or node.op_type == "Transpose"
            value = node.inputs[0]
        if node is not None and node.op_type == "Tanh":
            # None of its values is cut by a clamp to -1 and 1, as icefall's exports have it.
            return strip_identities(self._nodes, node.inputs[0]), "tanh"
        return value, end

    def _check_bounds(self, node: NodeFields) -> None:
        bounds = [self._nodes.scalar(name) if name else None for name in node.inputs[1:]]
        if not bounds:
            bounds = [self._nodes.number(node, "min", -math.inf), self._nodes.number(node, "max", math.inf)]
        if bounds != [-1.0, 1.0]:
            raise AnotherGraph(f"{describe_node(node)} cuts samples at other values than -1 and 1")

    def _first(self, value: str) -> FollowedConv | None:
        """The first convolution, if the value is its result, with a conditioning or without."""
        value = strip_identities(self._nodes, value)
        node = self._nodes.producer(self._convs.untrimmed(value)[0])
        if node is None:
            raise AnotherGraph(f"its input {value[:80]!r} is upsampled without a convolution before")
        if node.op_type == "Conv":
            return self._convs.conv(value, "the first convolution", transposed=False)
        if node.op_type == "Add" and all(self._convs.makes(name, "Conv") for name in node.inputs):
            return self._conditioned(value, transposed=False)
        return None

    def _conditioned(self, value: str, *, transposed: bool) -> FollowedConv:
        """A layer, to whose result that of a convolution of one row may be added."""
        value = strip_identities(self._nodes, value)
        node = self._nodes.producer(value)
        what = "an upsampling" if transposed else "the first convolution"
        if node is None or node.op_type != "Add" or len(node.inputs) != 2:
            return self._convs.conv(value, what, transposed=transposed)
        pairs = [(node.inputs[0], node.inputs[1]), (node.inputs[1], node.inputs[0])]
        found = [
            (layer, other)
            for layer, other in pairs
            if self._convs.makes(other, "Conv") and self._convs.is_pointwise(other)
        ]
        if len(found) != 1:
            raise AnotherGraph(f"{describe_node(node)} adds what is neither a residual nor a conditioning vector")
        layer, other = found[0]
        conditioning = self._convs.conv(other, "the convolution of a conditioning vector", transposed=False)
        if conditioning.slope is not None or conditioning.padding != (0, 0):
            raise AnotherGraph(f"{describe_node(node)} adds a convolution of several rows")
        return replace(self._convs.conv(layer, what, transposed=transposed), conditioning=conditioning)

    def _blocks(self, value: str) -> tuple[tuple[tuple[FollowedUnit, ...], ...], str]:
        """The residual blocks whose mean a value is, and the value that all of them read."""
        value = strip_identities(self._nodes, value)
        node = self._nodes.producer(value)
        divisor: float | None = None
        summed = [value]
        if node is not None and node.op_type in ("Div", "Mul") and len(node.inputs) == 2:
            numbers = [self._nodes.scalar(name) for name in node.inputs]
            if node.op_type == "Div" and numbers[1]:
                summed, divisor = [node.inputs[0]], numbers[1]
            elif node.op_type == "Mul" and any(numbers):
                index = 0 if numbers[0] is None else 1
                factor = numbers[1 - index]
                summed, divisor = [node.inputs[index]], 1 / factor if factor else None
        elif node is not None and node.op_type == "Mean":
            summed, divisor = list(node.inputs), len(node.inputs)
        ends = [end for name in summed for end in self._summands(name)]
        if not math.isclose(divisor or 1.0, len(ends), rel_tol=1e-6):
            what = f"the sum of {len(ends)} residual blocks, {summed[0][:80]!r}, is divided by {divisor or 1.0:g}"
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
            if node is None or node.op_type not in ("Add", "Sum") or self._unit(node) is not None:
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
            if not self._convs.makes(value, "Conv"):
                continue
            last = self._convs.conv(value, "a residual block", transposed=False)
            if last.source == residual:
                return FollowedUnit((last,)), residual
            if self._convs.makes(last.source, "Conv"):
                first = self._convs.conv(last.source, "a residual block", transposed=False)
                if first.source == residual:
                    return FollowedUnit((first, last)), residual
        return None
