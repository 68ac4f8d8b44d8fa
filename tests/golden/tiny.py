"""A generator small enough for any test, as a graph with weights and as files."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors.numpy import save_file

from golden.seeded import seeded_weights
from hifigan_rt.config import GeneratorConfig, MelConfig, ModelConfig
from hifigan_rt.formats.config_json import config_to_dict
from hifigan_rt.formats.onnx_graph import build_onnx
from hifigan_rt.graph import Generator, LeakyRelu, bind, build_graph

if TYPE_CHECKING:
    import onnx

TINY = ModelConfig(
    GeneratorConfig(8, (4, 2), (8, 4), "1", (3, 5), ((1, 3), (1, 2)), num_mels=10),
    MelConfig(8000, 64, 64, 8, 10, 0.0, 4000.0),
)
"""Hop 8, 10 mel bands, 8 kHz."""


def tiny_weights(config: ModelConfig = TINY, seed: int = 0) -> dict[str, np.ndarray]:
    """Float32 parameters from the seed."""
    weights = seeded_weights(build_graph(config.generator).weight_shapes(), seed)
    return {name: array.astype(np.float32) for name, array in weights.items()}


def tiny_generator(config: ModelConfig = TINY, seed: int = 0) -> Generator:
    return bind(build_graph(config.generator), tiny_weights(config, seed))


def build_another_network(generator: Generator, *arguments: Any, **options: Any) -> onnx.ModelProto:
    """`build_onnx` gone wrong: the slope in front of conv_post is not the generator's."""
    *layers, last = generator.graph.layers
    graph = replace(generator.graph, layers=(*layers, replace(last, activation=LeakyRelu(0.1))))
    return build_onnx(replace(generator, graph=graph), *arguments, **options)


def write_tiny(folder: Path, name: str = "generator.safetensors", seed: int = 0, *, config: bool = True) -> Path:
    """A checkpoint file, with its config.json beside it unless that is not wanted."""
    folder.mkdir(parents=True, exist_ok=True)
    save_file(tiny_weights(seed=seed), folder / name)
    if config:
        (folder / "config.json").write_text(json.dumps(config_to_dict(TINY)))
    return folder / name


def tiny_mel(frames: int, seed: int = 0) -> np.ndarray:
    """A float32 log-mel `[10, T]` in the range that `TINY`'s own front-end gives."""
    return np.random.default_rng(seed).uniform(-11.5, -2.0, (10, frames)).astype(np.float32)
