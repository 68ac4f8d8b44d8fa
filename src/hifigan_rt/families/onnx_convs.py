"""Reads one convolution of an ONNX graph, with the activation and the padding that belong to it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from hifigan_rt.families.onnx_steps import AnotherGraph, describe_node, is_length_of, strip_identities
from hifigan_rt.formats.onnx_nodes import OnnxNodes
from hifigan_rt.formats.onnx_scan import NodeFields

_PAD_MODES = {"constant": "zeros", "reflect": "reflect", "edge": "replicate"}

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


class ConvFollower:
    """The convolutions of one graph; every method takes the name of a value and looks at what makes it."""

    def __init__(self, nodes: OnnxNodes) -> None:
        self._nodes = nodes

    def untrimmed(self, value: str) -> tuple[str, str]:
        """The value of which another is the beginning, and what says how much; itself and nothing if it is whole."""
        value = strip_identities(self._nodes, value)
        node = self._nodes.producer(value)
        if node is None or node.op_type != "Slice" or len(node.inputs) < 4 or self._nodes.is_constant(node.inputs[2]):
            return value, ""
        steps = self._integers(node.inputs[4]) if len(node.inputs) > 4 and node.inputs[4] else [1]
        if self._integers(node.inputs[1]) != [0] or steps != [1] or self._integers(node.inputs[3]) not in ([2], [-1]):
            return value, ""
        return strip_identities(self._nodes, node.inputs[0]), node.inputs[2]

    def makes(self, value: str, op_type: str) -> bool:
        """Whether an operator makes a value, or one of which it is the beginning."""
        node = self._nodes.producer(self.untrimmed(value)[0])
        return node is not None and node.op_type == op_type and not node.domain

    def is_pointwise(self, value: str) -> bool:
        """Whether a value is made by a convolution of one row."""
        node = self._nodes.producer(strip_identities(self._nodes, value))
        if node is None or len(node.inputs) < 2:
            return False
        shape = self._nodes.shape_of_initializer(node.inputs[1])
        sizes = self._nodes.integers(node, "kernel_shape", () if shape is None else shape[2:])
        return all(size == 1 for size in sizes)

    def conv(self, value: str, what: str, *, transposed: bool) -> FollowedConv:
        """The convolution whose result a value is.

        Args:
            value: its name.
            what: should be there, for texts.
            transposed: whether a transposed one is looked for.

        Raises:
            AnotherGraph: something else makes the value, or the convolution is none of a generator's.
        """
        value, rows = self.untrimmed(value)
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
        # An attribute up to operator set 10.
        filling = self._nodes.scalar(inputs[1]) if inputs[1] else self._nodes.number(node, "value", 0.0)
        if filling != 0 and mode == "zeros":
            raise AnotherGraph(f"{describe_node(node)} pads with another value than 0")
        if mode is None or inputs[2] or len(pads) // 2 <= 2 + axis or len(pads) not in (6, 8):
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
