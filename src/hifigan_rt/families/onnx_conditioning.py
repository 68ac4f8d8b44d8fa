"""Follows a generator's conditioning vector in an ONNX graph back to an input, a table of speakers or a constant."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from hifigan_rt.families.onnx_input import MAX_STEPS, SHAPE_STEPS
from hifigan_rt.families.onnx_steps import AnotherGraph, describe_node, strip_identities
from hifigan_rt.formats.graph_value import GraphValue
from hifigan_rt.formats.onnx_nodes import OnnxNodes
from hifigan_rt.formats.onnx_scan import NodeFields

_INTEGER_TYPES = frozenset((6, 7))
"""Numbers of int32 and int64 in TensorProto.DataType."""


@dataclass(frozen=True)
class FollowedVector:
    """Where a conditioning vector `[G]` comes from."""

    source: str = ""
    """The input of the file: a vector, or rows of the table."""
    table: str = ""
    """The constant `[S, G]` out of which it is taken; empty without a table."""
    constant: np.ndarray | None = None
    """The vector itself, if it is always the same."""


def follow_vector(nodes: OnnxNodes, value: str, channels: int, rank: int) -> FollowedVector:
    """Follow the value that the convolution of a vector reads.

    Args:
        nodes: the graph.
        value: name of the value.
        channels: G, that the convolution takes.
        rank: dimensions of the value: batch, G, and others of size 1.

    Raises:
        AnotherGraph: a node on the way does more than move the vector; the text names it.
        ModelFileError: a constant cannot be read.
    """
    # None after a reshape: only the order of all numbers is known then.
    axes: list[str] | None = ["B", "M", *["1"] * (rank - 2)]
    inputs = {item.name: item for item in nodes.inputs}
    for _ in range(MAX_STEPS):
        value = strip_identities(nodes, value)
        if nodes.is_constant(value):
            return FollowedVector(constant=_constant(nodes, value, channels))
        node = nodes.producer(value)
        if node is None:
            if value not in inputs or not _is_vector(inputs[value], axes, channels):
                raise AnotherGraph(f"{inputs.get(value, value)} conditions it, and is no vector of {channels} values")
            return FollowedVector(value)
        if node.op_type == "Gather" and not node.domain:
            return _row_of_table(nodes, node, axes, channels)
        if node.domain or not node.inputs or not _moves(nodes, node, axes):
            raise _unknown(node)
        if node.op_type in ("Reshape", "Flatten"):
            axes = None
        value = node.inputs[0]
    raise AnotherGraph(f"more than {MAX_STEPS} nodes stand before value {value[:80]!r}")


def _unknown(node: NodeFields) -> AnotherGraph:
    return AnotherGraph(f"{describe_node(node)} changes its conditioning vector")


def _moves(nodes: OnnxNodes, node: NodeFields, axes: list[str] | None) -> bool:
    """Whether a node changes the shape alone; `axes` become those of its input."""
    if node.op_type in ("Reshape", "Flatten"):
        return True
    if axes is None:
        return node.op_type in ("Squeeze", "Unsqueeze")
    step = SHAPE_STEPS.get(node.op_type)
    return step is not None and step(nodes, node, axes)


def _constant(nodes: OnnxNodes, value: str, channels: int) -> np.ndarray:
    array = nodes.constant(value)
    if array.size != channels or array.dtype.kind != "f":
        raise AnotherGraph(f"value {value[:80]!r} conditions it, and is no vector of {channels} values")
    return array.reshape(-1)


def _is_vector(item: GraphValue, axes: list[str] | None, channels: int) -> bool:
    """Whether an input holds one vector for each item, so that nothing of it changes in time."""
    shape = item.shape
    if shape is None or "float" not in item.dtype:
        return False
    if axes is None:
        sizes = shape[1:] if len(shape) > 1 else shape
        return None not in sizes and math.prod(size or 0 for size in sizes) == channels
    allowed: dict[str, tuple[int | None, ...]] = {"M": (None, channels), "1": (1,)}
    return len(shape) == len(axes) and all(
        axis == "B" or size in allowed[axis] for size, axis in zip(shape, axes, strict=True)
    )


def _row_of_table(nodes: OnnxNodes, node: NodeFields, axes: list[str] | None, channels: int) -> FollowedVector:
    table, index = node.inputs[0], node.inputs[-1]
    if nodes.integer(node, "axis", 0) != 0 or not nodes.is_constant(table) or (axes and axes[-1] != "M"):
        raise _unknown(node)
    array = nodes.constant(table)
    if array.ndim != 2 or array.dtype.kind != "f" or array.shape[1] != channels:
        raise AnotherGraph(f"the table of {describe_node(node)} has no vectors of {channels} values")
    inputs = {item.name: item for item in nodes.inputs}
    for _ in range(MAX_STEPS):
        before = nodes.producer(index)
        if before is None:
            break
        moves = before.op_type in ("Unsqueeze", "Squeeze", "Reshape", "Flatten", "Identity") or (
            before.op_type == "Cast" and nodes.integer(before, "to", 0) in _INTEGER_TYPES
        )
        if before.domain or not moves:
            raise AnotherGraph(f"{describe_node(before)} changes the number of the speaker")
        index = before.inputs[0]
    item = inputs.get(index)
    if item is None or item.shape is None or "int" not in item.dtype or any(size != 1 for size in item.shape[1:]):
        raise AnotherGraph(f"{item or index} is not one number of a speaker for each mel")
    return FollowedVector(index, table)
