"""The HiFi-GAN generator as plain data: layers, shapes, lengths, cost and reach; no framework, no arithmetic.

Layers carry the names of the original's parameters (jik876/hifi-gan: models.py), so that errors match checkpoints.
One forward pass is

    x = conv_pre(mel)
    for stage in stages:
        x = stage.upsample(leaky_relu(x, 0.1))
        x = mean of resblock(x) over stage.resblocks
    audio = tanh(conv_post(leaky_relu(x, 0.01)))

and a residual block repeats `x = x + conv(leaky_relu(x, 0.1))` for each of its units, with one convolution per
unit (type 2) or two, each behind its own activation (type 1).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from hifigan_rt.config import GeneratorConfig
from hifigan_rt.errors import CheckpointError, ConfigError, MelError, WeightMismatch

LEAKY_RELU_SLOPE = 0.1
"""Slope of every activation but the last (models.py: LRELU_SLOPE)."""

FINAL_LEAKY_RELU_SLOPE = 0.01
"""Slope before conv_post. models.py calls leaky_relu there without a slope, so PyTorch's default of 0.01 applies;
every published checkpoint was trained that way."""

MAX_FRAMES = 1 << 24
"""Frames of one mel that are accepted (54 hours at 22,050 Hz and a hop of 256)."""


@dataclass(frozen=True)
class Conv:
    """A stride-1 convolution with zero padding; weight `[C_out, C_in, K]`, bias `[C_out]`."""

    name: str
    in_channels: int
    out_channels: int
    kernel_size: int
    dilation: int
    padding: int

    @property
    def weight_shape(self) -> tuple[int, int, int]:
        return (self.out_channels, self.in_channels, self.kernel_size)

    def output_length(self, length: int) -> int:
        return length + 2 * self.padding - self.dilation * (self.kernel_size - 1)

    def reach(self, low: int, high: int) -> tuple[int, int]:
        """First and last output row that input rows low to high can change."""
        return low + self.padding - self.dilation * (self.kernel_size - 1), high + self.padding


@dataclass(frozen=True)
class ConvTranspose:
    """A transposed convolution without output padding; weight `[C_in, C_out, K]`, bias `[C_out]`."""

    name: str
    in_channels: int
    out_channels: int
    kernel_size: int
    stride: int
    padding: int

    @property
    def weight_shape(self) -> tuple[int, int, int]:
        return (self.in_channels, self.out_channels, self.kernel_size)

    def output_length(self, length: int) -> int:
        # One more than length * stride when kernel_size - stride is odd, as the original has it.
        return (length - 1) * self.stride - 2 * self.padding + self.kernel_size

    def reach(self, low: int, high: int) -> tuple[int, int]:
        """First and last output row that input rows low to high can change."""
        return low * self.stride - self.padding, high * self.stride - self.padding + self.kernel_size - 1


Layer = Conv | ConvTranspose


@dataclass(frozen=True)
class Resblock:
    """One residual block: units of one (type 2) or two (type 1) convolutions, each unit added to its input."""

    name: str
    units: tuple[tuple[Conv, ...], ...]


@dataclass(frozen=True)
class Stage:
    """One upsampling with the parallel residual blocks whose mean follows it."""

    upsample: ConvTranspose
    resblocks: tuple[Resblock, ...]


@dataclass(frozen=True)
class ReceptiveField:
    """How far one mel frame reaches: frame f changes samples `f * hop + first_sample` to `f * hop + last_sample`.

    Seen from the audio, the samples of frame t depend on the mel frames `t - left_frames` to `t + right_frames`.
    """

    first_sample: int
    """Negative: a frame changes this many samples before its own first one, which is the look-ahead."""
    last_sample: int
    """In samples from the frame's own first one."""
    left_frames: int
    """Context before a frame."""
    right_frames: int
    """Look-ahead after a frame."""


@dataclass(frozen=True)
class Graph:
    """A generator's layers, built from its config by `build_graph`."""

    config: GeneratorConfig
    conv_pre: Conv
    stages: tuple[Stage, ...]
    conv_post: Conv
    without_bias: frozenset[str] = frozenset()
    """Names of layers that have none. The original gives every layer one; relatives of it leave some out."""

    @property
    def num_mels(self) -> int:
        return self.config.num_mels

    @property
    def hop_length(self) -> int:
        """Samples per mel frame."""
        return self.config.hop_length

    def layers(self) -> Iterator[Layer]:
        """Every layer with weights, in the order of the original's modules within each stage."""
        yield self.conv_pre
        for stage in self.stages:
            yield stage.upsample
            for resblock in stage.resblocks:
                for unit in resblock.units:
                    yield from unit
        yield self.conv_post

    def weight_shapes(self) -> dict[str, tuple[int, ...]]:
        """Name and shape of every parameter, weight norm folded."""
        shapes: dict[str, tuple[int, ...]] = {}
        for layer in self.layers():
            shapes[f"{layer.name}.weight"] = layer.weight_shape
            if layer.name not in self.without_bias:
                shapes[f"{layer.name}.bias"] = (layer.out_channels,)
        return shapes

    def output_length(self, frames: int) -> int:
        """Samples N that T mel frames give: `T * hop_length` when every `kernel - rate` is even.

        Raises:
            MelError: frames is below 1 or absurd.
        """
        if not 1 <= frames <= MAX_FRAMES:
            raise MelError(f"mel has T={frames} frames: it must have from 1 to {MAX_FRAMES}")
        length = self.conv_pre.output_length(frames)
        for stage in self.stages:
            length = stage.upsample.output_length(length)
        return self.conv_post.output_length(length)

    @property
    def parameter_count(self) -> int:
        """Weights and biases, weight norm folded (V1: 13,926,017)."""
        return sum(int(np.prod(shape)) for shape in self.weight_shapes().values())

    @property
    def macs_per_frame(self) -> int:
        """Multiply-accumulates of direct convolution per mel frame, far from the ends (V1: 307,052,544)."""
        total, rate = 0, 1
        for layer in self.layers():
            # A transposed convolution does its kernel once per input row, all others once per output row.
            total += rate * int(np.prod(layer.weight_shape))
            if isinstance(layer, ConvTranspose):
                rate *= layer.stride
        return total

    @cached_property
    def receptive_field(self) -> ReceptiveField:
        """The exact reach of one frame, by following an interval of rows through every layer."""
        interval = self.conv_pre.reach(0, 0)
        for stage in self.stages:
            interval = stage.upsample.reach(*interval)
            ends = [_reach_of_resblock(resblock, interval) for resblock in stage.resblocks]
            interval = min(low for low, _ in ends), max(high for _, high in ends)
        first, last = self.conv_post.reach(*interval)
        hop = self.hop_length
        # Frame f reaches the samples t*hop ... t*hop + hop - 1 of frame t if f*hop + first <= t*hop + hop - 1
        # and f*hop + last >= t*hop.
        return ReceptiveField(first, last, left_frames=last // hop, right_frames=(hop - 1 - first) // hop)


def _reach_of_resblock(resblock: Resblock, interval: tuple[int, int]) -> tuple[int, int]:
    low, high = interval
    for unit in resblock.units:
        inner = (low, high)
        for conv in unit:
            inner = conv.reach(*inner)
        low, high = min(low, inner[0]), max(high, inner[1])
    return low, high


@dataclass(frozen=True)
class Generator:
    """A graph with its weights: what every engine runs and every exporter writes.

    `weights` maps `<layer>.weight` and `<layer>.bias` to C-contiguous float32 or float64 arrays of the graph's shapes.
    """

    graph: Graph
    weights: Mapping[str, np.ndarray] = field(repr=False)

    def bias_of(self, layer: Layer) -> np.ndarray:
        """The layer's bias `[C_out]`; zeros if it has none."""
        weight = self.weights[f"{layer.name}.weight"]
        return self.weights.get(f"{layer.name}.bias", np.zeros(layer.out_channels, weight.dtype))


def build_graph(config: GeneratorConfig, without_bias: Iterable[str] = ()) -> Graph:
    """Lay out the layers of a generator (jik876/hifi-gan: models.py, class Generator).

    Args:
        config: the architecture.
        without_bias: names of layers that have no bias, for example "conv_post".

    Raises:
        ConfigError: without_bias names a layer that is not there.
    """
    channels = config.upsample_initial_channel
    conv_pre = Conv("conv_pre", config.num_mels, channels, 7, 1, 3)
    stages = []
    n_resblocks = len(config.resblock_kernel_sizes)
    for i, (rate, kernel) in enumerate(zip(config.upsample_rates, config.upsample_kernel_sizes, strict=True)):
        out_channels = config.upsample_initial_channel >> (i + 1)
        upsample = ConvTranspose(f"ups.{i}", channels, out_channels, kernel, rate, (kernel - rate) // 2)
        channels = out_channels
        resblocks = tuple(
            _build_resblock(f"resblocks.{i * n_resblocks + j}", channels, config.resblock, kernel, dilations)
            for j, (kernel, dilations) in enumerate(
                zip(config.resblock_kernel_sizes, config.resblock_dilation_sizes, strict=True)
            )
        )
        stages.append(Stage(upsample, resblocks))
    graph = Graph(config, conv_pre, tuple(stages), Conv("conv_post", channels, 1, 7, 1, 3), frozenset(without_bias))
    unknown = graph.without_bias - {layer.name for layer in graph.layers()}
    if unknown:
        raise ConfigError(f"without_bias names {', '.join(sorted(unknown))}: the generator has no such layer")
    return graph


def _build_resblock(name: str, channels: int, kind: str, kernel: int, dilations: tuple[int, ...]) -> Resblock:
    def conv(list_name: str, m: int, dilation: int) -> Conv:
        padding = (kernel - 1) * dilation // 2
        return Conv(f"{name}.{list_name}.{m}", channels, channels, kernel, dilation, padding)

    if kind == "1":
        units = [(conv("convs1", m, dilation), conv("convs2", m, 1)) for m, dilation in enumerate(dilations)]
        return Resblock(name, tuple(units))
    return Resblock(name, tuple((conv("convs", m, dilation),) for m, dilation in enumerate(dilations)))


def bind(graph: Graph, weights: Mapping[str, np.ndarray], hint: str = "") -> Generator:
    """Join a graph with its weights, checked completely.

    Args:
        graph: the architecture.
        weights: folded parameters by name; float16 widens to float32 exactly, float32 and float64 stay.
        hint: a last line for the error, for example where the config came from.

    Raises:
        WeightMismatch: lists every missing, unexpected and misshapen parameter.
        CheckpointError: a parameter is not a float array or holds NaN or infinity.
    """
    shapes = graph.weight_shapes()
    missing = [name for name in shapes if name not in weights]
    unexpected = [name for name in weights if name not in shapes]
    misshapen = {
        name: (tuple(weights[name].shape), shape)
        for name, shape in shapes.items()
        if name in weights and tuple(weights[name].shape) != shape
    }
    if missing or unexpected or misshapen:
        raise WeightMismatch(missing, unexpected, misshapen, hint)
    return Generator(graph, {name: _as_parameter(name, weights[name]) for name in shapes})


def _as_parameter(name: str, array: np.ndarray) -> np.ndarray:
    if array.dtype.kind != "f" or array.dtype.itemsize > 8:
        raise CheckpointError(f"{name} has dtype {array.dtype}: float16, float32 or float64 is needed")
    if not np.isfinite(array).all():
        raise CheckpointError(
            f"{name} holds {int((~np.isfinite(array)).sum())} values that are NaN or infinite: "
            "the checkpoint is damaged or its training diverged"
        )
    dtype = np.float64 if array.dtype.itemsize == 8 else np.float32
    return np.ascontiguousarray(array, dtype=dtype)
