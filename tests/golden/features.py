"""Tiny generators that differ from the original's in what a config can say, each in several ways at once."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from golden.seeded import seeded_weights
from hifigan_rt.config import GeneratorConfig
from hifigan_rt.graph import Generator, bind, build_graph

_BASE = GeneratorConfig(8, (3, 2), (7, 4), "1", (3, 5), ((1, 3), (2,)), num_mels=5)
_SPEAKERS = replace(_BASE, conditioning_channels=4, conditioned_layers=("conv_pre", "ups.1"))

FEATURES = {
    "rows kept": replace(
        _BASE, upsample_kernel_sizes=(8, 5), upsample_paddings=((3, 2), (1, 2)), leaky_relu_slope=0.3, final_slope=0.0,
        conv_pre_kernel_size=5, conv_post_kernel_size=3, layers_without_bias=("conv_post", "ups.0"),
    ),
    "reflect": replace(_BASE, padding_mode="reflect", output="clamp"),
    "replicate": replace(_BASE, padding_mode="replicate", resblock="2", leaky_relu_slope=0.0),
    "causal": replace(
        _BASE, causal=True, upsample_kernel_sizes=(6, 5), conv_pre_kernel_size=6, resblock_kernel_sizes=(2, 3)
    ),
    "normalized": replace(_BASE, input_normalization=True, pre_linear=7, output="none"),
    "conditioned": replace(_SPEAKERS, layers_without_bias=("conds.1", "conv_pre"), padding_mode="reflect"),
    "speakers": replace(
        _SPEAKERS, conditioned_layers=("ups.0",), num_speakers=3, input_kind="latent", input_normalization=True
    ),
}  # fmt: skip


def feature_generator(config: GeneratorConfig, seed: int = 11) -> Generator:
    """Float32 weights from the seed; a scale is from 0.5, since it divides."""
    graph = build_graph(config)
    layers = {name: shape for name, shape in graph.weight_shapes().items() if len(shape) == 3 or name.endswith(".bias")}
    weights = seeded_weights(layers, seed)
    rng = np.random.default_rng(seed)
    if config.num_speakers:
        weights["emb_g.weight"] = rng.standard_normal((config.num_speakers, config.conditioning_channels))
    if config.input_normalization:
        weights["mean"] = rng.uniform(-6, -4, graph.num_mels)
        weights["scale"] = rng.uniform(0.5, 3, graph.num_mels)
    return bind(graph, {name: array.astype(np.float32) for name, array in weights.items()})


def feature_conditioning(generator: Generator, batch: int) -> np.ndarray | None:
    """Vectors `[B, G]`, or rows `[B]` of the table of speakers, one for each item; None where nothing is taken."""
    config = generator.graph.config
    if config.num_speakers:
        return np.arange(batch) % config.num_speakers
    if config.conditioning_channels == 0:
        return None
    return np.random.default_rng(batch).standard_normal((batch, config.conditioning_channels)).astype(np.float32)
