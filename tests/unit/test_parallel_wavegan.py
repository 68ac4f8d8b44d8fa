"""ParallelWaveGAN, ESPnet and PaddleSpeech: what of their files is read, and what is refused with its name."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import numpy as np
import pytest
import yaml
from safetensors.numpy import save_file

from golden.family_files import unpack
from golden.seeded import seeded_weights
from hifigan_rt import load
from hifigan_rt.config import GeneratorConfig
from hifigan_rt.errors import CheckpointError, ConditioningError, ConfigError, ModelAssumptionWarning, ModelFileError
from hifigan_rt.families import read_checkpoint
from hifigan_rt.formats.config_json import config_to_dict
from hifigan_rt.graph import build_graph
from hifigan_rt.model.resolve import resolve_model


def change(path: Path, **changes: object) -> None:
    """Change fields of a YAML file, `a__b` within others; None takes one out."""
    values = yaml.safe_load(path.read_text())
    for way, value in changes.items():
        *outer, name = way.split("__")
        inner = values
        for key in outer:
            inner = inner[key]
        if value is None:
            del inner[name]
        else:
            inner[name] = value
    path.write_text(yaml.safe_dump(values))


@pytest.fixture
def pwg(tmp_path):
    return unpack(tmp_path, "parallel_wavegan", "even")


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"generator_type": "UHiFiGANGenerator"}, "generator_type='UHiFiGANGenerator' is another network"),
        ({"generator_type": "StyleMelGANGenerator"}, "generator_type='StyleMelGANGenerator' is another network"),
        ({"generator_params__out_channels": 4}, r"out_channels=4: .*several bands, which a filter bank \(PQMF\) joins"),
        ({"generator_params__nonlinear_activation": "ELU"}, "nonlinear_activation='ELU': LeakyReLU and ReLU"),
        (
            {"generator_params__nonlinear_activation_params": {"negative_slope": 0.1, "inplace": True}},
            "has inplace: true: residual",
        ),
        (
            {
                "generator_params__nonlinear_activation": "ReLU",
                "generator_params__nonlinear_activation_params": {"inplace": True},
            },
            "has inplace: true: residual",
        ),
        (
            {"generator_params__nonlinear_activation_params": {"negative_slope": None}},
            "negative_slope=NoneType None must be a finite",
        ),
        ({"generator_params__nonlinear_activation_params": {"slope": 0.2}}, "has 'slope', which LeakyReLU has not"),
        (
            {"generator_params__nonlinear_activation_params": [0.2]},
            "nonlinear_activation_params=list .* a mapping is needed",
        ),
        ({"generator_params__use_causal_conv": True}, "use_causal_conv=True, and the weights are not named as"),
        ({"generator_params__upsample_scales": [2, 4]}, "must be twice upsample_scales, .* 8 for 2, 4 for 4"),
        ({"generator_params__channels": 8}, "upsample_initial_channel: the config says 8, the weights have 4"),
        ({"generator_params__use_additional_convs": False}, "resblock: the config says '2', the weights have '1'"),
        ({"generator_params__resblock_dilations": [[1, 3, 5]]}, r"resblock_dilation_sizes|dilations"),
        ({"generator_params": None}, "generator_params is NoneType: a mapping is needed"),
        ({"hop_size": 7}, "hop_size=7 does not match upsample_rates"),
    ],
)
def test_a_config_that_does_not_fit_names_why(pwg, changes, text):
    change(pwg.parent / "config.yml", **changes)
    with pytest.raises((ConfigError, CheckpointError), match=text) as caught:
        resolve_model(pwg)
    assert "config.yml" in str(caught.value)


def test_the_mel_convention_follows_the_config(pwg):
    for changes, expected in (
        ({}, ("log10", 1e-10, "center", 48)),
        ({"log_base": 2.0}, ("log2", 1e-10, "center", 48)),
        ({"win_length": None, "eps": 1e-5}, ("log2", 1e-5, "center", 64)),
    ):
        change(pwg.parent / "config.yml", **changes)
        mel = resolve_model(pwg).mel
        assert (mel.log, mel.floor, mel.padding, mel.win_length) == expected
        assert len(mel.mean) == len(mel.scale) == 10
    config = pwg.parent / "config.yml"
    config.write_text(config.read_text().replace("log_base: 2.0\n", "log_base:\n"))
    assert resolve_model(pwg).mel.log == "ln"
    change(pwg.parent / "config.yml", window="blackman")
    assert "the window 'blackman'" in str(resolve_model(pwg).missing_mel_fields)


def test_without_statistics_mels_are_computed_and_recordings_are_not(pwg):
    (pwg.parent / "stats.h5").unlink()
    vocoder = load(pwg, engine="reference")
    assert vocoder(np.zeros((10, 5), np.float32)).shape == (40,)
    assert any("mean, scale" in note for note in vocoder.model.notes)
    with pytest.raises(ConfigError, match="mean and scale of its training data stand in no file"):
        vocoder.mel(np.zeros(500, np.float32))
    vocoder.close()


@pytest.mark.parametrize("array", [np.ones((2, 9)), np.ones((3, 10)), np.zeros((2, 10))])
def test_statistics_that_do_not_fit_are_refused(pwg, array):
    (pwg.parent / "stats.h5").unlink()
    np.save(pwg.parent / "stats.npy", array)
    with pytest.raises(ConfigError, match=r"statistics '.*stats\.npy'"):
        resolve_model(pwg)


def test_a_config_in_the_originals_fields_is_taken(pwg, tmp_path):
    own = resolve_model(pwg)
    fields = {"resblock": "1", "upsample_rates": [4, 2], "resblock_dilation_sizes": [[1, 3]]}
    (tmp_path / "mine.json").write_text(json.dumps(fields))
    assert resolve_model(pwg, tmp_path / "mine.json").graph == own.graph
    odd = unpack(tmp_path, "parallel_wavegan", "odd")
    fields = {"resblock": "2", "upsample_rates": [5, 3], "resblock_dilation_sizes": [[1, 3, 5]]}
    (tmp_path / "mine.json").write_text(json.dumps(fields))
    assert resolve_model(odd, tmp_path / "mine.json").graph == resolve_model(odd).graph
    causal = unpack(tmp_path, "parallel_wavegan", "causal")
    fields = {"resblock": "1", "upsample_rates": [3, 2], "resblock_dilation_sizes": [[3]]}
    (tmp_path / "mine.json").write_text(json.dumps(fields))
    assert resolve_model(causal, tmp_path / "mine.json").graph == resolve_model(causal).graph


@pytest.mark.parametrize(
    ("name", "case"), [("parallel_wavegan", "causal"), ("espnet", "joint"), ("paddlespeech", "odd")]
)
def test_an_export_carries_all_of_it(tmp_path, name, case):
    from hifigan_rt.formats.safetensors_writing import write_safetensors

    path = unpack(tmp_path, name, case)
    model = resolve_model(path)
    (tmp_path / "own").mkdir()
    write_safetensors(model.generator, model.mel_settings, tmp_path / "own" / "x.safetensors", "x")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        again = resolve_model(tmp_path / "own" / "x.safetensors")
    assert again.graph == model.graph
    assert again.mel_settings == model.mel_settings
    for key, array in model.generator.weights.items():
        np.testing.assert_array_equal(again.generator.weights[key], array)


def test_damaged_names_are_told(pwg, tmp_path):
    from hifigan_rt.families import read_checkpoint

    weights = read_checkpoint(pwg).weights
    (tmp_path / "x").mkdir()
    path = tmp_path / "x" / "x.safetensors"
    (tmp_path / "x" / "config.yml").write_bytes((tmp_path / "config.yml").read_bytes())

    def read(changed):
        save_file(changed, path)
        return resolve_model(path)

    without = {key: array for key, array in weights.items() if key != "blocks.1.convs2.0.1.weight"}
    with pytest.raises(CheckpointError, match=r"missing +resblocks\.1\.convs2\.0\.weight"):
        read(without)
    with pytest.raises(CheckpointError, match=r"extra\.weight is no parameter of the HiFiGANGenerator"):
        read(weights | {"extra.weight": np.zeros(3, np.float32)})
    with pytest.raises(CheckpointError, match=r"blocks\.0\.convs1\.0\.2\.weight is no parameter"):
        read(weights | {"blocks.0.convs1.0.2.weight": np.zeros(3, np.float32)})
    with pytest.raises(
        CheckpointError, match=r"seems to be a generator of ParallelWaveGAN that takes tokens .* by emb\."
    ):
        read(weights | {"emb.weight": np.zeros((3, 4), np.float32)})
    last = weights["output_conv.1.weight"]
    with pytest.raises(CheckpointError, match=r"several bands at its end, by the 4 channels of output_conv\.1\.weight"):
        bands = {"output_conv.1.weight": np.repeat(last, 4, axis=0), "output_conv.1.bias": np.zeros(4, np.float32)}
        read(weights | bands)
    with pytest.raises(CheckpointError, match=r"unexpected +cond\.weight|cond"):
        read(weights | {"global_conv.weight": np.zeros((3, 6, 1), np.float32)})
    # IMS-Toucan's, of inner stages.
    read(weights | {"out_proj_x1.weight": np.zeros((1, 4, 7), np.float32)})
    with pytest.raises(CheckpointError, match=r"missing +conv_pre\.bias"):
        read({key: array for key, array in weights.items() if key != "input_conv.bias"})


ODD = GeneratorConfig(4, (5, 2), (10, 4), "1", (3,), ((1,),), num_mels=10)


@pytest.fixture
def renamed(tmp_path):
    """Weights of an odd rate under the original's names."""
    weights = seeded_weights(build_graph(ODD).weight_shapes(), 3)
    save_file({name: array.astype(np.float32) for name, array in weights.items()}, tmp_path / "x.safetensors")
    from hifigan_rt.config import ModelConfig

    (tmp_path / "config.json").write_text(json.dumps(config_to_dict(ModelConfig(ODD))))
    return tmp_path / "x.safetensors"


def test_an_odd_rate_under_the_originals_names_can_be_read_in_two_ways(renamed):
    with pytest.warns(ModelAssumptionWarning, match=r'family="parallel-wavegan"'):
        usual = resolve_model(renamed)
    assert usual.graph.output_length(7) == 7 * 10 + 2
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        other = resolve_model(renamed, family="parallel-wavegan")
        assert resolve_model(renamed, family="hifi-gan").graph == usual.graph
    assert other.graph.config.upsample_paddings == ((3, 2), (1, 1))
    assert other.graph.output_length(7) == 7 * 10


def test_a_family_that_is_not_there_is_refused(renamed, pwg, tmp_path):
    with pytest.raises(ConfigError, match=r"family='espnet' is not known: .*parallel-wavegan.*hifi-gan"):
        resolve_model(renamed, family="espnet")
    with pytest.raises(ConfigError, match="has other names for its tensors: these can be read as parallel-wavegan"):
        resolve_model(pwg, family="hifi-gan")
    (tmp_path / "x.onnx").write_bytes(b"")
    with pytest.raises(ModelFileError, match="family='hifi-gan' is for checkpoints"):
        resolve_model(tmp_path / "x.onnx", family="hifi-gan")


def test_a_folder_of_training_steps_gives_the_last(tmp_path):
    path = unpack(tmp_path, "paddlespeech", "even")
    for step in (7, 10):
        (tmp_path / f"snapshot_iter_{step}.pdz").write_bytes(path.read_bytes())
    model = resolve_model(tmp_path)
    assert model.path.name == "snapshot_iter_10.pdz"
    assert any("3 training steps" in note for note in model.notes)


def test_an_empty_config_is_named(pwg):
    (pwg.parent / "config.yml").write_text("# nothing\n")
    with pytest.raises(ConfigError, match=r"config\.yml' is empty: give the one that the model was trained with"):
        resolve_model(pwg)


def test_statistics_of_espnet_beside_a_vocoder_of_its_own(tmp_path):
    path = unpack(tmp_path, "espnet", "joint")
    weights = dict(read_checkpoint(path).weights)
    save_file({**weights, "normalize.mean": np.ones(10, np.float32), "normalize.std": np.ones(10, np.float32)},
              tmp_path / "alone.safetensors")  # fmt: skip
    assert resolve_model(tmp_path / "alone.safetensors").mel.mean == (1.0,) * 10


def test_paddles_inverse_stft_is_refused(tmp_path):
    path = unpack(tmp_path, "paddlespeech", "even")
    change(tmp_path / "default.yaml", generator_params__use_istft=True)
    with pytest.raises(ConfigError, match="a generator with an inverse STFT at its end"):
        resolve_model(path)


def test_espnet_tells_what_else_it_holds(tmp_path):
    path = unpack(tmp_path, "espnet", "joint")
    for changes, text in (
        ({"tts_conf__vocoder_type": "parallel_wavegan_generator"}, "vocoder_type='parallel_wavegan_generator'"),
        ({"tts_conf__vocoder_type": "hifigan_generator", "tts_conf__use_pqmf": True}, "use_pqmf is true"),
        ({"tts_conf__use_pqmf": False, "tts_conf__vocoder_params__nonlinear_activation": "GELU"}, "'GELU'"),
    ):
        change(tmp_path / "config.yaml", **changes)
        with pytest.raises(ConfigError, match=text):
            resolve_model(path)
    change(tmp_path / "config.yaml", tts_conf__vocoder_params__nonlinear_activation="LeakyReLU")
    with load(path, engine="reference") as vocoder, pytest.raises(ConditioningError, match="VECTOR of 6 values"):
        vocoder(vocoder.mel(np.random.default_rng(0).uniform(-0.5, 0.5, 400).astype(np.float32)))
    change(tmp_path / "config.yaml", feats_extract_conf__fs="9" * 5000)
    with pytest.raises(ConfigError, match=r"sample_rate|sampling_rate"):
        resolve_model(path)
    change(tmp_path / "config.yaml", feats_extract_conf__fs="8k", feats_extract_conf__htk=True)
    assert (resolve_model(path).mel.sample_rate, resolve_model(path).mel.mel_scale) == (8000, "htk")
