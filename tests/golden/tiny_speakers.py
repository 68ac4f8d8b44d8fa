"""The tiny generator with a table of speakers, and a tiny decoder of latents."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from golden.seeded import seeded_weights
from golden.tiny import TINY
from hifigan_rt.config import ModelConfig, PartialMelConfig
from hifigan_rt.formats.config_json import config_to_dict
from hifigan_rt.graph import SPEAKER_TABLE, build_graph

ENGINE = "native"

SPEAKERS = {"anna": 0, "bob": 2, "225": 3}
"""Number 1 has no name, and one name looks like a number."""

SPEAKING = replace(
    TINY,
    generator=replace(
        TINY.generator, conditioning_channels=6, conditioned_layers=("conv_pre", "ups.0"), num_speakers=4
    ),
    speakers=SPEAKERS,
)
"""`TINY` with four speakers."""

VECTORS_ALONE = replace(SPEAKING, generator=replace(SPEAKING.generator, num_speakers=0), speakers={})
"""Takes vectors, and has no table."""

LATENT = ModelConfig(
    replace(
        SPEAKING.generator, input_kind="latent", layers_without_bias=("conv_post",), conditioned_layers=("conv_pre",)
    ),
    PartialMelConfig({"sampling_rate": 8000}),
    speakers=SPEAKERS,
)
"""The decoder of a voice."""


def speaking_weights(config: ModelConfig = SPEAKING, seed: int = 0) -> dict[str, np.ndarray]:
    """Float32 parameters from the seed."""
    shapes = build_graph(config.generator).weight_shapes()
    table = shapes.pop(SPEAKER_TABLE, None)
    weights = {name: array.astype(np.float32) for name, array in seeded_weights(shapes, seed).items()}
    if table is not None:
        weights[SPEAKER_TABLE] = np.random.default_rng(seed).standard_normal(table).astype(np.float32)
    return weights


def write_speaking(folder: Path, config: ModelConfig = SPEAKING, name: str = "voice.safetensors") -> Path:
    """A checkpoint, with its config.json beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    save_file(speaking_weights(config), folder / name)
    (folder / "config.json").write_text(json.dumps(config_to_dict(config)))
    return folder / name
