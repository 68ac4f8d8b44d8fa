"""Commands on an NVIDIA card, with the imitated one."""

import json

import numpy as np
import pytest

from cli.running import clip, hifigan
from hifigan_rt.audio import read_audio
from hifigan_rt.tools.cli import info_card_plan
from hifigan_rt.vocoder import load


@pytest.mark.parametrize("precision", ["float32", "float16"])
def test_a_plan_needs_no_card(place, precision):
    facts = json.loads(
        hifigan("info", "model", "--plan", "--engine", "cuda", "--precision", precision, "--json").stdout
    )
    graph = load("model", engine="reference").graph
    assert sorted(name for row in facts["plan"] for name in row["layers"]) == sorted(one.name for one in graph.layers)
    assert sum(row["macs_per_frame"] for row in facts["plan"]) == graph.macs_per_frame
    text = hifigan("info", "model", "--plan", "--engine", "cuda", "--precision", precision).stdout
    assert f"plan of engine cuda in {precision}: {len(facts['plan'])} launches" in text
    assert text.count("convolution_") + text.count("unit_") == len(facts["plan"]) - 1


def test_what_a_plan_on_a_card_cannot_be(place, monkeypatch):
    monkeypatch.setenv("HIFIGAN_RT_CUDA_DRIVER", "/nowhere/libcuda.so.1")
    refused = hifigan("info", "model", "--measure", "--engine", "cuda", status=1)
    assert "engine 'cuda' needs" in refused.stderr
    refused = hifigan("info", "model", "--plan", "--engine", "cuda", "--precision", "bfloat16", status=1)
    assert "precision='bfloat16' is not offered by engine 'cuda'" in refused.stderr


def test_a_plan_measured_on_a_card(place, imitated_card, monkeypatch):
    monkeypatch.setattr(info_card_plan, "_MEASURED", ((2, 6), (1, 6)))
    facts = json.loads(hifigan("info", "model", "--measure", "--engine", "cuda", "--json").stdout)
    # The imitated card's clock counts launches.
    assert [row["us_2_x_6"] for row in facts["plan"]] == [1000] * len(facts["plan"])
    assert facts["us_1_x_6"] == 1000 * (len(facts["plan"]) + 1)
    assert facts["engine"]["device"] == "cuda:0 (imitated card)"
    text = hifigan("info", "model", "--measure", "--engine", "cuda").stdout
    assert "us with copies, 2 x 6 frames: " in text
    assert "measured on cuda:0 (imitated card), CUDA 12.9: of an engine tested on an imitated card only" in text


def test_a_cards_name_chooses_its_engine(place, imitated_card):
    clip("in.wav", 0.2, seed=1)
    done = hifigan("synth", "in.wav", "--model", "model", "--device", "cuda:0", "-o", "out")
    assert "cuda 12.9" in done.stderr
    hifigan("synth", "in.wav", "--model", "model", "--engine", "reference", "-o", "expected")
    audio, expected = (read_audio(place / folder / "in.wav").samples for folder in ("out", "expected"))
    assert np.abs(audio - expected).max() <= 2 / 32768  # steps of 16 bits
