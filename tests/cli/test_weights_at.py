"""Checkpoints with several generators on the command line: `--weights-at` names one, wherever a model is named."""

from __future__ import annotations

import json

import click
import numpy as np
import pytest

from checkpoint_files import Tensor, zip_file
from cli.running import clip, hifigan
from golden.tiny import TINY, tiny_weights
from hifigan_rt.formats.config_json import config_to_dict
from hifigan_rt.model.resolve import resolve_model
from hifigan_rt.tools.benchmark.benchmark_model import read_benchmark_model
from hifigan_rt.tools.benchmark.engine_worker import EngineCandidate, EngineJob
from hifigan_rt.tools.cli.serve import _of_models
from hifigan_rt.tools.evaluation.run import _resolve
from hifigan_rt.tools.evaluation.systems import model_system, parse_system


@pytest.fixture
def two(tmp_path, monkeypatch):
    """A file with a generator and its average."""
    monkeypatch.chdir(tmp_path)
    states = {
        key: {name: Tensor(array, f"{seed}{name}") for name, array in tiny_weights(seed=seed).items()}
        for seed, key in enumerate(("generator", "generator_ema"))
    }
    (tmp_path / "two.pth").write_bytes(zip_file(states))
    (tmp_path / "config.json").write_text(json.dumps(config_to_dict(TINY)))
    return "two.pth"


EMA = ("--weights-at", "generator_ema")
CONV_PRE = [tiny_weights(seed=seed)["conv_pre.weight"] for seed in (0, 1)]


def test_without_it_both_are_named_with_the_option(two):
    done = hifigan("info", two, status=1)
    assert "holds 2 generators" in done.stderr
    assert "its generators are at 'generator', 'generator_ema'; name one with --weights-at generator" in done.stderr


def test_info_export_and_mel(two):
    assert "note: the weights are taken from generator_ema" in hifigan("info", two, *EMA).stdout
    hifigan("export", "safetensors", two, *EMA, "-o", "ema.safetensors")
    np.testing.assert_array_equal(resolve_model("ema.safetensors").generator.weights["conv_pre.weight"], CONV_PRE[1])
    for form in ("onnx", "openvino"):
        assert "holds 2 generators" in hifigan("export", form, two, status=1).stderr
    hifigan("export", "onnx", two, *EMA, "-o", "ema.onnx")
    first = hifigan("export", "om", two, *EMA, "--soc", "Ascend310P3", "--dry-run").stdout.splitlines()[0]
    assert "--weights-at generator_ema" in first
    clip("a.wav")
    hifigan("mel", "a.wav", "--model", two, *EMA, "-o", "a.npy")


def test_synth_tells_the_two_apart_when_it_resumes(two):
    clip("in/a.wav")
    outputs = []
    for place in ("generator", "generator_ema"):
        done = hifigan("synth", "in", "--model", two, "--weights-at", place, "-o", "out", "--resume", "--json")
        assert json.loads(done.stdout)["skipped"] == 0
        with open("out/a.wav", "rb") as file:  # noqa: PTH123 - beside its name above
            outputs.append(file.read())
    assert outputs[0] != outputs[1]
    again = hifigan("synth", "in", "--model", two, *EMA, "-o", "out", "--resume", "--json")
    assert json.loads(again.stdout)["skipped"] == 1


def test_bench_and_its_workers_take_the_same(two):
    model = read_benchmark_model(two, None, weights_at="generator_ema", with_snr=False)
    np.save("mel.npy", np.zeros((1, 10, 4), np.float32))
    job = EngineJob("reference", two, None, "float32", 1, "mel.npy", weights_at=model.weights_at)
    mel = np.load("mel.npy")
    expected = resolve_model(two, weights_at="generator_ema")
    candidate = EngineCandidate(EngineJob(**json.loads(json.dumps(job.to_json()))))
    other = EngineCandidate(EngineJob("reference", two, None, "float32", 1, "mel.npy", weights_at="generator"))
    assert expected.notes == model.notes
    assert not np.array_equal(candidate.run(mel), other.run(mel))
    hifigan("export", "onnx", two, *EMA, "-o", "ema.onnx")
    converted = read_benchmark_model("ema.onnx", None, reference=two, weights_at="generator_ema")
    assert converted.weights_at is None
    assert converted.reference is not None


def test_eval_compares_the_two(two):
    first = model_system(two, weights_at="generator")
    second = parse_system("weights_at=generator_ema", first)
    assert (second.model, second.name, parse_system("reference", first).weights_at) == (
        two,
        "generator_ema",
        "generator",
    )
    assert parse_system("model=other.pth", first).weights_at is None
    models = _resolve([first, second])
    for system, expected in zip((first, second), CONV_PRE, strict=True):
        np.testing.assert_array_equal(models[system.name].generator.weights["conv_pre.weight"], expected)


def test_serve_takes_one_for_each_model():
    assert _of_models(("a.pth",), "--weights-at", ("x.ema",)) == {"a": "x.ema"}
    assert _of_models(("a=x.pth", "b=y.pth"), "--weights-at", ("b=ema", "a=generator")) == {
        "a": "generator",
        "b": "ema",
    }
    for models, places, text in (
        (("a=x", "b=y"), ("ema",), "could be any model's: give NAME=ema"),
        (("a=x", "b=y"), ("c=ema",), "no model is called 'c': a, b"),
        (("a=x",), ("a=ema", "a=g"), "given twice for 'a'"),
    ):
        with pytest.raises(click.UsageError, match=text):
            _of_models(models, "--weights-at", places)
