"""Follows the input of a generator in an ONNX graph further back: layout, normalization, a linear layer."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from hifigan_rt.families.onnx_steps import AnotherGraph, describe_node, strip_identities
from hifigan_rt.formats.graph_value import GraphValue
from hifigan_rt.formats.onnx_nodes import OnnxNodes
from hifigan_rt.formats.onnx_scan import NodeFields

MAX_STEPS = 64


@dataclass
class FollowedInput:
    """Where the generator's input comes from."""

    graph_input: str | None = None
    """The input of the file that it is, but for its layout and the steps below; None if other layers compute it."""
    computed_by: str = ""
    """The node or value that ends the way back to an input of the file, for texts."""
    ends_at: NodeFields | None = None
    """That node, where it is one."""
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


class _InputFollower:
    def __init__(self, nodes: OnnxNodes, channels: int) -> None:
        self._nodes, self._channels = nodes, channels
        self._found = FollowedInput()

    def follow(self, value: str, axes: list[str]) -> FollowedInput:
        floats = {item.name for item in self._nodes.inputs if "float" in item.dtype}
        for _ in range(MAX_STEPS):
            value = strip_identities(self._nodes, value)
            node = self._nodes.producer(value)
            if node is None:
                self._found.graph_input = value if value in floats else None
                return self._finished(f"value {value[:80]!r}")
            before = self._step(node, axes)
            if before is None:
                return self._finished(describe_node(node), node)
            value = before
        return self._finished(f"value {value[:80]!r}")

    def _finished(self, end: str, node: NodeFields | None = None) -> FollowedInput:
        found = self._found
        if found.graph_input is None:
            # What follows an unknown step belongs to it as much as to the generator.
            return FollowedInput(computed_by=end, ends_at=node)
        if "mean" in found.weights or "scale" in found.weights:
            found.weights.setdefault("mean", np.zeros(self._channels, np.float32))
            found.weights.setdefault("scale", np.ones(self._channels, np.float32))
        return found

    def _step(self, node: NodeFields, axes: list[str]) -> str | None:
        """Go back over one node; `axes` become those of its input. None if it is no such step."""
        step = SHAPE_STEPS.get(node.op_type)
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


SHAPE_STEPS = {"Transpose": _transpose, "Unsqueeze": _unsqueeze, "Squeeze": _squeeze}
"""Steps back over a change of the shape: each changes the axes to those before, and says whether it could."""


def refuse_unknown_input(found: FollowedInput, nodes: OnnxNodes, beside: str) -> None:
    """Refuse a file that does more with its mel than is understood.

    What other layers compute is the input of a contained generator only if they have ids, such as those of text, and
    nothing that may be a mel; or if the file is the end of a voice as Piper's streaming exports cut it off.

    Args:
        found: where the way back ended.
        nodes: the graph.
        beside: the input of the file that a conditioning vector comes from; empty if none does.

    Raises:
        AnotherGraph: it is such a file: an engine that runs the file would give other samples.
    """
    if found.graph_input is not None:
        return
    others = [item for item in nodes.inputs if item.name != beside]
    if any(map(_may_be_ids, others)) and not any(map(_may_be_mel, others)):
        return
    if found.ends_at is not None and _masks_latents(nodes, found.ends_at):
        return
    raise AnotherGraph(f"{found.computed_by} stands between its input and the first convolution")


def _may_be_ids(value: GraphValue) -> bool:
    is_row = value.shape is not None and len(value.shape) <= 2 and any(size != 1 for size in value.shape)
    return is_row and value.dtype in ("int32", "int64")


def _may_be_mel(value: GraphValue) -> bool:
    """Whether an input has several dimensions and is no row of integers; a batch of vectors is not told from a mel."""
    if value.shape is None:
        return True
    is_of_integers = value.dtype in ("int32", "int64", "bool") and len(value.shape) <= 2
    return not is_of_integers and sum(size != 1 for size in value.shape) > 1


def _masks_latents(nodes: OnnxNodes, node: NodeFields) -> bool:
    """Whether a node multiplies `z` by `y_mask`, inputs of the end of a voice, whose mask is 1 for each row of one."""
    masks = [item for item in nodes.inputs if item.name == "y_mask" and item.shape is not None]
    is_mask = any(len(item.shape or ()) == 3 and (item.shape or ())[1] == 1 for item in masks)
    return is_mask and node.op_type == "Mul" and sorted(node.inputs) == ["y_mask", "z"]
