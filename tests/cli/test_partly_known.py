"""Commands on models of which something is not known: what each refuses, and what it does without."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from safetensors.numpy import save_file

from cli.running import clip, error_of, hifigan
from golden.tiny import TINY, tiny_mel
from hifigan_rt.config import PRESETS
from hifigan_rt.formats.config_json import config_to_dict
from hifigan_rt.graph import build_graph

MISSING = "missing: n_fft, win_size, fmin, fmax (hop_size follows from the architecture: 8)"


@pytest.fixture
def partial(place):
    """A model whose config states the network and the sample rate; a recording and a mel."""
    fields = config_to_dict(TINY)
    stated = {name: value for name, value in fields.items() if name not in ("n_fft", "win_size", "fmin", "fmax")}
    Path("model/config.json").write_text(json.dumps(stated))
    clip("in/a.wav")
    Path("mels").mkdir()
    np.save("mels/b.npy", tiny_mel(9))
    return place


def test_mels_are_synthesised_and_recordings_are_refused_with_what_is_missing(partial):
    hifigan("synth", "mels", "--model", "model", "-o", "out")
    samples, rate = soundfile.read("out/b.wav")
    assert (len(samples), rate) == (72, 8000)
    done = hifigan("synth", "in", "mels", "--model", "model", "-o", "out2", status=1)
    assert Path("out2/b.wav").exists()
    assert MISSING in done.stderr
    assert "note: mel settings that the config does not state: n_fft, win_size, fmin, fmax; mels are" in done.stderr
    for command in (["synth", "mels", "--mel-l1"], ["mel", "in"]):
        assert MISSING in error_of(hifigan(*command, "--model", "model", "-o", "out3", status=1))
    assert MISSING in error_of(hifigan("eval", "--model", "model", "--dataset", "in", "-o", "report", status=1))


def test_info_shows_what_is_known(partial):
    facts = json.loads(hifigan("info", "model", "--json").stdout)
    assert facts["mel"] == {"sample_rate": 8000, "hop_length": 8}
    assert facts["cost"]["gmacs_per_audio_second"] is not None
    assert "n_fft, win_size, fmin, fmax" in facts["notes"][0]


def test_what_is_known_survives_exports(partial):
    hifigan("export", "safetensors", "model", "-o", "g.safetensors")
    hifigan("export", "onnx", "model", "-o", "g.onnx", "--no-verify")
    for model in ("g.safetensors", "g.onnx"):
        assert json.loads(hifigan("info", model, "--json").stdout)["mel"] == {"sample_rate": 8000, "hop_length": 8}
    # What is missing may come from outside; the network stays the file's.
    mel = {name: value for name, value in config_to_dict(TINY).items() if name in ("n_fft", "win_size", "fmin", "fmax")}
    Path("mel.json").write_text(json.dumps(mel | {"sampling_rate": 8000}))
    for model in ("g.onnx", "model/generator.safetensors"):
        status = 0 if model == "g.onnx" else 1
        hifigan("synth", "in", "--model", model, "--config", "mel.json", "-o", f"out-{status}", status=status)


def test_without_a_sample_rate_no_file_is_written(place):
    fields = config_to_dict(TINY)
    del fields["sampling_rate"]
    Path("model/config.json").write_text(json.dumps(fields))
    np.save("b.npy", tiny_mel(9))
    error = error_of(hifigan("synth", "b.npy", "--model", "model", "-o", "out", status=1))
    assert "the sample rate must be known, and weights do not tell; missing: sampling_rate: state it in" in error
    assert not Path("out/b.wav").exists()


def test_a_mel_needs_no_network(place):
    clip("in/a.wav")
    mel = {name: value for name, value in config_to_dict(TINY).items() if not name.startswith(("up", "res"))}
    Path("mel.json").write_text(json.dumps({"audio": mel}))
    hifigan("mel", "in", "--config", "mel.json", "-o", "out")
    assert np.load("out/a.npy").shape == (10, 250)


@pytest.fixture
def assumed(place):
    """Weights with the shapes of preset v2, and no config."""
    shapes = build_graph(PRESETS["v2"].generator).weight_shapes()
    save_file({name: np.ones(shape, np.float32) for name, shape in shapes.items()}, "x.safetensors")
    return place


@pytest.mark.parametrize(
    "export",
    [
        ["onnx", "--no-verify", "-o", "x.onnx"],
        ["openvino", "--no-verify", "-o", "x.xml"],
        ["safetensors", "-o", "y.safetensors"],
        ["om", "--dry-run", "--soc", "Ascend310P3"],
    ],
)
def test_exports_want_a_config_where_rates_were_assumed(assumed, export):
    kind, *options = export
    error = error_of(hifigan("export", kind, "x.safetensors", *options, status=1))
    assert "no config was found; all that is known equals preset v2" in error
    assert error.endswith("An exported file outlives such a note: give the config with --config")
    assert sorted(path.name for path in Path().iterdir()) == ["model", "x.safetensors"]
    if kind in ("safetensors", "om"):
        hifigan("export", kind, "x.safetensors", *options, "--config", "v2")


def test_what_was_assumed_is_a_note_and_no_trace_of_python(assumed):
    np.save("b.npy", np.full((80, 3), -5, np.float32))
    done = hifigan("info", "x.safetensors", "--json", "-v")
    assert "all that is known equals preset v2" in json.loads(done.stdout)["notes"][0]
    assert "ModelAssumptionWarning" not in done.stderr
