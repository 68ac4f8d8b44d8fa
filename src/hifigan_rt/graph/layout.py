"""Lays the layers of a generator out, from its config."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from hifigan_rt.config import GeneratorConfig
from hifigan_rt.errors import ConfigError
from hifigan_rt.graph.flow import flow_layers, halves_behind
from hifigan_rt.graph.graph import Graph
from hifigan_rt.graph.layer import MEL, Layer, LeakyRelu, same_length


def build_graph(config: GeneratorConfig) -> Graph:
    """Lay out the layers of a generator (jik876/hifi-gan: models.py, class Generator), behind its flow if it has one.

    Raises:
        ConfigError: `layers_without_bias` names a layer that is not there.
    """
    absent = frozenset(config.layers_without_bias)
    flow = () if config.flow is None else tuple(flow_layers(config.flow, config.num_mels))
    decoder = (_with_ends(replace(layer, bias=layer.name not in absent), config) for layer in _layers(config))
    layers = (*flow, *decoder)
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
    values: tuple[str, ...] = (MEL,)
    if config.pre_linear:
        yield same_length("lin_pre", config.pre_linear, config.num_mels, values)
        values = ("lin_pre",)
    if config.flow is not None:
        values = halves_behind(config.flow)
    channels = config.upsample_initial_channel
    first = same_length("conv_pre", config.num_mels, channels, values, config.conv_pre_kernel_size)
    yield replace(first, is_joining=config.flow is not None)
    values = ("conv_pre",)
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
    yield same_length(
        "conv_post", channels, 1, values, config.conv_post_kernel_size, activation=LeakyRelu(config.final_slope)
    )


def _resblock(name: str, x: str, channels: int, config: GeneratorConfig, j: int) -> Iterator[Layer]:
    """The j-th residual block of a stage: per dilation one convolution (type 2) or two (type 1), and a sum."""
    kernel = config.resblock_kernel_sizes[j]
    activation = LeakyRelu(config.leaky_relu_slope)
    for m, dilation in enumerate(config.resblock_dilation_sizes[j]):
        if config.resblock == "1":
            first, last = f"{name}.convs1.{m}", f"{name}.convs2.{m}"
            yield same_length(first, channels, channels, (x,), kernel, dilation, activation)
            yield same_length(last, channels, channels, (first,), kernel, 1, activation, residual=x)
        else:
            last = f"{name}.convs.{m}"
            yield same_length(last, channels, channels, (x,), kernel, dilation, activation, residual=x)
        x = last
