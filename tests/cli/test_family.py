"""Weights of an odd rate under the original's names: `--family` names the project whose reading is wanted."""

from __future__ import annotations

import json

import numpy as np
import pytest
from safetensors.numpy import save_file

from cli.running import hifigan
from golden.tiny import tiny_weights
from hifigan_rt.config import GeneratorConfig, ModelConfig
from hifigan_rt.formats.config_json import config_to_dict
from hifigan_rt.tools.benchmark.benchmark_model import read_benchmark_model
from hifigan_rt.tools.benchmark.engine_worker import EngineCandidate, EngineJob
from hifigan_rt.tools.evaluation.run import _resolve
from hifigan_rt.tools.evaluation.systems import model_system, parse_system

ODD = ModelConfig(GeneratorConfig(8, (5, 2), (10, 4), "2", (3,), ((1,),), num_mels=10))
FAMILY = ("--family", "parallel-wavegan")


@pytest.fixture
def odd(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save_file(tiny_weights(ODD), "odd.safetensors")
    (tmp_path / "config.json").write_text(json.dumps(config_to_dict(ODD) | {"sampling_rate": 8000}))
    (tmp_path / "mels").mkdir()
    np.save("mels/a.npy", np.random.default_rng(0).uniform(-11.5, -2, (10, 7)).astype(np.float32))
    return "odd.safetensors"


def test_info_and_exports_take_it(odd):
    usual = hifigan("info", odd, "--json")
    assert "--family parallel-wavegan" in json.loads(usual.stdout)["notes"][-2]
    told = json.loads(hifigan("info", odd, *FAMILY, "--json").stdout)
    assert told["architecture"]["upsample_paddings"] == [[3, 2], [1, 1]]
    assert not any("--family" in note for note in told["notes"])
    hifigan("export", "safetensors", odd, *FAMILY, "-o", "own.safetensors")
    assert json.loads(hifigan("info", "own.safetensors", "--json").stdout)["architecture"] == told["architecture"]
    assert "'x' is not known: " in hifigan("info", odd, "--family", "x", status=1).stderr


def test_synth_tells_the_readings_apart_when_it_resumes(odd):
    lengths = []
    for options in ((), FAMILY):
        done = json.loads(
            hifigan("synth", "mels", "--model", odd, *options, "-o", "out", "--resume", "--json", "-q").stdout
        )
        assert done["skipped"] == 0
        lengths.append(round(done["audio_seconds"] * 8000))
    assert lengths == [72, 70]
    again = hifigan("synth", "mels", "--model", odd, *FAMILY, "-o", "out", "--resume", "--json")
    assert json.loads(again.stdout)["skipped"] == 1


def test_bench_and_eval_take_it(odd):
    model = read_benchmark_model(odd, None, family="parallel-wavegan", with_snr=False)
    job = EngineJob("reference", odd, None, "float32", 1, "mel.npy", family=model.family)
    candidate = EngineCandidate(EngineJob(**json.loads(json.dumps(job.to_json()))))
    assert candidate.run(np.load("mels/a.npy")[None]).shape == (1, 70)
    first = model_system(odd, family="hifi-gan")
    second = parse_system("family=parallel-wavegan", first)
    assert (second.model, parse_system("reference", first).family) == (odd, "hifi-gan")
    models = _resolve([first, second])
    assert [models[system.name].graph.output_length(7) for system in (first, second)] == [72, 70]
