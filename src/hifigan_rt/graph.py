"""The HiFi-GAN generator as plain data: layers, shapes, lengths, cost and reach; no framework, no arithmetic.

Layers carry the names of the original's parameters (jik876/hifi-gan: models.py), so that errors match checkpoints.
The network is the list of its layers in order. One forward pass is

    values = {"mel": mel}
    for layer in graph.layers:
        x = mean of values[name] over layer.inputs
        y = convolution(activation(x))
        values[layer.name] = y + values[layer.residual] if the layer has a residual, else y
    audio = tanh(values of the last layer)
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal

import numpy as np

from hifigan_rt.config import GeneratorConfig
from hifigan_rt.errors import CheckpointError, ConfigError, MelError, WeightMismatch

MAX_FRAMES = 1 << 24
"""Frames of one mel that are accepted (54 hours at 22,050 Hz and a hop of 256)."""


def check_frames(frames: int) -> None:
    """Check a mel's length.

    Raises:
        MelError: it is below 1 or absurd.
    """
    if not 1 <= frames <= MAX_FRAMES:
        raise MelError(f"mel has T={frames} frames: it must have from 1 to {MAX_FRAMES}")


MEL = "mel"
"""Name of the value that the first layer reads."""


@dataclass(frozen=True)
class LeakyRelu:
    """The activation `x` where x is positive, `slope * x` elsewhere."""

    slope: float


Activation = LeakyRelu | None
"""An activation as a value; None is none."""

LayerKind = Literal["conv", "conv_transpose"]

INNER_ACTIVATION = LeakyRelu(0.1)
"""Activation in front of every layer but the first and the last (models.py: LRELU_SLOPE)."""

FINAL_ACTIVATION = LeakyRelu(0.01)
"""Activation in front of conv_post. models.py calls leaky_relu there without a slope, so PyTorch's default of 0.01
applies; every published checkpoint was trained that way."""


@dataclass(frozen=True)
class Layer:
    """A convolution of stride 1 with zero padding, or a transposed one without output padding."""

    name: str
    """The original's parameter name, for example "resblocks.3.convs1.2"; also the name of the layer's value."""
    kind: LayerKind
    in_channels: int
    out_channels: int
    kernel_size: int
    stride: int
    """Output rows per input row of a transposed convolution; 1 for a convolution."""
    dilation: int
    """Input rows from tap to tap of a convolution; 1 for a transposed one."""
    padding: tuple[int, int]
    """Rows at the left and right end: added as zeros by a convolution, cut off by a transposed one."""
    activation: Activation
    """What the input passes first."""
    bias: bool
    """Whether the layer has one."""
    inputs: tuple[str, ...]
    """Names of the values it reads: their mean, if they are several."""
    residual: str | None
    """Name of the value that is added to its result."""

    @property
    def weight_shape(self) -> tuple[int, int, int]:
        """`[C_out, C_in, K]` of a convolution, `[C_in, C_out, K]` of a transposed one."""
        if self.kind == "conv":
            return (self.out_channels, self.in_channels, self.kernel_size)
        return (self.in_channels, self.out_channels, self.kernel_size)

    @property
    def span(self) -> int:
        """Rows from a kernel's first tap to its last."""
        return self.dilation * (self.kernel_size - 1)

    def output_length(self, length: int) -> int:
        """Rows that so many input rows give."""
        if self.kind == "conv":
            return length + sum(self.padding) - self.span
        # One more than length * stride when kernel_size - stride is odd, as the original has it.
        return (length - 1) * self.stride + self.kernel_size - sum(self.padding)

    def reach(self, low: int, high: int) -> tuple[int, int]:
        """First and last output row that input rows low to high can change."""
        left, _ = self.padding
        if self.kind == "conv":
            return low + left - self.span, high + left
        return low * self.stride - left, high * self.stride - left + self.span


@dataclass(frozen=True)
class ReceptiveField:
    """How far one mel frame reaches: frame f changes samples `f * hop + first_sample` to `f * hop + last_sample`.

    Seen from the audio, the samples of frame t depend on the mel frames `t - left_frames` to `t + right_frames`.
    """

    first_sample: int
    """Negative: a frame changes this many samples before its own first one, which is the look-ahead."""
    last_sample: int
    """The last sample that a frame changes, counted from its own first one."""
    left_frames: int
    """Context before a frame."""
    right_frames: int
    """Look-ahead after a frame."""


@dataclass(frozen=True)
class Graph:
    """A generator's layers in order, built from its config by `build_graph`."""

    config: GeneratorConfig
    layers: tuple[Layer, ...]

    @property
    def num_mels(self) -> int:
        return self.config.num_mels

    @property
    def hop_length(self) -> int:
        """Samples per mel frame."""
        return self.config.hop_length

    def weight_shapes(self) -> dict[str, tuple[int, ...]]:
        """Name and shape of every parameter, weight norm folded."""
        shapes: dict[str, tuple[int, ...]] = {}
        for layer in self.layers:
            shapes[f"{layer.name}.weight"] = layer.weight_shape
            if layer.bias:
                shapes[f"{layer.name}.bias"] = (layer.out_channels,)
        return shapes

    def output_length(self, frames: int) -> int:
        """Samples N that T mel frames give: `T * hop_length` when every `kernel - rate` is even.

        Raises:
            MelError: frames is below 1 or absurd.
        """
        check_frames(frames)
        # Each layer's length is linear in its input's, with the stride as the factor.
        return (frames - 1) * self.hop_length + self._samples_of_one_frame

    @cached_property
    def _samples_of_one_frame(self) -> int:
        lengths = {MEL: 1}
        for layer in self.layers:
            lengths[layer.name] = layer.output_length(lengths[layer.inputs[0]])
        return lengths[self.layers[-1].name]

    @property
    def parameter_count(self) -> int:
        """Weights and biases, weight norm folded (V1: 13,926,017)."""
        return sum(int(np.prod(shape)) for shape in self.weight_shapes().values())

    @property
    def macs_per_frame(self) -> int:
        """Multiply-accumulates of direct convolution per mel frame, far from the ends (V1: 307,052,544)."""
        return sum(macs for _, macs in self.macs_of_layers())

    def macs_of_layers(self) -> Iterator[tuple[Layer, int]]:
        """Each layer with its multiply-accumulates per mel frame."""
        rows = {MEL: 1}
        for layer in self.layers:
            # A transposed convolution does its kernel once per input row, all others once per output row: as many.
            read = rows[layer.inputs[0]]
            yield layer, read * int(np.prod(layer.weight_shape))
            rows[layer.name] = read * layer.stride

    @cached_property
    def receptive_field(self) -> ReceptiveField:
        """The exact reach of one frame, by following an interval of rows through every layer."""
        reach = {MEL: (0, 0)}
        for layer in self.layers:
            low = min(reach[name][0] for name in layer.inputs)
            high = max(reach[name][1] for name in layer.inputs)
            low, high = layer.reach(low, high)
            if layer.residual is not None:
                low, high = min(low, reach[layer.residual][0]), max(high, reach[layer.residual][1])
            reach[layer.name] = low, high
        first, last = reach[self.layers[-1].name]
        hop = self.hop_length
        # Frame f reaches the samples t*hop ... t*hop + hop - 1 of frame t if f*hop + first <= t*hop + hop - 1
        # and f*hop + last >= t*hop.
        return ReceptiveField(first, last, left_frames=last // hop, right_frames=(hop - 1 - first) // hop)

    @cached_property
    def last_reads(self) -> Mapping[str, tuple[str, ...]]:
        """Names of the values that no later layer reads, by the name of the layer after which they can be freed."""
        last_reader: dict[str, str] = {}
        for layer in self.layers:
            last_reader.update(dict.fromkeys(layer.inputs, layer.name))
            if layer.residual is not None:
                last_reader[layer.residual] = layer.name
        freed: dict[str, list[str]] = {layer.name: [] for layer in self.layers}
        for name, reader in last_reader.items():
            freed[reader].append(name)
        return {name: tuple(values) for name, values in freed.items()}


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
        without_bias: names of layers that have no bias, for example "conv_post". The original gives every layer one;
            relatives of it leave some out.

    Raises:
        ConfigError: without_bias names a layer that is not there.
    """
    absent = frozenset(without_bias)
    layers = tuple(replace(layer, bias=layer.name not in absent) for layer in _layers(config))
    unknown = absent - {layer.name for layer in layers}
    if unknown:
        raise ConfigError(f"without_bias names {', '.join(sorted(unknown))}: the generator has no such layer")
    return Graph(config, layers)


def _layers(config: GeneratorConfig) -> Iterator[Layer]:
    channels = config.upsample_initial_channel
    yield _conv("conv_pre", config.num_mels, channels, 7, 1, None, (MEL,))
    values: tuple[str, ...] = ("conv_pre",)
    n_resblocks = len(config.resblock_kernel_sizes)
    for i, (rate, kernel) in enumerate(zip(config.upsample_rates, config.upsample_kernel_sizes, strict=True)):
        in_channels, channels = channels, config.upsample_initial_channel >> (i + 1)
        upsample = f"ups.{i}"
        yield Layer(
            upsample,
            "conv_transpose",
            in_channels,
            channels,
            kernel,
            stride=rate,
            dilation=1,
            padding=((kernel - rate) // 2, (kernel - rate) // 2),
            activation=INNER_ACTIVATION,
            bias=True,
            inputs=values,
            residual=None,
        )
        values = ()
        for j in range(n_resblocks):
            resblock = list(_resblock(f"resblocks.{i * n_resblocks + j}", upsample, channels, config, j))
            yield from resblock
            values = (*values, resblock[-1].name)
    yield _conv("conv_post", channels, 1, 7, 1, FINAL_ACTIVATION, values)


def _resblock(name: str, x: str, channels: int, config: GeneratorConfig, j: int) -> Iterator[Layer]:
    """The j-th residual block of a stage: per dilation one convolution (type 2) or two (type 1), and a sum."""
    kernel = config.resblock_kernel_sizes[j]
    for m, dilation in enumerate(config.resblock_dilation_sizes[j]):
        if config.resblock == "1":
            first, last = f"{name}.convs1.{m}", f"{name}.convs2.{m}"
            yield _conv(first, channels, channels, kernel, dilation, INNER_ACTIVATION, (x,))
            yield _conv(last, channels, channels, kernel, 1, INNER_ACTIVATION, (first,), residual=x)
        else:
            last = f"{name}.convs.{m}"
            yield _conv(last, channels, channels, kernel, dilation, INNER_ACTIVATION, (x,), residual=x)
        x = last


def _conv(
    name: str,
    in_channels: int,
    out_channels: int,
    kernel: int,
    dilation: int,
    activation: Activation,
    inputs: tuple[str, ...],
    residual: str | None = None,
) -> Layer:
    """A convolution that keeps the length."""
    padding = (kernel - 1) * dilation // 2
    return Layer(
        name,
        "conv",
        in_channels,
        out_channels,
        kernel,
        stride=1,
        dilation=dilation,
        padding=(padding, padding),
        activation=activation,
        bias=True,
        inputs=inputs,
        residual=residual,
    )


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
