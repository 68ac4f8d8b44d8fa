"""The HiFi-GAN generator as plain data: layers, shapes, lengths, cost and reach; no framework, no arithmetic.

Layers carry the names of the original's parameters (jik876/hifi-gan: models.py), so that errors match checkpoints.
The network is the list of its layers in order. One forward pass is

    values = {"mel": (mel - mean) / scale if the config has input_normalization, else mel}
    for layer in graph.layers:
        x = mean of values[name] over layer.inputs
        y = convolution(activation(x))
        y = y + 1x1 convolution of the conditioning vector, if layer.conditioning names one
        values[layer.name] = y + values[layer.residual] if the layer has a residual, else y
    audio = tanh(values of the last layer), or what config.output says
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
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


def check_mirrored(frames: int, least: int) -> None:
    """Check that a mel is as long as layers need that mirror it.

    Raises:
        MelError: it is shorter than `Graph.least_frames`.
    """
    if frames < least:
        raise MelError(
            f"mel has T={frames} frames: the layers of this generator mirror their input at its ends (padding_mode "
            f"'reflect'), which needs at least {least}"
        )


MEL = "mel"
"""Name of the value that the first layer reads."""


@dataclass(frozen=True)
class LeakyRelu:
    """The activation `x` where x is positive, `slope * x` elsewhere."""

    slope: float


Activation = LeakyRelu | None
"""An activation as a value; None is none."""

LayerKind = Literal["conv", "conv_transpose"]
PaddingMode = Literal["zeros", "reflect", "replicate"]

NORMALIZATION = ("mean", "scale")
"""Names of the weights `[M]` of the input's normalization."""
SPEAKER_TABLE = "emb_g.weight"
"""Name of the table `[S, G]` of conditioning vectors."""


@dataclass(frozen=True)
class Layer:
    """A convolution of stride 1, or a transposed one."""

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
    """Rows at the left and right end: added by a convolution, cut off by a transposed one."""
    activation: Activation
    """What the input passes first."""
    bias: bool
    """Whether the layer has one."""
    inputs: tuple[str, ...]
    """Names of the values it reads: their mean, if they are several."""
    residual: str | None
    """Name of the value that is added to its result."""
    padding_mode: PaddingMode = "zeros"
    """What is beyond the ends of the input: for a transposed convolution "replicate" means that the row before the
    first one is the first one again, whose part of the result counts as well."""
    conditioning: str | None = None
    """Name of a 1x1 convolution of the conditioning vector `[G]`, which is added to every row of its result."""

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
        # Rows that were cut off behind the end before this one came are new with it.
        first = min(low * self.stride - left, self.output_length(low))
        return first, high * self.stride - left + self.span


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
        """Bands or features that a frame of the input has."""
        return self.config.input_channels

    @property
    def hop_length(self) -> int:
        """Samples per mel frame."""
        return self.config.hop_length

    def weight_shapes(self) -> dict[str, tuple[int, ...]]:
        """Name and shape of every parameter, weight norm folded."""
        config = self.config
        shapes: dict[str, tuple[int, ...]] = {}
        if config.input_normalization:
            shapes |= dict.fromkeys(NORMALIZATION, (self.num_mels,))
        for layer in self.layers:
            shapes[f"{layer.name}.weight"] = layer.weight_shape
            if layer.bias:
                shapes[f"{layer.name}.bias"] = (layer.out_channels,)
            if layer.conditioning is not None:
                shapes[f"{layer.conditioning}.weight"] = (layer.out_channels, config.conditioning_channels, 1)
                if layer.conditioning not in config.layers_without_bias:
                    shapes[f"{layer.conditioning}.bias"] = (layer.out_channels,)
        if config.num_speakers:
            shapes[SPEAKER_TABLE] = (config.num_speakers, config.conditioning_channels)
        return shapes

    def output_length(self, frames: int) -> int:
        """Samples N that T mel frames give: `T * hop_length` when every stage keeps `rate` rows for each of its own.

        Raises:
            MelError: frames is below `least_frames` or absurd.
        """
        check_frames(frames)
        check_mirrored(frames, self.least_frames)
        # Each layer's length is linear in its input's, with the stride as the factor.
        return (frames - 1) * self.hop_length + self._samples_of_one_frame

    @cached_property
    def least_frames(self) -> int:
        """Frames that a mel must have: 1, or what reflection needs, more rows than it adds on one side."""
        least = 1
        for layer, rows, rate in self._rows():
            if layer.padding_mode == "reflect":
                least = max(least, 1 - (rows - max(layer.padding) - 1) // rate)
        return least

    @cached_property
    def _samples_of_one_frame(self) -> int:
        *_, (last, rows, _) = self._rows()
        return last.output_length(rows)

    def _rows(self) -> Iterator[tuple[Layer, int, int]]:
        """Each layer with the rows that it reads of the first frame, and of each further one."""
        lengths, rates = {MEL: 1}, {MEL: 1}
        for layer in self.layers:
            rows, rate = lengths[layer.inputs[0]], rates[layer.inputs[0]]
            yield layer, rows, rate
            lengths[layer.name], rates[layer.name] = layer.output_length(rows), rate * layer.stride

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
        for layer, _, rate in self._rows():
            # A transposed convolution does its kernel once per input row, all others once per output row: as many.
            yield layer, rate * int(np.prod(layer.weight_shape))

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

    `weights` maps the names of `Graph.weight_shapes` to C-contiguous float32 or float64 arrays of those shapes.
    """

    graph: Graph
    weights: Mapping[str, np.ndarray] = field(repr=False)

    def bias_of(self, layer: Layer) -> np.ndarray:
        """The layer's bias `[C_out]`; zeros if it has none."""
        weight = self.weights[f"{layer.name}.weight"]
        return self.weights.get(f"{layer.name}.bias", np.zeros(layer.out_channels, weight.dtype))

    def normalized(self, mel: np.ndarray) -> np.ndarray:
        """What the first layer takes of a mel `[..., M, T]`, in the mel's dtype: itself without normalization."""
        if not self.graph.config.input_normalization:
            return mel
        mean, scale = (self.weights[name].astype(mel.dtype)[:, None] for name in NORMALIZATION)
        normalized: np.ndarray = (mel - mean) / scale
        return normalized

    def conditioning_of(self, layer: Layer, conditioning: np.ndarray) -> np.ndarray:
        """What is added to every row of a conditioned layer's result, in the vector's dtype.

        Args:
            layer: one that has a conditioning.
            conditioning: `[..., G]`.

        Returns:
            `[..., C_out]`.
        """
        weight = self.weights[f"{layer.conditioning}.weight"][:, :, 0].astype(conditioning.dtype)
        added: np.ndarray = conditioning @ weight.T
        bias = self.weights.get(f"{layer.conditioning}.bias")
        return added if bias is None else added + bias.astype(conditioning.dtype)

    @property
    def speaker_table(self) -> np.ndarray | None:
        """Conditioning vectors of the speakers, float32 `[S, G]`; None if there is no table."""
        table = self.weights.get(SPEAKER_TABLE)
        return None if table is None else table.astype(np.float32)


def build_graph(config: GeneratorConfig) -> Graph:
    """Lay out the layers of a generator (jik876/hifi-gan: models.py, class Generator).

    Raises:
        ConfigError: `layers_without_bias` names a layer that is not there.
    """
    absent = frozenset(config.layers_without_bias)
    layers = tuple(_with_ends(replace(layer, bias=layer.name not in absent), config) for layer in _layers(config))
    names = {name for layer in layers for name in (layer.name, layer.conditioning)}
    if unknown := absent - names:
        raise ConfigError(f"layers_without_bias names {', '.join(sorted(unknown))}: the generator has no such layer")
    return Graph(config, layers)


def _with_ends(layer: Layer, config: GeneratorConfig) -> Layer:
    """A layer as the config wants its ends, and with its conditioning."""
    if layer.name in config.conditioned_layers:
        layer = replace(layer, conditioning="cond" if layer.name == "conv_pre" else layer.name.replace("ups", "conds"))
    if layer.kind == "conv":
        padding = (layer.span, 0) if config.causal else layer.padding
        return replace(layer, padding=padding, padding_mode=config.padding_mode)
    if config.causal:
        return replace(layer, padding=(0, layer.kernel_size - layer.stride), padding_mode="replicate")
    return layer


def _layers(config: GeneratorConfig) -> Iterator[Layer]:
    """The layers, centred and with zeros beyond their ends."""
    activation = LeakyRelu(config.leaky_relu_slope)
    x = MEL
    if config.pre_linear:
        yield _conv("lin_pre", config.pre_linear, config.num_mels, 1, 1, None, (x,))
        x = "lin_pre"
    channels = config.upsample_initial_channel
    yield _conv("conv_pre", config.num_mels, channels, config.conv_pre_kernel_size, 1, None, (x,))
    values: tuple[str, ...] = ("conv_pre",)
    n_resblocks = len(config.resblock_kernel_sizes)
    for i, (rate, kernel) in enumerate(zip(config.upsample_rates, config.upsample_kernel_sizes, strict=True)):
        in_channels, channels = channels, config.upsample_initial_channel >> (i + 1)
        upsample = f"ups.{i}"
        cut = (kernel - rate) // 2
        yield Layer(
            upsample,
            "conv_transpose",
            in_channels,
            channels,
            kernel,
            stride=rate,
            dilation=1,
            padding=(cut, cut) if config.upsample_paddings is None else config.upsample_paddings[i],
            activation=activation,
            bias=True,
            inputs=values,
            residual=None,
        )
        values = ()
        for j in range(n_resblocks):
            resblock = list(_resblock(f"resblocks.{i * n_resblocks + j}", upsample, channels, config, j))
            yield from resblock
            values = (*values, resblock[-1].name)
    yield _conv("conv_post", channels, 1, config.conv_post_kernel_size, 1, LeakyRelu(config.final_slope), values)


def _resblock(name: str, x: str, channels: int, config: GeneratorConfig, j: int) -> Iterator[Layer]:
    """The j-th residual block of a stage: per dilation one convolution (type 2) or two (type 1), and a sum."""
    kernel = config.resblock_kernel_sizes[j]
    activation = LeakyRelu(config.leaky_relu_slope)
    for m, dilation in enumerate(config.resblock_dilation_sizes[j]):
        if config.resblock == "1":
            first, last = f"{name}.convs1.{m}", f"{name}.convs2.{m}"
            yield _conv(first, channels, channels, kernel, dilation, activation, (x,))
            yield _conv(last, channels, channels, kernel, 1, activation, (first,), residual=x)
        else:
            last = f"{name}.convs.{m}"
            yield _conv(last, channels, channels, kernel, dilation, activation, (x,), residual=x)
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
        weights: folded parameters by name; float16 widens to float32 exactly, float32 and float64 stay. The matrix of a
            linear layer is taken as the 1x1 convolution that it is.
        hint: a last line for the error, for example where the config came from.

    Raises:
        WeightMismatch: lists every missing, unexpected and misshapen parameter.
        CheckpointError: a parameter is not a float array or holds NaN or infinity.
    """
    shapes = graph.weight_shapes()
    weights = {name: _as_convolution(array, shapes.get(name, ())) for name, array in weights.items()}
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


def _as_convolution(array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    return array[:, :, None] if array.ndim == 2 and shape[2:] == (1,) else array


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
