"""The reference engine against golden float64 outputs of the original network."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import tolerances
from golden.seeded import seeded_mel, seeded_weights
from hifigan_rt.engines.reference import generate
from hifigan_rt.formats.config_json import parse_config
from hifigan_rt.graph import bind, build_graph

GOLDEN = np.load(Path(__file__).parents[1] / "golden/generator.npz")
CASES = json.loads(str(GOLDEN["cases"]))


@pytest.mark.parametrize("name", CASES)
def test_equals_the_original_network(name):
    case = CASES[name]
    graph = build_graph(parse_config(case["config"]).generator)
    generator = bind(graph, seeded_weights(graph.weight_shapes(), case["seed"]))
    worst = 0.0
    for items, frames in case["batches"]:
        expected = GOLDEN[f"{name}/{items}x{frames}"]
        assert 0.02 < np.sqrt(np.mean(expected**2)) < 0.7  # neither silent nor saturated: errors show
        mels = seeded_mel(items, 80, frames, seed=1000 * case["seed"] + frames)
        for mel, audio in zip(mels, expected, strict=True):
            result = generate(generator, mel)
            assert result.shape == audio.shape == (graph.output_length(frames),)
            worst = max(worst, np.abs(result - audio).max())
    assert worst <= tolerances.REFERENCE_MAX_ABS


@pytest.mark.parametrize("name", CASES)
def test_reach_is_exactly_where_nan_spreads(name):
    """NaN goes wherever a frame is read, so it marks the receptive field of the network itself."""
    case = CASES[name]
    graph = build_graph(parse_config(case["config"]).generator)
    # Channels make no difference to the reach; one channel per stage makes it quick.
    small = build_graph(
        replace(graph.config, upsample_initial_channel=2 ** len(graph.config.upsample_rates), num_mels=1)
    )
    generator = bind(small, seeded_weights(small.weight_shapes(), 1))
    field = small.receptive_field
    assert field == graph.receptive_field
    frames = field.left_frames + field.right_frames + 3
    hit = field.right_frames + 1
    mel = np.zeros((1, frames))
    mel[0, hit] = np.nan
    spread = np.flatnonzero(np.isnan(generate(generator, mel)))
    start = hit * graph.hop_length
    assert (spread[0] - start, spread[-1] - start) == (field.first_sample, field.last_sample)
