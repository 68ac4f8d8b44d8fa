"""Reads a HiFi-GAN generator out of an ONNX file: its config and its weights under our names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np

from hifigan_rt.config import GeneratorConfig
from hifigan_rt.errors import ConfigError
from hifigan_rt.families.onnx_conditioning import FollowedVector, follow_vector
from hifigan_rt.families.onnx_convs import FollowedConv
from hifigan_rt.families.onnx_flow import OnnxFlow, find_flow
from hifigan_rt.families.onnx_following import FollowedGenerator, FollowedStage, follow_generator
from hifigan_rt.families.onnx_input import FollowedInput, follow_input, refuse_unknown_input
from hifigan_rt.families.onnx_steps import AnotherGraph
from hifigan_rt.formats.onnx_nodes import OnnxNodes
from hifigan_rt.graph import Layer, LeakyRelu, build_graph


@dataclass(frozen=True)
class OnnxGenerator:
    """A generator as an ONNX file holds it."""

    config: GeneratorConfig
    weights: Mapping[str, np.ndarray]
    """The parameters, by the names of `hifigan_rt.graph`."""
    is_part: bool
    """Whether other layers of the file compute the generator's input."""
    source: str
    """Name of the value of the file that its first layer reads."""


def find_generator(nodes: OnnxNodes, *, with_flow: bool = False) -> OnnxGenerator:
    """Find the generator that makes an output of a file.

    Args:
        nodes: the graph.
        with_flow: whether a voice's flow, which makes what the decoder reads, is wanted in front of it.

    Raises:
        AnotherGraph: there is none, or the file does something else to its samples or its mel; the text names the
            first node that fits nowhere.
        ModelFileError: a constant cannot be read.
    """
    if not nodes.is_ordered:
        raise AnotherGraph("a node reads a value that is made after it, or a value is made twice")
    found: list[FollowedGenerator] = []
    reasons: list[str] = []
    for output in nodes.outputs:
        try:
            found.append(follow_generator(nodes, output))
        except AnotherGraph as error:
            reasons.append(str(error))
    if len(found) != 1:
        raise AnotherGraph(reasons[0] if reasons else f"{len(found)} of its outputs are audio")
    return _Reading(nodes, found[0]).generator(with_flow=with_flow)


class _Reading:
    """The reading of one generator: weights as they come, each checked against the config that they make up."""

    def __init__(self, nodes: OnnxNodes, followed: FollowedGenerator) -> None:
        self._nodes = nodes
        self._followed = followed
        self._convs = dict(_named(followed))
        self._weights: dict[str, np.ndarray] = {}
        self._rank = 3
        self._bytes_left = 2 * nodes.size_bytes + (1 << 20)

    def generator(self, *, with_flow: bool) -> OnnxGenerator:
        for name, conv in self._convs.items():
            self._read(name, conv)
        channels = self._weights["conv_pre.weight"].shape[1]
        first = self._convs["conv_pre"]
        flow = find_flow(self._nodes, first.source, channels) if with_flow else None
        if flow is not None:
            self._add_flow(flow)
        conditioning, beside = self._conditioning(None if flow is None else flow.vector)
        axes = ("B", "M", "T") if self._rank == 3 else ("B", "M", "1", "T")
        source = first.source if flow is None else flow.source
        found = follow_input(self._nodes, source, channels, axes)
        refuse_unknown_input(found, self._nodes, beside)
        if found.graph_input is not None and len(self._nodes.outputs) > 1:
            raise AnotherGraph(f"it has {len(self._nodes.outputs)} outputs")
        self._weights |= found.weights
        try:
            fields = self._fields(channels, found)
            if flow is not None:
                fields |= {"flow": flow.config, "input_kind": "latent"}
            config = GeneratorConfig(**fields, **conditioning)
            graph = build_graph(config)
        except ConfigError as error:
            raise AnotherGraph(str(error)) from error
        for layer in graph.layers:
            if layer.name in self._convs:
                self._check(layer, self._convs[layer.name])
        is_part = found.graph_input is None or flow is not None
        return OnnxGenerator(config, self._weights, is_part=is_part, source=source)

    def _add_flow(self, flow: OnnxFlow) -> None:
        self._weights |= flow.weights
        # Flips that are left after the last coupling.
        self._weights["conv_pre.weight"] = self._weights["conv_pre.weight"][:, np.argsort(flow.order)]

    def _read(self, name: str, conv: FollowedConv) -> None:
        weight = self._nodes.constant(conv.weight)
        of_one_dimension = weight.ndim == 3 or (weight.ndim == 4 and 1 in weight.shape[2:])
        if weight.dtype.kind != "f" or not of_one_dimension or weight.size == 0:
            raise AnotherGraph(f"the weights of {name} are {weight.dtype} {list(weight.shape)}")
        self._bytes_left -= weight.nbytes
        if self._bytes_left < 0:
            raise AnotherGraph("its layers share weights so often that they take more memory than the file")
        self._rank = weight.ndim
        self._weights[f"{name}.weight"] = weight.reshape(*weight.shape[:2], -1)
        if conv.bias is not None:
            self._weights[f"{name}.bias"] = self._nodes.constant(conv.bias).reshape(-1)

    def _conditioning(self, of_flow: FollowedVector | None) -> tuple[dict[str, Any], str]:
        """The fields of the config that say what a vector is added to, and the input of the file that it comes from."""
        vectors: dict[str, FollowedVector] = {}
        for name, conv in list(self._convs.items()):
            if conv.conditioning is None:
                continue
            weight = self._weights[f"{_conditioner(name)}.weight"]
            vector = follow_vector(self._nodes, conv.conditioning.source, weight.shape[1], self._rank)
            if vector.constant is None:
                vectors[name] = vector
            else:
                self._fold_vector(name, vector.constant)
        found = [*vectors.values(), *([] if of_flow is None else [of_flow])]
        if not found:
            return {}, ""
        first = found[0]
        if any((vector.source, vector.table) != (first.source, first.table) for vector in found):
            raise AnotherGraph("it is conditioned by several different vectors")
        name = _conditioner(next(iter(vectors))) if vectors else "flow.0.conds.0"
        if first.table:
            self._weights["emb_g.weight"] = self._nodes.constant(first.table)
        fields = {
            "conditioning_channels": self._weights[f"{name}.weight"].shape[1],
            "conditioned_layers": tuple(vectors),
            "num_speakers": self._weights["emb_g.weight"].shape[0] if first.table else 0,
        }
        return fields, first.source

    def _fold_vector(self, name: str, vector: np.ndarray) -> None:
        """Add to a layer's bias what a constant vector adds to its result."""
        del self._convs[_conditioner(name)]
        weight = self._weights.pop(f"{_conditioner(name)}.weight")
        added = weight[:, :, 0].astype(np.float64) @ vector.astype(np.float64)
        biases = (self._weights.pop(f"{_conditioner(name)}.bias", None), self._weights.get(f"{name}.bias"))
        for bias in biases:
            if bias is not None:
                if bias.shape != added.shape:
                    raise AnotherGraph(f"its layer that should be {name} has {bias.size} biases")
                added = added + bias
        self._weights[f"{name}.bias"] = added.astype(np.float32)

    def _fields(self, channels: int, found: FollowedInput) -> dict[str, Any]:
        followed, weights = self._followed, self._weights
        inner = [conv for name, conv in self._convs.items() if name not in ("conv_pre", "conv_post")]
        slopes = {conv.slope for conv in inner if conv.slope is not None}
        blocks = followed.stages[0].blocks
        causal = any(stage.upsample.mode == "replicate" for stage in followed.stages)
        kernels = [weights[f"ups.{i}.weight"].shape[2] for i in range(len(followed.stages))]
        paddings = tuple(_rows_cut(stage.upsample) for stage in followed.stages)
        rates = tuple(stage.upsample.stride for stage in followed.stages)
        usual = tuple(((k - u) // 2, (k - u) // 2) for k, u in zip(kernels, rates, strict=True))
        first = "convs1" if len(blocks[0][0].convs) == 2 else "convs"
        modes = {conv.mode for conv in self._convs.values() if not conv.transposed and conv.padding != (0, 0)}
        final = followed.last.slope
        linear = ("lin_pre",) if "lin_pre.weight" in found.weights else ()
        return {
            "upsample_initial_channel": weights["conv_pre.weight"].shape[0],
            "upsample_rates": rates,
            "upsample_kernel_sizes": tuple(kernels),
            "resblock": "1" if first == "convs1" else "2",
            "resblock_kernel_sizes": tuple(
                weights[f"resblocks.{j}.{first}.0.weight"].shape[2] for j in range(len(blocks))
            ),
            "resblock_dilation_sizes": tuple(tuple(unit.convs[0].dilation for unit in block) for block in blocks),
            "num_mels": channels,
            "conv_pre_kernel_size": weights["conv_pre.weight"].shape[2],
            "conv_post_kernel_size": weights["conv_post.weight"].shape[2],
            "leaky_relu_slope": slopes.pop() if len(slopes) == 1 else 0.1,
            "final_slope": 0.01 if final is None else final,
            "upsample_paddings": None if causal or paddings == usual else paddings,
            "padding_mode": modes.pop() if len(modes) == 1 else "zeros",
            "causal": causal,
            "layers_without_bias": tuple(
                name for name in (*self._convs, *linear) if f"{name}.bias" not in {**weights, **found.weights}
            ),
            "input_normalization": "mean" in found.weights,
            "pre_linear": found.weights["lin_pre.weight"].shape[1] if linear else 0,
            "output": followed.output,
            "input_kind": "latent" if found.graph_input is None and channels not in _MEL_BANDS else "mel",
        }

    def _check(self, layer: Layer, conv: FollowedConv) -> None:
        """Compare a layer that the config asks for with what was found in the file."""
        shape = self._weights[f"{layer.name}.weight"].shape
        slope = layer.activation.slope if isinstance(layer.activation, LeakyRelu) else None
        pads = _rows_cut(conv) if conv.transposed else conv.padding
        if conv.is_trimmed and sum(pads) >= layer.span:
            pads = (pads[0], layer.span - pads[0])
        padded = layer.padding != (0, 0) or layer.kind == "conv_transpose"
        for what, theirs, ours in (
            ("weights of shape", shape, layer.weight_shape),
            ("stride", conv.stride, layer.stride),
            ("dilation", conv.dilation, layer.dilation),
            ("padding", pads, layer.padding),
            ("padding mode", conv.mode if padded else "zeros", layer.padding_mode if padded else "zeros"),
            ("slope of the activation before it", conv.slope, slope),
        ):
            if theirs != ours:
                raise AnotherGraph(f"its layer that should be {layer.name} has {what} {theirs}, and not {ours}")
        bias = self._weights.get(f"{layer.name}.bias")
        if bias is not None and bias.shape != (layer.out_channels,):
            raise AnotherGraph(f"its layer that should be {layer.name} has {bias.size} biases")


_MEL_BANDS = frozenset((40, 64, 80, 100, 128))
"""Numbers of bands that mels have; the latents of VITS and its relatives have 96, 192 or more channels."""


def _rows_cut(conv: FollowedConv) -> tuple[int, int]:
    """Rows cut off from the whole result of a transposed convolution."""
    left, right = conv.padding
    if conv.mode == "replicate":
        left -= conv.stride  # of the row that was put before the first
    return left, right - conv.output_padding


def _conditioner(layer: str) -> str:
    """Name of the convolution whose result is added to that of a layer."""
    return "cond" if layer == "conv_pre" else layer.replace("ups", "conds")


def _named(followed: FollowedGenerator) -> Iterator[tuple[str, FollowedConv]]:
    yield "conv_pre", followed.first
    order = _signatures(followed.stages[0])
    units = chain.from_iterable(block for stage in followed.stages for block in stage.blocks)
    if len({len(unit.convs) for unit in units}) > 1:
        raise AnotherGraph("some additions of its residual blocks follow one convolution, and others two")
    for i, stage in enumerate(followed.stages):
        yield f"ups.{i}", stage.upsample
        if [len(block) for block in stage.blocks] != [len(block) for block in followed.stages[0].blocks]:
            raise AnotherGraph(f"stage {i} has other residual blocks than the first: {_signatures(stage)}, {order}")
        for j, block in enumerate(stage.blocks):
            for m, unit in enumerate(block):
                names = ("convs1", "convs2") if len(unit.convs) == 2 else ("convs",)
                for kind, conv in zip(names, unit.convs, strict=True):
                    yield f"resblocks.{i * len(stage.blocks) + j}.{kind}.{m}", conv
    yield "conv_post", followed.last
    for layer, conv in chain(
        [("conv_pre", followed.first)], ((f"ups.{i}", stage.upsample) for i, stage in enumerate(followed.stages))
    ):
        if conv.conditioning is not None:
            yield _conditioner(layer), conv.conditioning


def _signatures(stage: FollowedStage) -> Sequence[tuple[int, ...]]:
    return [tuple(unit.convs[0].dilation for unit in block) for block in stage.blocks]
