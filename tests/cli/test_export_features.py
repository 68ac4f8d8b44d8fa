"""Exports of networks beyond the original's, as a user types them, and back again."""

import pytest

from cli.running import hifigan
from golden.features import FEATURES, feature_generator
from hifigan_rt.formats.safetensors_writing import write_safetensors
from hifigan_rt.model.resolve import resolve_model


@pytest.mark.parametrize("name", ["normalized", "speakers"])
def test_what_is_exported_reads_back(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    generator = feature_generator(FEATURES[name])
    speakers = {"Ann": 0, "Bo": 2} if generator.graph.config.num_speakers else {}
    write_safetensors(generator, None, tmp_path / "first.safetensors", "a test", speakers)
    for kind, *options in (
        ("safetensors", "-o", "second.safetensors"),
        ("onnx", "-o", "model.onnx"),
        ("openvino", "-o", "model.xml", "--no-verify"),
    ):
        assert hifigan("export", kind, "first.safetensors", *options, "-q").stdout == ""
    for file in ("second.safetensors", "model.onnx", "model.xml"):
        model = resolve_model(file)
        assert (model.graph, model.speakers) == (generator.graph, speakers)
        if file != "model.xml":
            assert set(model.generator.weights) == set(generator.weights)
            for key, array in generator.weights.items():
                assert model.generator.weights[key].tobytes() == array.tobytes(), key
