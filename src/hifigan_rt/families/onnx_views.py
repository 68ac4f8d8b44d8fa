"""Follows single channels of values in an ONNX graph back over the nodes that only move channels, or mask rows."""

from __future__ import annotations

from itertools import accumulate

from hifigan_rt.families.onnx_steps import AnotherGraph, describe_node, is_zeros, strip_identities
from hifigan_rt.formats.onnx_nodes import OnnxNodes
from hifigan_rt.formats.onnx_scan import NodeFields

Channel = tuple[str, int]
"""A value, and one of its channels."""

_MAX_STEPS = 64
_WHOLE = (1 << 31) - 1
"""Ends of slices from which on they take an axis to its end."""
_COMPARISONS = frozenset(("Less", "LessOrEqual", "Greater", "GreaterOrEqual"))


class ChannelViews:
    """The channels of one graph's values, those of `[B, C, T]` or `[B, C, 1, T]`."""

    def __init__(self, nodes: OnnxNodes, channels: int) -> None:
        """Look at a graph.

        Args:
            nodes: the graph.
            channels: of values that something else computes than a convolution.
        """
        self._nodes, self._channels = nodes, channels
        self._masks: dict[str, bool] = {}
        self._views: dict[str, list[Channel]] = {}

    def stripped(self, value: str) -> str:
        """Go back over what leaves the rows of a single sentence as they are: masks, factors of 1, slices of all."""
        for _ in range(_MAX_STEPS):
            value = strip_identities(self._nodes, value)
            node = self._nodes.producer(value)
            if node is not None and node.op_type == "Slice" and not node.domain and self._cuts(node) == []:
                value = node.inputs[0]
                continue
            if node is None or node.op_type != "Mul" or node.domain or len(node.inputs) != 2:
                return value
            left, right = node.inputs
            if self._is_neutral(right):
                value = left
            elif self._is_neutral(left):
                value = right
            else:
                return value
        raise AnotherGraph(f"more than {_MAX_STEPS} nodes stand before value {value[:80]!r}")

    def view(self, value: str) -> list[Channel]:
        """Where each channel of a value comes from."""
        if value not in self._views:
            self._views[value] = self._view(value)
        return self._views[value]

    def _view(self, value: str) -> list[Channel]:
        value = self.stripped(value)
        node = self._nodes.producer(value)
        if node is not None and not node.domain and node.inputs:
            if node.op_type == "Concat" and self._axis(node) == 1:
                return [channel for name in node.inputs for channel in self.view(name)]
            if node.op_type == "Slice" and (taken := self._taken(node)) is not None:
                return self.view(node.inputs[0])[taken]
            if node.op_type == "Split" and self._axis(node) == 1:
                return self._part(node, node.outputs.index(value))
            if node.op_type == "Gather" and self._axis(node) == 1 and self._nodes.is_constant(node.inputs[1]):
                inner = self.view(node.inputs[0])
                return [inner[index] for index in self._integers(node.inputs[1])]
        return [(value, channel) for channel in range(self._count(value))]

    def _count(self, value: str) -> int:
        node = self._nodes.producer(value)
        if node is not None and not node.domain:
            if node.op_type == "Conv":
                return self._nodes.constant(node.inputs[1]).shape[0] if self._nodes.is_constant(node.inputs[1]) else 0
            if node.op_type == "Sub":
                return len(self.view(node.inputs[0]))
            if node.op_type == "Add":
                for name in map(self.stripped, node.inputs):
                    producer = self._nodes.producer(name)
                    if producer is not None and producer.op_type == "Conv":
                        return self._count(name)
        return self._channels

    def _axis(self, node: NodeFields) -> int:
        return self._nodes.integer(node, "axis", 0)

    def _integers(self, value: str) -> list[int]:
        array = self._nodes.constant(value)
        if array.dtype.kind != "i" or array.size > 1 << 16:
            raise AnotherGraph(f"value {value[:80]!r} should be a few integers")
        return [int(number) for number in array.reshape(-1)]

    def _cuts(self, node: NodeFields) -> list[tuple[int, int, int, int]] | None:
        """Axis, start, end and step of what a slice takes, less axes that it takes whole; None if they are computed."""
        names = (*node.inputs, "", "")[1:5]
        if len(node.inputs) < 3 or not all(self._nodes.is_constant(name) for name in names if name):
            return None
        starts, ends, axes, steps = (self._integers(name) if name else [] for name in names)
        axes, steps = axes or list(range(len(starts))), steps or [1] * len(starts)
        if not len(starts) == len(ends) == len(axes) == len(steps) or 0 in steps:
            raise AnotherGraph(f"{describe_node(node)} takes steps of 0, or other ends than axes")
        cuts = zip(axes, starts, ends, steps, strict=True)
        return [cut for cut in cuts if cut[1] != 0 or cut[2] < _WHOLE or cut[3] != 1]

    def _taken(self, node: NodeFields) -> slice | None:
        """The channels that a slice takes; None if it takes something else."""
        cuts = self._cuts(node)
        if cuts is None or len(cuts) != 1 or cuts[0][0] != 1:
            return None
        _, start, end, step = cuts[0]
        # An end before all channels is written as a very negative number.
        return slice(start, None if end < -len(self.view(node.inputs[0])) and step < 0 else end, step)

    def _part(self, node: NodeFields, index: int) -> list[Channel]:
        inner = self.view(node.inputs[0])
        if len(node.inputs) > 1 and node.inputs[1]:
            sizes = self._integers(node.inputs[1])
        else:
            equal = -(-len(inner) // len(node.outputs))
            sizes = list(self._nodes.integers(node, "split")) or [equal] * len(node.outputs)
        ends = list(accumulate(sizes))
        if len(sizes) != len(node.outputs) or min(sizes) < 0 or (ends[-1] != len(inner) and len(node.inputs) > 1):
            raise AnotherGraph(f"{describe_node(node)} splits {len(inner)} channels into {sizes}")
        return inner[ends[index] - sizes[index] : ends[index]]

    def _is_neutral(self, value: str) -> bool:
        if value not in self._masks:
            self._masks[value] = self._is_mask(value) or self._is_one(value)
        return self._masks[value]

    def _is_one(self, value: str) -> bool:
        """Whether a value is exp(0) or exp(-0), as couplings that only shift leave it."""
        node = self._nodes.producer(strip_identities(self._nodes, value))
        if node is None or node.op_type != "Exp" or node.domain:
            return False
        inner = strip_identities(self._nodes, node.inputs[0])
        node = self._nodes.producer(inner)
        if node is not None and node.op_type == "Neg":
            inner = strip_identities(self._nodes, node.inputs[0])
        return is_zeros(self._nodes, inner) or self._nodes.scalar(inner) == 0

    def _is_mask(self, value: str) -> bool:
        """Whether a value tells rows of a batch's sentences from what fills them up: for one sentence it is 1.

        It is an input of the end of a voice, or a comparison of counted rows with lengths.
        """
        for _ in range(_MAX_STEPS):
            value = strip_identities(self._nodes, value)
            node = self._nodes.producer(value)
            if node is None:
                shapes = [item.shape for item in self._nodes.inputs if item.name == value]
                return any(shape is not None and len(shape) == 3 and shape[1] == 1 for shape in shapes)
            if node.domain or not node.inputs:
                return False
            if node.op_type in _COMPARISONS:
                return any(self._counts(name) for name in node.inputs)
            if node.op_type not in ("Unsqueeze", "Cast"):
                return False
            value = node.inputs[0]
        return False

    def _counts(self, value: str) -> bool:
        for _ in range(_MAX_STEPS):
            node = self._nodes.producer(value)
            if node is None or node.domain:
                return False
            if node.op_type == "Range":
                return True
            if node.op_type not in ("Unsqueeze", "Cast", "Identity", "Reshape"):
                return False
            value = node.inputs[0]
        return False
