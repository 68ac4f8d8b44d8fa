"""Finds the flow of a voice in an ONNX graph, by following it from what the decoder reads to what the text part gives.

As in `onnx_following`, names mean nothing, and each node on the way is accounted for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hifigan_rt.config import FlowConfig
from hifigan_rt.families.flow import Affine, Coupling, CouplingLayer, UnknownFlow, fold_flow
from hifigan_rt.families.onnx_conditioning import FollowedVector, follow_vector
from hifigan_rt.families.onnx_convs import ConvFollower, FollowedConv
from hifigan_rt.families.onnx_steps import AnotherGraph, describe_node
from hifigan_rt.families.onnx_views import Channel, ChannelViews
from hifigan_rt.formats.onnx_nodes import OnnxNodes
from hifigan_rt.formats.onnx_scan import NodeFields

_MAX_LAYERS = 256


@dataclass(frozen=True)
class OnnxFlow:
    """A flow as an ONNX file holds it."""

    config: FlowConfig
    weights: dict[str, np.ndarray]
    """The parameters, by the names of `hifigan_rt.graph`."""
    order: np.ndarray
    """Which channels of the halves, one behind the other, the decoder's first layer reads: integers `[C]`, in order."""
    source: str
    """Name of the value that it reads: float32 `[B, C, T]`."""
    vector: FollowedVector | None
    """What conditions it."""


@dataclass(frozen=True)
class _FollowedLayer:
    gate: FollowedConv
    conditioning: FollowedConv | None
    conditioning_start: int
    """The first of the 2 C results of that convolution which are this layer's."""
    projection: FollowedConv
    """The convolution of what is gated: residual and skip, or skip alone."""
    value: str
    """Name of its result."""


@dataclass(frozen=True)
class _FollowedCoupling:
    read: list[Channel]
    shifted: list[Channel]
    pre: FollowedConv
    layers: list[_FollowedLayer]
    post: FollowedConv


def find_flow(nodes: OnnxNodes, value: str, channels: int) -> OnnxFlow:
    """Follow the value that a decoder reads back through the flow that makes it.

    Args:
        nodes: the graph.
        value: name of the value.
        channels: C of it.

    Raises:
        AnotherGraph: something else makes it; the text names the first node that fits nowhere.
        ModelFileError: a constant cannot be read.
    """
    try:
        return _FlowFollower(nodes, channels).flow(value)
    except UnknownFlow as error:
        raise AnotherGraph(f"the flow in front of its decoder is another than VITS has: {error}") from error


class _FlowFollower:
    def __init__(self, nodes: OnnxNodes, channels: int) -> None:
        self._nodes, self._channels = nodes, channels
        self._convs = ConvFollower(nodes)
        self._views = ChannelViews(nodes, channels)
        self._bytes_left = 2 * nodes.size_bytes + (1 << 20)
        self._vectors: list[FollowedVector] = []

    def flow(self, value: str) -> OnnxFlow:
        last = self._views.view(value)
        found, source = self._couplings(last)
        if not found:
            raise AnotherGraph(f"no coupling of a flow makes the value {value[:80]!r} that its decoder reads")
        current = [(source, channel) for channel in range(self._channels)]
        couplings = []
        for name, coupling in found.items():
            places = {channel: place for place, channel in enumerate(current)}
            read, shifted = self._order(coupling.read, places), self._order(coupling.shifted, places)
            for channel, place in enumerate(shifted):
                current[place] = (name, channel)
            couplings.append(self._coupling(coupling, read, shifted))
        order = self._order(last, {channel: place for place, channel in enumerate(current)})
        config, weights = fold_flow(couplings)
        if any(vector != self._vectors[0] for vector in self._vectors):
            raise AnotherGraph("its flow is conditioned by several different vectors")
        return OnnxFlow(config, weights, order, source, self._vectors[0] if self._vectors else None)

    def _order(self, channels: Sequence[Channel], places: dict[Channel, int]) -> np.ndarray:
        unknown = [channel for channel in channels if channel not in places]
        if unknown:
            raise AnotherGraph(f"a coupling of its flow reads channel {unknown[0][1]} of value {unknown[0][0][:80]!r}")
        return np.array([places[channel] for channel in channels])

    def _couplings(self, last: list[Channel]) -> tuple[dict[str, _FollowedCoupling], str]:
        """The couplings in the order in which they are computed, by the value that each makes; and what they read."""
        found: dict[str, _FollowedCoupling] = {}
        begins: set[str] = set()
        wanted = [name for name, _ in last]
        while wanted:
            name = wanted.pop()
            node = self._nodes.producer(name)
            if name in found or name in begins:
                continue
            if node is None or node.op_type != "Sub" or node.domain:
                begins.add(name)
                continue
            found[name] = self._follow(node)
            wanted += [inner for inner, _ in (*found[name].read, *found[name].shifted)]
            if len(found) > _MAX_LAYERS:
                raise AnotherGraph(f"its flow has more than {_MAX_LAYERS} couplings")
        if len(begins) != 1:
            raise AnotherGraph(f"its flow reads {len(begins)} values: {', '.join(sorted(begins))[:160]}")
        ordered: dict[str, _FollowedCoupling] = {}
        while len(ordered) < len(found):
            ready = [
                name
                for name, coupling in found.items()
                if name not in ordered
                and all(inner in ordered or inner in begins for inner, _ in (*coupling.read, *coupling.shifted))
            ]
            ordered |= {name: found[name] for name in ready[:1]}
        return ordered, begins.pop()

    def _follow(self, node: NodeFields) -> _FollowedCoupling:
        """The coupling that ends with a difference."""
        shifted, mean = self._views.view(node.inputs[0]), self._views.stripped(node.inputs[1])
        post = self._pointwise(mean)
        terms = dict(self._terms(post.source))
        last = [name for name, start in terms.items() if start == 0]
        if len(last) != 1:
            raise AnotherGraph(f"{len(last)} layers before {describe_node(node)} give nothing but a part of its sum")
        layers = [self._layer(last[0])]
        while True:
            x = self._views.stripped(layers[0].gate.source)
            before = self._step(x, terms)
            if before is None:
                break
            layers.insert(0, self._layer(before[0]))
            if self._views.stripped(layers[0].gate.source) != before[1] or len(layers) > len(terms):
                raise AnotherGraph(f"value {x[:80]!r} is not what a layer of its flow reads and what it adds")
        if len(layers) != len(terms):
            raise AnotherGraph(f"of {len(terms)} layers before {describe_node(node)} {len(layers)} follow each other")
        pre = self._pointwise(x)
        return _FollowedCoupling(self._views.view(pre.source), shifted, pre, layers, post)

    def _terms(self, value: str) -> list[tuple[str, int]]:
        """The convolutions of which a value is the sum, each with the first of the channels that are taken of it."""
        found: list[tuple[str, int]] = []
        left = [value]
        while left:
            value = self._views.stripped(left.pop())
            node = self._nodes.producer(value)
            if node is not None and node.op_type == "Add" and not node.domain:
                left += node.inputs
            else:
                found.append(self._run(value))
            if len(found) + len(left) > _MAX_LAYERS:
                raise AnotherGraph(f"{value[:80]!r} is a sum of more than {_MAX_LAYERS} values")
        if len({name for name, _ in found}) != len(found):
            raise AnotherGraph("a layer of its flow is added twice")
        return found

    def _run(self, value: str) -> tuple[str, int]:
        """The value of which another is a run of channels, with the first of them."""
        view = self._views.view(value)
        name, start = view[0] if view else (value, 0)
        if view != [(name, start + i) for i in range(len(view))]:
            raise AnotherGraph(f"value {value[:80]!r} is no run of channels of one value")
        return name, start

    def _step(self, value: str, terms: dict[str, int]) -> tuple[str, str] | None:
        """What a layer adds to what it reads: the name of its convolution, and of what it reads. None if nothing is."""
        node = self._nodes.producer(value)
        if node is None or node.op_type != "Add" or node.domain:
            return None
        for one, other in (node.inputs, node.inputs[::-1]):
            name, start = self._run(one)
            if start == 0 and terms.get(name, 0) > 0 and self._views.stripped(one) != name:
                return name, self._views.stripped(other)
        raise AnotherGraph(f"{describe_node(node)} adds something else than a layer of its flow")

    def _layer(self, value: str) -> _FollowedLayer:
        projection = self._pointwise(value)
        product = self._nodes.producer(self._views.stripped(projection.source))
        factors = (
            [] if product is None else [self._nodes.producer(self._views.stripped(name)) for name in product.inputs]
        )
        kinds = {node.op_type: node.inputs[0] for node in factors if node is not None}
        if product is None or product.op_type != "Mul" or kinds.keys() != {"Tanh", "Sigmoid"}:
            said = value if product is None else describe_node(product)
            raise AnotherGraph(f"{said} stands where a gate of its flow should be")
        (first, start), (second, middle) = self._run(kinds["Tanh"]), self._run(kinds["Sigmoid"])
        size = len(self._views.view(kinds["Tanh"]))
        if first != second or start != 0 or middle != size or len(self._views.view(kinds["Sigmoid"])) != size:
            raise AnotherGraph(f"{describe_node(product)} does not multiply the two halves of one value")
        return self._gated(first, projection, value)

    def _gated(self, gated: str, projection: FollowedConv, value: str) -> _FollowedLayer:
        node = self._nodes.producer(gated)
        if node is None or node.op_type != "Add":
            return _FollowedLayer(self._conv(gated), None, 0, projection, value)
        for one, other in (node.inputs, node.inputs[::-1]):
            if self._convs.makes(self._views.stripped(one), "Conv"):
                name, start = self._run(other)
                if self._convs.makes(name, "Conv") and self._views.stripped(one) != name:
                    gate = self._conv(self._views.stripped(one))
                    vector = self._pointwise(name)
                    if not self._is_vector(gate, vector):
                        continue
                    return _FollowedLayer(gate, vector, start, projection, value)
        raise AnotherGraph(f"{describe_node(node)} adds something else than a vector's convolution in its flow")

    def _is_vector(self, gate: FollowedConv, vector: FollowedConv) -> bool:
        return self._views.stripped(gate.source) != self._views.stripped(vector.source)

    def _conv(self, value: str) -> FollowedConv:
        conv = self._convs.conv(value, "a layer of its flow", transposed=False)
        if conv.slope is not None or conv.is_trimmed or conv.mode != "zeros":
            raise AnotherGraph(f"value {value[:80]!r} is no plain convolution, as a flow has them")
        return conv

    def _pointwise(self, value: str) -> FollowedConv:
        conv = self._conv(value)
        if conv.padding != (0, 0):
            raise AnotherGraph(f"the convolution that makes {value[:80]!r} pads, and is none of one row")
        return conv

    def _affine(self, conv: FollowedConv, kernel: int | None = 1) -> Affine:
        weight = self._nodes.constant(conv.weight)
        if weight.dtype.kind != "f" or weight.ndim not in (3, 4) or (weight.ndim == 4 and 1 not in weight.shape[2:]):
            raise AnotherGraph(f"the weights {conv.weight[:80]!r} of its flow are {weight.dtype} {list(weight.shape)}")
        self._bytes_left -= weight.nbytes
        if self._bytes_left < 0:
            raise AnotherGraph("the layers of its flow share weights so often that they take more memory than the file")
        weight = weight.reshape(*weight.shape[:2], -1)
        bias = np.zeros(len(weight), weight.dtype) if conv.bias is None else self._nodes.constant(conv.bias).reshape(-1)
        if kernel is not None and weight.shape[2] != kernel:
            raise AnotherGraph(f"the weights {conv.weight[:80]!r} of its flow have a kernel of {weight.shape[2]}")
        if bias.shape != (len(weight),):
            raise AnotherGraph(f"the weights {conv.weight[:80]!r} of its flow have {bias.size} biases")
        return weight, bias

    def _coupling(self, coupling: _FollowedCoupling, read: np.ndarray, shifted: np.ndarray) -> Coupling:
        pre, post = self._affine(coupling.pre), self._affine(coupling.post)
        inner, half = len(pre[0]), len(read)
        if not (len(shifted) == half == self._channels - half) or pre[0].shape[1] != half or len(post[0]) != half:
            raise AnotherGraph(f"a coupling of its flow does not take halves of {self._channels} channels")
        layers = [self._read_layer(layer, inner, is_last=layer is coupling.layers[-1]) for layer in coupling.layers]
        if post[0].shape[1] != inner:
            raise AnotherGraph("the layers of a coupling of its flow differ in their channels")
        return Coupling(read, shifted, pre, layers, post)

    def _read_layer(self, layer: _FollowedLayer, inner: int, *, is_last: bool) -> CouplingLayer:
        gate, (weight, bias) = self._affine(layer.gate, None), self._affine(layer.projection)
        kernel, dilation = gate[0].shape[2], layer.gate.dilation
        side = (kernel - 1) * dilation // 2
        count = inner if is_last else 2 * inner
        if gate[0].shape[:2] != (2 * inner, inner) or weight.shape != (count, inner, 1):
            raise AnotherGraph("the layers of a coupling of its flow differ in their channels")
        if layer.gate.padding != (side, side) or kernel % 2 == 0:
            raise AnotherGraph(
                f"a layer of its flow with kernel {kernel} and dilation {dilation} pads {layer.gate.padding}"
            )
        conditioning = self._conditioning(layer, 2 * inner)
        if isinstance(conditioning, np.ndarray):
            gate, conditioning = (gate[0], (gate[1] + conditioning).astype(gate[1].dtype)), None
        skip = (weight[-inner:], bias[-inner:])
        residual = None if is_last else (weight[:inner], bias[:inner])
        return CouplingLayer(gate, dilation, conditioning, residual, skip)

    def _conditioning(self, layer: _FollowedLayer, count: int) -> Affine | np.ndarray | None:
        """The convolution of the vector; its result, float64, where the vector is always the same."""
        if layer.conditioning is None:
            return None
        weight, bias = self._affine(layer.conditioning)
        rows = slice(layer.conditioning_start, layer.conditioning_start + count)
        if len(weight[rows]) != count:
            raise AnotherGraph("the convolution of the vector in its flow has too few channels")
        rank = self._nodes.constant(layer.conditioning.weight).ndim
        vector = follow_vector(self._nodes, layer.conditioning.source, weight.shape[1], rank)
        if vector.constant is not None:
            return weight[rows, :, 0].astype(np.float64) @ vector.constant.astype(np.float64) + bias[rows]
        self._vectors.append(vector)
        return weight[rows], bias[rows]
