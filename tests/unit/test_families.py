"""Families of checkpoints: told by their tensors, before a config is read, and brought to the original's form."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest
import yaml
from safetensors.numpy import save_file

from golden.tiny import TINY, tiny_mel, tiny_weights, write_tiny
from hifigan_rt import families, load
from hifigan_rt.config import PRESETS, MelConfig, ModelConfig
from hifigan_rt.errors import CheckpointError, ConfigError
from hifigan_rt.families.family import ConfigForm, Family
from hifigan_rt.families.matching import form_of_any, read_mel_alone
from hifigan_rt.families.original import NESTED, ORIGINAL
from hifigan_rt.formats.config_json import MEL_FIELDS, NETWORK_FIELDS, config_to_dict
from hifigan_rt.model.resolve import resolve_model


def read_toy_config(values, shapes) -> ModelConfig:
    assert shapes["conv_pre.weight"] == (8, 10, 7)
    if "rate" not in values:
        raise ConfigError("rate is missing")
    return config_to_dict(ModelConfig(TINY.generator, MelConfig(values["rate"], 64, 64, 8, 10, norm=None)))


NAMES = {"conv_pre": "input_conv", "conv_post": "output_conv", "ups": "upsamples", "resblocks": "blocks"}


def rename_toy(names):
    back = {theirs: ours for ours, theirs in NAMES.items()}
    return {name: f"{back[name.partition('.')[0]]}.{name.partition('.')[2]}" for name in names}


TOY = Family(
    key="toy",
    name="toy",
    layers="input_conv, upsamples.N, blocks.N and output_conv",
    parts=frozenset(NAMES.values()),
    needed={"input_conv": re.compile(r"input_conv\."), "upsamples.N": re.compile(r"upsamples\.\d")},
    rename=rename_toy,
    config_forms=(ConfigForm("toy", lambda values: "upsample_rates" not in values, read_toy_config),),
    ignored=re.compile(r"lookup\."),
)


def write_toy(folder, config):
    weights = {f"{NAMES[name.split('.')[0]]}.{name.partition('.')[2]}": array for name, array in tiny_weights().items()}
    path = folder / "toy.safetensors"
    save_file(weights | {"lookup.weight": np.zeros((2, 2), np.float32)}, path)
    (folder / "config.json").write_text(json.dumps(config))
    return path


def test_the_original_is_told_by_its_names():
    assert families.FAMILIES[-1] is ORIGINAL
    assert NESTED in families.FAMILIES
    assert families.recognise(tiny_weights()) is ORIGINAL


@pytest.mark.parametrize("absent", ["conv_pre", "ups", "resblocks"])
def test_a_part_of_a_generator_is_none(absent):
    with pytest.raises(CheckpointError, match="not the weights of a HiFi-GAN generator, which has conv_pre"):
        families.recognise([name for name in tiny_weights() if not name.startswith(absent)])


def test_other_networks_are_named_by_their_tensors():
    with pytest.raises(CheckpointError, match=r"there are 1 tensors, first encoder\.w"):
        families.recognise(["encoder.w"])
    with pytest.raises(CheckpointError, match=r"there are 0 tensors, first nothing"):
        families.recognise([])


def test_the_weights_are_looked_at_before_a_config(tmp_path):
    path = write_toy(tmp_path, {"rate": 8000})
    with pytest.raises(CheckpointError, match="holds no generator: it seems to be PaddleSpeech's"):
        resolve_model(path)


def test_another_family_is_a_row(tmp_path, monkeypatch):
    monkeypatch.setattr(families, "FAMILIES", (TOY, *families.FAMILIES))
    (tmp_path / "original").mkdir()
    (tmp_path / "toy").mkdir()
    path = write_toy(tmp_path / "toy", {"rate": 16000})
    expected = load(write_tiny(tmp_path / "original"), engine="reference")
    vocoder = load(path, engine="reference")
    np.testing.assert_array_equal(vocoder(tiny_mel(9)), expected(tiny_mel(9)))
    assert vocoder.mel_config is not None
    assert (vocoder.sample_rate, vocoder.mel_config.norm) == (16000, None)
    (tmp_path / "toy" / "config.json").write_text("{}")
    with pytest.raises(ConfigError, match="rate is missing"):
        load(path)
    with pytest.raises(
        CheckpointError, match=r"which has conv_pre, ups\.N, resblocks\.N and conv_post, or the names that toy, "
    ):
        families.recognise(["encoder.w"])


def test_stages_that_interpolate_are_named(tmp_path):
    weights = {re.sub(r"^ups\.\d", r"\g<0>.1", name): array for name, array in tiny_weights().items()}
    save_file(weights, tmp_path / "x.safetensors")
    with pytest.raises(
        CheckpointError, match=r"interpolates where the original has .*, by ups.0.1.*convolutions.* for ups.N\Z"
    ):
        resolve_model(tmp_path / "x.safetensors")


def write_with_linear(folder, config):
    """The tiny generator with a linear layer of 6 features in front."""
    linear = {"lin_pre.weight": np.ones((10, 6), np.float32), "lin_pre.bias": np.zeros(10, np.float32)}
    path = folder / "generator.safetensors"
    save_file(tiny_weights() | linear, path)
    (folder / "config.json").write_text(json.dumps(config))
    return path


def test_a_generator_of_knn_vc_takes_features_of_another_network(tmp_path):
    stated = config_to_dict(TINY) | {"hubert_dim": 6, "hifi_dim": 10, "num_mels": 80}
    model = resolve_model(write_with_linear(tmp_path, stated))
    config = model.graph.config
    assert (config.input_kind, config.num_mels, config.pre_linear) == ("latent", 10, 6)
    assert (model.family, model.sample_rate) == ("kNN-VC", TINY.mel.sample_rate)
    assert any("latents of 6 channels, which another network computes" in note for note in model.notes)


@pytest.mark.parametrize(("more", "kind"), [({}, "latent"), ({"pre_linear": 6}, "mel"), ({"input_kind": "mel"}, "mel")])
def test_a_linear_layer_takes_features_where_no_config_says_that_it_takes_mels(tmp_path, more, kind):
    config = config_to_dict(ModelConfig(TINY.generator)) | more
    assert resolve_model(write_with_linear(tmp_path, config)).graph.config.input_kind == kind


FIELDS = config_to_dict(TINY)
NETWORK = {name: value for name, value in FIELDS.items() if name in NETWORK_FIELDS and name != "num_mels"}
NATSPEECH = {
    **NETWORK, "audio_sample_rate": 8000, "audio_num_mel_bins": 10, "fft_size": 64, "win_size": 64, "hop_size": 8,
    "fmin": 80, "fmax": 3800, "loud_norm": False,
}  # fmt: skip
NATSPEECH_MEL = MelConfig(
    8000, 64, 64, 8, 10, 80.0, 3800.0, log="log10", floor=1e-6, magnitude_epsilon=0.0, padding="center_zero"
)


@pytest.mark.parametrize(
    ("more", "mel"),
    [
        ({}, NATSPEECH_MEL),
        ({"fmin": -1, "fmax": -1}, replace(NATSPEECH_MEL, fmin=0.0, fmax=None)),
        # DiffSinger's config holds that of a Parallel WaveGAN, on which it is built.
        ({"generator_params": {"layers": 30}, "sampling_rate": 8000}, replace(NATSPEECH_MEL, floor=1e-10)),
        ({"generator_params": {"layers": 30}, "wav2spec_eps": "1e-5"}, replace(NATSPEECH_MEL, floor=1e-5)),
    ],
)
def test_configs_of_natspeech_and_diffsinger_state_their_mels(tmp_path, more, mel):
    path = write_tiny(tmp_path, "model_ckpt_steps_2000.ckpt", config=False)
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(NATSPEECH | more))
    model = resolve_model(path, tmp_path / "config.yaml")
    assert (model.family, model.graph.config, model.mel) == ("NATSpeech or DiffSinger", TINY.generator, mel)


def test_a_floor_of_natspeech_that_is_no_number(tmp_path):
    path = write_tiny(tmp_path, config=False)
    (tmp_path / "config.json").write_text(json.dumps(NATSPEECH | {"wav2spec_eps": "x"}))
    with pytest.raises(ConfigError, match="floor=str 'x' must be a finite"):
        resolve_model(path)


COQUI = {
    "audio": {"sample_rate": 8000, "hop_length": 8, "fft_size": 64, "win_length": 64},
    "generator_model_params": {
        "upsample_factors": [4, 2],
        "resblock_dilation_sizes": [[1, 3], [1, 2]],
        "resblock_type": "1",
    },
}


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (NATSPEECH | {"loud_norm": True}, "loud_norm is true: recordings have -22 LUFS there"),
        (NATSPEECH, None),
        (
            COQUI | {"audio": COQUI["audio"] | {"do_sound_norm": True}},
            "do_sound_norm is true: recordings have one level",
        ),
        (COQUI, None),
    ],
)
def test_levels_that_recordings_have_elsewhere_are_told(tmp_path, config, said):
    path = write_tiny(tmp_path, config=False)
    (tmp_path / "config.json").write_text(json.dumps(config))
    notes = [note for note in resolve_model(path).notes if "is true: recordings have" in note]
    assert [note.startswith(said) for note in notes] == ([] if said is None else [True])


def test_the_last_of_natspeechs_training_steps_is_taken(tmp_path):
    for step in (900, 2000):
        write_tiny(tmp_path, f"model_ckpt_steps_{step}.ckpt")
    assert resolve_model(tmp_path).path.name == "model_ckpt_steps_2000.ckpt"


def test_the_config_of_amphions_vits_is_one_of_vits():
    preprocess = {"sample_rate": 8000, "n_mel": 80}
    vocoder, voice = {"generator": "hifigan", "hifigan": NETWORK}, {**NETWORK, "inter_channels": 10}
    for model, name in ((vocoder, "Amphion"), (voice, "VITS")):
        form = form_of_any({"model": model, "preprocess": preprocess})
        assert form is not None
        assert form.name == name


@pytest.mark.parametrize(("mode", "known"), [("", True), ("taco", False)])
def test_the_config_of_amphion_states_its_mel(tmp_path, mode, known):
    mel = {name: value for name, value in FIELDS.items() if name in MEL_FIELDS and name != "sampling_rate"}
    preprocess = mel | {"n_mel": 10, "sample_rate": 8000, "mel_extract_mode": mode}
    stated = {
        "model_type": "GANVocoder",
        "preprocess": preprocess,
        "model": {"generator": "hifigan", "hifigan": NETWORK},
    }
    (tmp_path / "args.json").write_text(json.dumps(stated))
    model = resolve_model(write_tiny(tmp_path, "model.safetensors", config=False), tmp_path / "args.json")
    assert (model.family, model.sample_rate) == ("Amphion", 8000)
    assert (model.mel == TINY.mel) == known


@pytest.mark.parametrize(("config", "form"), [(COQUI, "Coqui TTS"), (NATSPEECH, "NATSpeech or DiffSinger")])
def test_mel_settings_of_another_project_need_its_checkpoint(tmp_path, config, form):
    (tmp_path / "x.json").write_text(json.dumps(config))
    with pytest.raises(ConfigError, match=rf"x.json' is one of {form}, which is read with its checkpoint: name that"):
        read_mel_alone(tmp_path / "x.json")
    (tmp_path / "y.json").write_text(json.dumps({"n_fft": 64}))
    with pytest.raises(ConfigError, match="hop_size is missing"):
        read_mel_alone(tmp_path / "y.json")
    with pytest.raises(ConfigError, match="cannot be read"):
        read_mel_alone(tmp_path / "z.json")
    assert read_mel_alone("v1") == PRESETS["v1"].mel
