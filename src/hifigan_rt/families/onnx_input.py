"""Follows the input of a generator in an ONNX graph further back: layout, normalization, a linear layer, a table."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from hifigan_rt.families.onnx_steps import AnotherGraph, describe_node, strip_identities
from hifigan_rt.formats.onnx_nodes import OnnxNodes
from hifigan_rt.formats.onnx_scan import NodeFields

_MAX_STEPS = 64


@dataclass
class FollowedInput:
    """Where the generator's input comes from."""

    graph_input: str | None = None
    """The input of the file that it is, but for its layout and the steps below; None if other layers compute it."""
    computed_by: str = ""
    """The node that ends the way back to an input of the file, where one does."""
    weights: dict[str, np.ndarray] = field(default_factory=dict)
    """`mean` and `scale` of a normalization, `lin_pre.weight` and `lin_pre.bias` of a linear layer."""


def follow_input(nodes: OnnxNodes, value: str, channels: int, axes: tuple[str, ...]) -> FollowedInput:
    """Follow the value that the first convolution reads.

    Args:
        nodes: the graph.
        value: name of the value.
        channels: that the convolution takes.
        axes: what the dimensions of the value are: "B", "M", "T", or "1" for one of size 1.
    """
    return _InputFollower(nodes, channels).follow(value, list(axes))


def follow_table(nodes: OnnxNodes, value: str) -> np.ndarray | None:
    """The table `[S, G]` out of which a conditioning vector is taken by a number that is an input of the file."""
    node = _behind_shapes(nodes, value)
    if node is None or node.op_type != "Gather" or len(node.inputs) != 2 or nodes.integer(node, "axis", 0) != 0:
        return None
    table, index = node.inputs
    if not nodes.is_constant(table) or not _is_number_of_input(nodes, index):
        return None
    array = nodes.constant(table)
    return array if array.ndim == 2 and array.dtype.kind == "f" else None


def _behind_shapes(nodes: OnnxNodes, value: str) -> NodeFields | None:
    for _ in range(_MAX_STEPS):
        node = nodes.producer(strip_identities(nodes, value))
        if node is None or node.op_type not in ("Unsqueeze", "Squeeze", "Reshape", "Transpose"):
            return node
        value = node.inputs[0]
    return None


def _is_number_of_input(nodes: OnnxNodes, value: str) -> bool:
    for _ in range(_MAX_STEPS):
        node = nodes.producer(value)
        if node is None:
            return value in {item.name for item in nodes.inputs}
        if node.op_type not in ("Unsqueeze", "Squeeze", "Reshape", "Cast", "Identity"):
            return False
        value = node.inputs[0]
    return False


class _InputFollower:
    def __init__(self, nodes: OnnxNodes, channels: int) -> None:
        self._nodes, self._channels = nodes, channels
        self._found = FollowedInput()

    def follow(self, value: str, axes: list[str]) -> FollowedInput:
        floats = {item.name for item in self._nodes.inputs if "float" in item.dtype}
        for _ in range(_MAX_STEPS):
            value = strip_identities(self._nodes, value)
            node = self._nodes.producer(value)
            if node is None:
                self._found.graph_input = value if value in floats else None
                return self._finished(value)
            before = self._step(node, axes)
            if before is None:
                return self._finished(describe_node(node))
            value = before
        return self._finished(value)

    def _finished(self, end: str) -> FollowedInput:
        found = self._found
        if found.graph_input is None:
            # What follows an unknown step belongs to it as much as to the generator.
            return FollowedInput(computed_by=end)
        if "mean" in found.weights or "scale" in found.weights:
            found.weights.setdefault("mean", np.zeros(self._channels, np.float32))
            found.weights.setdefault("scale", np.ones(self._channels, np.float32))
        return found

    def _step(self, node: NodeFields, axes: list[str]) -> str | None:
        """Go back over one node; `axes` become those of its input. None if it is no such step."""
        step = _SHAPE_STEPS.get(node.op_type)
        if node.domain or not node.inputs:
            return None
        if step is not None:
            return node.inputs[0] if step(self._nodes, node, axes) else None
        if node.op_type in ("Add", "Sub", "Div", "Mul", "MatMul") and len(node.inputs) == 2:
            return self._with_constant(node, axes)
        return self._pointwise(node) if node.op_type == "Conv" else None

    def _pointwise(self, node: NodeFields) -> str | None:
        """A linear layer as a convolution of one row."""
        constants = [name for name in node.inputs[1:] if name]
        if self._found.weights or not constants or not all(self._nodes.is_constant(name) for name in constants):
            return None
        weight = self._nodes.constant(constants[0])
        beyond_one = any(self._nodes.integers(node, "pads")) or set(self._nodes.integers(node, "strides")) - {1}
        if weight.ndim not in (3, 4) or weight.shape[0] != self._channels or math.prod(weight.shape[2:]) != 1:
            return None
        if beyond_one or self._nodes.integer(node, "group", 1) != 1:
            return None
        self._linear(weight.reshape(weight.shape[:2]))
        if len(constants) == 2:
            self._found.weights["lin_pre.bias"] = self._nodes.constant(constants[1]).reshape(-1)
        return node.inputs[0]

    def _linear(self, weight: np.ndarray) -> None:
        self._found.weights["lin_pre.weight"] = np.ascontiguousarray(weight)
        self._channels = weight.shape[1]

    def _with_constant(self, node: NodeFields, axes: list[str]) -> str | None:
        value, constant = node.inputs
        if node.op_type in ("Add", "Mul") and self._nodes.is_constant(value):
            value, constant = constant, value
        if not self._nodes.is_constant(constant) or self._nodes.is_constant(value):
            return None
        array, found = self._nodes.constant(constant), self._found.weights
        if node.op_type == "MatMul":
            fits = axes[-1] == "M" and array.ndim == 2 and array.shape[1] == self._channels
            if not fits or found.keys() - {"lin_pre.bias"}:
                return None
            self._linear(array.T)
            return value
        bands = _per_band(array, axes, self._channels)
        if bands is None:
            return None
        producer = self._nodes.producer(strip_identities(self._nodes, value))
        if node.op_type == "Add" and producer is not None and producer.op_type == "MatMul" and not found:
            found["lin_pre.bias"] = bands
        elif node.op_type in ("Div", "Mul") and not {"mean", "scale"} & found.keys():
            found["scale"] = bands if node.op_type == "Div" else 1 / bands.astype(np.float64)
        elif node.op_type in ("Sub", "Add") and "mean" not in found:
            found["mean"] = bands if node.op_type == "Sub" else -bands
        else:
            return None
        return value


def _per_band(array: np.ndarray, axes: list[str], channels: int) -> np.ndarray | None:
    """A constant as one value for each band, if that is how it is spread over the value."""
    if array.dtype.kind != "f" or array.ndim > len(axes) or not np.isfinite(array).all():
        return None
    if array.size == 1:
        return np.full(channels, array.reshape(-1)[0])
    shape = (1,) * (len(axes) - array.ndim) + array.shape
    fits = all(size == 1 or (axis == "M" and size == channels) for size, axis in zip(shape, axes, strict=True))
    return array.reshape(-1) if fits and math.prod(shape) == channels else None


def _integers(nodes: OnnxNodes, node: NodeFields, name: str) -> list[int] | None:
    """Axes as an attribute or, in newer operator sets, as an input."""
    if len(node.inputs) > 1 and node.inputs[1]:
        if not nodes.is_constant(node.inputs[1]):
            return None
        return [int(number) for number in nodes.constant(node.inputs[1]).reshape(-1)[:8]]
    return list(nodes.integers(node, name)) or None


def _transpose(nodes: OnnxNodes, node: NodeFields, axes: list[str]) -> bool:
    perm = nodes.integers(node, "perm", tuple(range(len(axes)))[::-1])
    if sorted(perm) != list(range(len(axes))):
        return False
    labels = dict(zip(perm, axes, strict=True))
    axes[:] = [labels[index] for index in range(len(axes))]
    return True


def _unsqueeze(nodes: OnnxNodes, node: NodeFields, axes: list[str]) -> bool:
    """Undo the insertion of dimensions of size 1."""
    added = _integers(nodes, node, "axes")
    if added is None:
        return False
    indices = {index % len(axes) for index in added}
    if any(axes[index] not in ("B", "1") for index in indices):
        return False
    axes[:] = [axis for index, axis in enumerate(axes) if index not in indices]
    return True


def _squeeze(nodes: OnnxNodes, node: NodeFields, axes: list[str]) -> bool:
    """Put back the dimensions of size 1 that were taken away."""
    removed = _integers(nodes, node, "axes")
    if removed is None:
        return False
    rank = len(axes) + len(removed)
    for index in sorted(index % rank for index in removed):
        axes.insert(index, "1")
    return True


_SHAPE_STEPS = {"Transpose": _transpose, "Unsqueeze": _unsqueeze, "Squeeze": _squeeze}


def refuse_unknown_input(found: FollowedInput, nodes: OnnxNodes) -> None:
    """Refuse a file that takes one array of floats, and does more with it than is understood.

    Raises:
        AnotherGraph: it is such a file: an engine that runs the file would give other samples.
    """
    if found.graph_input is None and len(nodes.inputs) == 1 and "float" in nodes.inputs[0].dtype:
        raise AnotherGraph(f"{found.computed_by} stands between its input and the first convolution")
