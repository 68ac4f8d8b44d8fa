"""Layers with other padding to the left than to the right: what the graph says of them is what engines compute."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import tolerances
from golden.tiny import tiny_generator, tiny_mel
from hifigan_rt.audio.signal_metrics import snr_db
from hifigan_rt.engines import create_engine
from hifigan_rt.engines.base import EngineOptions
from hifigan_rt.engines.reference import generate
from hifigan_rt.graph import Generator
from hifigan_rt.model.kinds import Weights

PADDINGS = {"conv_pre": (6, 0), "ups.0": (3, 1), "resblocks.1.convs1.1": (1, 7), "conv_post": (0, 6)}
"""Each in sum what the layer has: the lengths stay."""


def uneven() -> Generator:
    generator = tiny_generator()
    layers = tuple(replace(layer, padding=PADDINGS.get(layer.name, layer.padding)) for layer in generator.graph.layers)
    for layer, before in zip(layers, generator.graph.layers, strict=True):
        assert sum(layer.padding) == sum(before.padding), layer
    return replace(generator, graph=replace(generator.graph, layers=layers))


def test_the_reach_is_where_nan_spreads():
    generator = uneven()
    field, hop = generator.graph.receptive_field, generator.graph.hop_length
    assert field != tiny_generator().graph.receptive_field
    frames = field.left_frames + field.right_frames + 3
    hit = field.right_frames + 1
    mel = np.zeros((10, frames))
    mel[:, hit] = np.nan
    spread = np.flatnonzero(np.isnan(generate(generator, mel)))
    assert (spread[0] - hit * hop, spread[-1] - hit * hop) == (field.first_sample, field.last_sample)


@pytest.mark.parametrize("name", ["native", "onnxruntime", "openvino", pytest.param("torch", marks=pytest.mark.torch)])
def test_engines_agree_with_the_reference(name):
    generator, mel = uneven(), tiny_mel(30)
    engine = create_engine(name, Weights("uneven", Path("uneven"), "test", generator), EngineOptions())
    assert snr_db(generate(generator, mel), engine.run(mel[None])[0]) >= tolerances.FLOAT32_ENGINE_SNR_DB
