"""Generators for the tests of the native engine: small, random, of every shape that a config can have."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from golden.seeded import seeded_mel, seeded_weights
from hifigan_rt import _native
from hifigan_rt.config import GeneratorConfig
from hifigan_rt.engines.native import load_generator
from hifigan_rt.engines.reference import generate
from hifigan_rt.graph import Generator, bind, build_graph
from hifigan_rt.model.kinds import Weights

ALGORITHMS = ("direct", "fft8", "fft16", "fft32", "fft64")
ISAS = tuple(_native.supported_isas())

V1_LIKE = GeneratorConfig(64, (8, 8, 2, 2), (16, 16, 4, 4), "1", (3, 7, 11), ((1, 3, 5),) * 3, num_mels=80)
"""V1's layers with an eighth of its channels."""
V3_LIKE = GeneratorConfig(64, (8, 8, 4), (16, 16, 8), "2", (3, 5, 7), ((1, 2), (2, 6), (3, 12)), num_mels=80)
"""V3's layers with a quarter of its channels."""


@dataclass(frozen=True)
class Case:
    generator: Generator
    mel: np.ndarray
    """float32 `[M, T]`."""
    conditioning: np.ndarray | None = None
    """float32 `[1, G]`, if the generator takes it."""

    def truth(self) -> np.ndarray:
        return generate(self.generator, self.mel, None if self.conditioning is None else self.conditioning[0])

    def load(self, isa: str = ISAS[-1], segment_frames: int = 16, threads: int = 1, **plan: str) -> _native.Generator:
        """With `plan`: algorithms by name, `every` for all layers."""
        forced = {"*" if name == "every" else name: algorithm for name, algorithm in plan.items()}
        loaded = load_generator(self.generator, isa, segment_frames, threads, forced)
        assert loaded.isa == isa
        return loaded


def make_case(config: GeneratorConfig, frames: int, seed: int = 0) -> Case:
    graph = build_graph(config)
    weights = {name: array.astype(np.float32) for name, array in seeded_weights(graph.weight_shapes(), seed).items()}
    vector = np.random.default_rng(seed).standard_normal((1, config.conditioning_channels)).astype(np.float32)
    mel = seeded_mel(1, graph.num_mels, frames, seed)[0].astype(np.float32)
    return Case(bind(graph, weights), mel, vector if config.conditioning_channels else None)


def random_case(seed: int) -> Case:
    """Any channels from 1 up, kernels, dilations, rates and lengths; both kinds of residual block."""
    rng = np.random.default_rng(seed)
    stages = int(rng.integers(1, 4))
    rates = tuple(int(rng.integers(1, 6)) for _ in range(stages))
    kernels = tuple(rate + int(rng.integers(0, 2 * rate + 3)) for rate in rates)
    last_channels = int(rng.integers(1, 9)) if rng.random() < 0.5 else int(rng.integers(9, 40 >> (stages - 1)))
    kind = "1" if rng.random() < 0.5 else "2"
    resblocks, units = int(rng.integers(1, 4)), int(rng.integers(1, 4))
    sizes = [int(rng.choice([1, 3, 5, 7, 9, 11])) for _ in range(resblocks)]
    dilations = [tuple(int(rng.integers(1, 7)) for _ in range(units)) for _ in range(resblocks)]
    if kind == "2" and rng.random() < 0.3:
        # An even kernel keeps the length only with even dilations.
        sizes[0], dilations[0] = 4, tuple(2 * dilation for dilation in dilations[0])
    config = GeneratorConfig(
        last_channels << stages, rates, kernels, kind, tuple(sizes), tuple(dilations), num_mels=int(rng.integers(1, 20))
    )
    return make_case(config, int(rng.integers(1, 41)), seed)


def lopsided(case: Case, seed: int) -> Case:
    """The same network with all padding of the convolutions moved to the left or the right, at random."""
    rng = np.random.default_rng(seed)
    layers = []
    for layer in case.generator.graph.layers:
        left = int(rng.integers(0, layer.span + 1))
        padding = (left, layer.span - left) if layer.kind == "conv" else layer.padding
        layers.append(replace(layer, padding=padding))
    graph = replace(case.generator.graph, layers=tuple(layers))
    return replace(case, generator=replace(case.generator, graph=graph))


def feed(stream: Any, mel: np.ndarray, pushes: list[int]) -> np.ndarray:
    """Push a mel in these sizes, over and over, finish, and join what comes out."""
    parts, start, turn = [], 0, 0
    while start < mel.shape[1]:
        size = pushes[turn % len(pushes)]
        parts.append(stream.push(np.ascontiguousarray(mel[:, start : start + size])))
        start, turn = start + size, turn + 1
    return np.concatenate([*parts, stream.finish()])


def stream_all(
    generator: _native.Generator,
    mel: np.ndarray,
    segment_frames: int,
    pushes: list[int],
    conditioning: np.ndarray | None = None,
) -> np.ndarray:
    return feed(generator.stream(segment_frames, conditioning), mel, pushes)


V1_MODEL = Weights("V1's layers, small", Path("none"), "none", make_case(V1_LIKE, 1).generator)
