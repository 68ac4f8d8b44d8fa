"""Small steps through an ONNX graph: naming a node, and going back over nodes that change nothing."""

from __future__ import annotations

from collections.abc import Collection

from hifigan_rt.formats.onnx_nodes import OnnxNodes
from hifigan_rt.formats.onnx_scan import NodeFields

_FLOAT_TYPES = frozenset((1, 10, 11, 16))
"""Numbers of TensorProto.DataType."""


class AnotherGraph(Exception):
    """What makes a graph another network than a HiFi-GAN generator; never leaves the readers of ONNX files."""


def describe_node(node: NodeFields) -> str:
    """A node for a text."""
    return f"node {(node.name or node.outputs[0])[:80]!r} ({node.op_type})"


def strip_identities(nodes: OnnxNodes, value: str) -> str:
    """Go back over nodes that hand on what they get: Identity, casts between floats, additions of 0, factors of 1."""
    while (before := _handed_on(nodes, value)) is not None:
        value = before
    return value


def _handed_on(nodes: OnnxNodes, value: str) -> str | None:
    node = nodes.producer(value)
    if node is None or node.domain or not node.inputs:
        return None
    if node.op_type == "Cast":
        return node.inputs[0] if nodes.integer(node, "to", 0) in _FLOAT_TYPES else None
    if node.op_type in ("Identity", "Dropout"):
        return node.inputs[0] if node.outputs[0] == value else None
    if node.op_type not in _NEUTRAL or len(node.inputs) != 2:
        return None
    left, right = node.inputs
    if node.op_type == "Add" and (is_zeros(nodes, left) or is_zeros(nodes, right)):
        return right if is_zeros(nodes, left) else left
    if nodes.scalar(right) == _NEUTRAL[node.op_type]:
        return left
    return right if node.op_type in ("Add", "Mul") and nodes.scalar(left) == _NEUTRAL[node.op_type] else None


_NEUTRAL = {"Add": 0.0, "Sub": 0.0, "Mul": 1.0, "Div": 1.0}


def is_zeros(nodes: OnnxNodes, value: str) -> bool:
    """Whether a value is zeros of a shape that the graph computes: NeMo begins its sums with them."""
    node = nodes.producer(value)
    if node is None or node.domain:
        return False
    if node.op_type == "Expand":
        return nodes.scalar(node.inputs[0]) == 0
    filling = nodes.tensor(node, "value") if node.op_type == "ConstantOfShape" else None
    return node.op_type == "ConstantOfShape" and (filling is None or not filling.any())


def is_length_of(nodes: OnnxNodes, value: str, others: Collection[str]) -> bool:
    """Whether a value is the number of rows of one of some others."""
    for op_type in ("Unsqueeze", "Gather", "Shape"):
        node = nodes.producer(strip_identities(nodes, value))
        if node is None or node.op_type != op_type or not node.inputs:
            return False
        if op_type == "Shape" and not node.attributes.keys().isdisjoint(("start", "end")):
            return False
        if op_type == "Gather" and (len(node.inputs) != 2 or nodes.scalar(node.inputs[1]) not in (2, -1)):
            return False
        value = node.inputs[0]
    return strip_identities(nodes, value) in others
