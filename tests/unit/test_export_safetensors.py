"""What is written reads back: bit-equal weights, an equal config, and the safetensors package agrees."""

from __future__ import annotations

import numpy as np
import pytest
from safetensors import safe_open

from hifigan_rt.config import GeneratorConfig, MelConfig, ModelConfig
from hifigan_rt.errors import ConfigError, ExportError, OutputError
from hifigan_rt.families import read_checkpoint
from hifigan_rt.formats.config_json import parse_config
from hifigan_rt.formats.safetensors_writing import write_safetensors
from hifigan_rt.graph import Generator, bind, build_graph

CONFIG = GeneratorConfig(8, (4, 2), (8, 4), "2", (3,), ((1, 2),), num_mels=5)
MEL = MelConfig(16000, 32, 32, 8, 5, 20.0, 7600.0, log="log10", mean=(0.5,), floor=1e-10)


def make_generator(dtype=np.float32) -> Generator:
    graph = build_graph(CONFIG)
    rng = np.random.default_rng(5)
    return bind(
        graph, {name: rng.standard_normal(shape).astype(dtype) for name, shape in graph.weight_shapes().items()}
    )


@pytest.mark.parametrize("mel", [MEL, None])
def test_round_trip(tmp_path, mel):
    generator, path = make_generator(), tmp_path / "model.safetensors"
    write_safetensors(generator, mel, path, "generator_v1")
    checkpoint = read_checkpoint(path)
    assert checkpoint.format == "safetensors"
    assert checkpoint.notes == ()
    assert parse_config(checkpoint.config) == ModelConfig(CONFIG, mel)
    assert checkpoint.weights.keys() == generator.weights.keys()
    for name, array in generator.weights.items():
        assert checkpoint.weights[name].dtype == np.float32
        assert checkpoint.weights[name].tobytes() == array.tobytes()
    bind(generator.graph, checkpoint.weights)


def test_weights_beyond_float32_are_refused(tmp_path):
    generator = make_generator(np.float64)
    generator.weights["conv_pre.bias"][0] = 1e39
    with pytest.raises(ExportError, match=r"conv_pre\.bias holds values beyond float32"):
        write_safetensors(generator, MEL, tmp_path / "model.safetensors", "a source")
    assert not list(tmp_path.iterdir())


def test_the_package_reads_it(tmp_path):
    generator, path = make_generator(np.float64), tmp_path / "model.safetensors"
    write_safetensors(generator, MEL, path, "a source")
    with safe_open(path, "numpy") as file:
        assert file.metadata()["format"] == "pt"
        assert file.metadata()["source"] == "a source"
        for name, array in generator.weights.items():
            np.testing.assert_array_equal(file.get_tensor(name), array.astype(np.float32))


def test_failures_leave_what_was_there(tmp_path):
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"before")
    with pytest.raises(ConfigError, match="hop_size=9 does not match upsample_rates"):
        write_safetensors(make_generator(), MelConfig(16000, 32, 32, 9, 5), path, "")
    assert path.read_bytes() == b"before"
    with pytest.raises(OutputError, match=r"could not be written: folder .*absent' is not there, make it first"):
        write_safetensors(make_generator(), MEL, tmp_path / "absent" / "model.safetensors", "")
    assert list(tmp_path.iterdir()) == [path]
