"""A config that is there is found, wherever it is; what is assumed or contradicts is told."""

import json
import subprocess
import sys
import warnings
import zipfile
from dataclasses import replace

import numpy as np
import onnx
import pytest
import yaml
from safetensors.numpy import save_file

from checkpoint_files import Ordered, Tensor, zip_file
from golden.tiny import TINY, tiny_generator, tiny_mel, tiny_weights, write_tiny
from hifigan_rt import load
from hifigan_rt.config import GeneratorConfig, MelConfig, ModelConfig
from hifigan_rt.errors import ConfigError, ModelAssumptionWarning, ModelNotFound
from hifigan_rt.formats.config_json import NETWORK_FIELDS, config_to_dict
from hifigan_rt.formats.onnx_graph import build_onnx
from hifigan_rt.graph import build_graph
from hifigan_rt.model.resolve import resolve_model

FIELDS = config_to_dict(TINY)
NETWORK = {name: FIELDS[name] for name in NETWORK_FIELDS}
MEL = {name: value for name, value in FIELDS.items() if name not in NETWORK}
OTHER_RATES = FIELDS | {
    "upsample_rates": [2, 4],
    "upsample_kernel_sizes": [8, 4],
    "resblock_dilation_sizes": [[1, 3], [1, 5]],
}
"""It fits the same weights."""
MISFIT = FIELDS | {"upsample_initial_channel": 16}


def checkpoint(folder, **beside):
    """A torch file with weights under `generator`, and what else is in it."""
    tensors = {name: Tensor(array.ravel(), name, array.shape) for name, array in tiny_weights().items()}
    path = folder / "g_00000100"
    path.write_bytes(zip_file({"generator": Ordered(tensors), **beside}))
    return path


def found(path, config=None):
    """The model, which is found without a warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = resolve_model(path, config)
    assert model.generator.graph == build_graph(TINY.generator)
    return model


# In the checkpoint


@pytest.mark.parametrize(
    "beside",
    [
        {"config": FIELDS},
        {"h": {**FIELDS, "upsample_rates": (4, 2), "resblock_dilation_sizes": ((1, 3), (1, 2))}},
        {"hps": {"model": NETWORK, "data": MEL, "train": {"seed": 1, "log": "wandb"}}},
        {"hyper_parameters": {"generator": NETWORK, "audio": MEL}, "epoch": 3},
        {"config": json.dumps(FIELDS)},
        {"model_config": NETWORK, "audio_config": MEL, "step": 7},
        FIELDS,
        {"config": FIELDS, "h": FIELDS, "args": {"sampling_rate": 48000}},
        {"config": NETWORK | MEL | {"num_mels": None, "resblock": None}},
    ],
)
def test_a_plain_dictionary_in_the_checkpoint_is_a_config(tmp_path, beside):
    model = found(checkpoint(tmp_path, **beside))
    assert model.mel == TINY.mel
    assert len(model.notes) == 1
    assert model.notes[0].startswith("no config.json lies beside the file: ")
    assert not model.assumptions


def test_config_json_comes_before_the_checkpoint_and_a_difference_is_told(tmp_path):
    path = checkpoint(tmp_path, config=OTHER_RATES)
    (tmp_path / "config.json").write_text(json.dumps(FIELDS))
    told = (
        r"config '.*config.json' is used, and entry 'config' of the checkpoint says otherwise: upsample_rates \[4, 2\] "
        r"and \[2, 4\], resblock_dilation_sizes"
    )
    with pytest.warns(ModelAssumptionWarning, match=told):
        assert resolve_model(path).mel == TINY.mel
    # Who names a config needs to confirm nothing.
    assert "says otherwise" in found(path, tmp_path / "config.json").notes[0]
    (tmp_path / "config.json").write_text(json.dumps(OTHER_RATES))
    assert resolve_model(path).generator.graph.config.upsample_rates == (2, 4)


def test_a_text_in_the_checkpoint_that_states_a_name_twice_is_refused_where_it_is_needed(tmp_path):
    path = checkpoint(tmp_path, config='{"fmin": 7, ' + json.dumps(FIELDS)[1:])
    with pytest.raises(ConfigError, match="entry 'config' of the checkpoint: 'fmin' stands twice, as int 7 and as"):
        resolve_model(path)
    (tmp_path / "config.json").write_text(json.dumps(FIELDS))
    assert found(path).mel == TINY.mel


def test_a_text_in_the_checkpoint_that_is_no_config_may_state_a_name_twice(tmp_path):
    path = checkpoint(tmp_path, notes='{"seed": 1, "seed": 2}')
    (tmp_path / "other.json").write_text(json.dumps(FIELDS))
    with pytest.warns(ModelAssumptionWarning, match="other.json"):
        assert resolve_model(path).mel == TINY.mel


def test_configs_in_a_checkpoint_that_contradict_each_other(tmp_path):
    with pytest.raises(
        ConfigError, match=r"entry 'config' .* and entry 'h' .* both fit .* upsample_rates \[4, 2\] and \[2"
    ):
        resolve_model(checkpoint(tmp_path, config=FIELDS, h=OTHER_RATES))
    found(checkpoint(tmp_path, config=FIELDS, discriminator_config=MISFIT))


@pytest.mark.parametrize(
    ("inner", "message"),
    [
        (MISFIT, "entry 'config' of the checkpoint: upsample_initial_channel: the config says 16, the weights have 8"),
        (FIELDS | {"upsample_rates": "4,2"}, "entry 'config' .*: upsample_rates=str '4,2' must be a list"),
        (
            {"sampling_rate": 8000},
            "entry 'config' .*: the config lacks upsample_rates and resblock_dilation_sizes, and",
        ),
    ],
)
def test_a_config_in_the_checkpoint_is_held_to_the_weights(tmp_path, inner, message):
    with pytest.raises(ConfigError, match=message):
        resolve_model(checkpoint(tmp_path, config=inner))


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("mean", Tensor(np.full(10, -5.0), "m"), r"mean=.*of shape \[10\] must be a"),
        ("lrelu_slope", Tensor(np.full(1, 0.2), "s", ()), "lrelu_slope=Unread tensor of shape .* is another network"),
        ("upsample_rates", [Tensor(np.full(1, 4), "r", ()), 2], r"upsample_rates\[0\]=.* must be a whole"),
    ],
)
def test_a_setting_that_is_a_tensor_is_not_passed_over(tmp_path, name, value, message):
    with pytest.raises(ConfigError, match=f"entry 'config' of the checkpoint: {message}"):
        resolve_model(checkpoint(tmp_path, config=FIELDS | {"scale": [1.0] * 10, name: value}))


def test_what_is_no_config_is_none(tmp_path):
    path = checkpoint(tmp_path, config={"lr": 1e-4, "num_mels": 5}, h="{", args=[FIELDS], steps=7)
    with pytest.raises(ConfigError, match="no config was found"):
        resolve_model(path)


# Beside it


def test_the_only_other_json_file_that_fits_is_used_and_told(tmp_path):
    path = write_tiny(tmp_path, config=False)
    for name, fields in (("config_v1.json", FIELDS), ("config_v2.json", MISFIT), ("log.json", [1])):
        (tmp_path / name).write_text(json.dumps(fields))
    (tmp_path / "broken.json").write_text("{")
    with pytest.warns(ModelAssumptionWarning, match=r"config '.*config_v1.json', the only one there that fits the wei"):
        model = resolve_model(path)
    assert model.mel == TINY.mel
    found(path, tmp_path / "config_v1.json")
    (tmp_path / "same.json").write_text(json.dumps({"generator": NETWORK}))
    with pytest.warns(ModelAssumptionWarning):
        assert resolve_model(path).mel == TINY.mel
    (tmp_path / "z.yaml").write_text(yaml.safe_dump(OTHER_RATES))
    with pytest.raises(
        ConfigError, match=r"config '.*config_v1.json' and config '.*z.yaml' both fit the weights and dif"
    ):
        resolve_model(path)


def test_files_that_do_not_fit_are_named(tmp_path):
    path = write_tiny(tmp_path, config=False)
    (tmp_path / "config_v2.json").write_text(json.dumps(MISFIT))
    (tmp_path / "with_quotes.json").write_text("{'a': 1,\n'b': 2}")
    (tmp_path / "config.yml").write_text("a: [1")
    with pytest.raises(ConfigError, match="no config was found") as caught:
        resolve_model(path)
    for told in (
        "config_v2.json': upsample_initial_channel: the config says 16",
        "double quotes in JSON",
        "config.yml': it is no YAML",
    ):
        assert told in str(caught.value)


def test_a_config_that_lies_beside_and_does_not_fit_names_what_would(tmp_path):
    path = checkpoint(tmp_path, config=FIELDS)
    (tmp_path / "config.json").write_text(json.dumps(MISFIT))
    (tmp_path / "right.json").write_text(json.dumps(FIELDS))
    with pytest.raises(ConfigError) as caught:
        resolve_model(path)
    assert str(caught.value).endswith(
        "upsample_initial_channel: the config says 16, the weights have 8; config and checkpoint are not of one model: "
        "give the right one with --config. It only lies beside 'g_00000100': the config that is named with config= "
        f"(--config) comes before it; entry 'config' of the checkpoint, config {str(tmp_path / 'right.json')!r} would "
        "fit"
    )


FOREIGN = {
    "transformers": {"architectures": ["SpeechT5HifiGan"], "model_in_dim": 10, **NETWORK},
    "ParallelWaveGAN": {"generator_type": "HiFiGANGenerator", "generator_params": {}},
    "Piper": {"phoneme_id_map": {}, "audio": {"sample_rate": 22050}},
    "VITS": {"model": {"inter_channels": 192, **NETWORK}, "data": {"sampling_rate": 22050}},
    "BigVGAN": FIELDS | {"activation": "snakebeta"},
    "TensorFlowTTS": {"hop_size": 8, "hifigan_generator_params": {"filters": 4}},
    "iSTFTNet": FIELDS | {"gen_istft_n_fft": 16},
}


@pytest.mark.parametrize("owner", FOREIGN)
def test_a_config_of_another_project_is_named(tmp_path, owner):
    path = write_tiny(tmp_path, config=False)
    (tmp_path / "config.json").write_text(json.dumps(FOREIGN[owner]))
    with pytest.raises(ConfigError, match=rf"config.json': it is a config of {owner}, and the weights .* move it away"):
        resolve_model(path)
    (tmp_path / "mine.json").write_text(json.dumps(FIELDS))
    found(path, tmp_path / "mine.json")


def test_the_field_that_fairseq_adds_to_the_originals_is_no_sign_of_transformers(tmp_path):
    path = write_tiny(tmp_path, config=False)
    (tmp_path / "config.json").write_text(json.dumps(FIELDS | {"model_in_dim": FIELDS["num_mels"]}))
    found(path)


def test_mels_of_larynx_are_not_normalised_whatever_its_config_calls_normalized(tmp_path):
    path = write_tiny(tmp_path, config=False)
    names = {"n_fft": "filter_length", "win_size": "win_length", "hop_size": "hop_length", "fmin": "mel_fmin"}
    audio = {names.get(name, name): value for name, value in MEL.items()} | {"mel_fmax": MEL["fmax"]}
    audio |= {"num_mels": FIELDS["num_mels"], "normalized": True}
    network = {name: value for name, value in NETWORK.items() if name != "num_mels"}
    (tmp_path / "config.json").write_text(json.dumps({"model": network, "audio": audio, "version": 1}))
    model = found(path)
    assert (model.mel, model.family) == (TINY.mel, "NVIDIA DeepLearningExamples or Larynx")


@pytest.mark.parametrize("values", [{}, {"lr": 1e-4, "vocab_size": 30}])
def test_a_config_of_something_else_is_none(tmp_path, values):
    path = write_tiny(tmp_path, config=False)
    (tmp_path / "config.json").write_text(json.dumps(values))
    with pytest.raises(
        ConfigError, match=r"config.json': it holds none of the fields of the original's config.json, up"
    ):
        resolve_model(path)


def test_a_foreign_file_names_the_configs_beside_it(tmp_path):
    path = tmp_path / "x.onnx"
    path.write_bytes(build_onnx(tiny_generator(), None).SerializeToString())
    model = onnx.load(path)
    del model.metadata_props[:]
    onnx.save(model, path)
    (tmp_path / "config_v1.json").write_text(json.dumps(FIELDS))
    assert resolve_model(path).notes[1] == (
        f"no config.json lies beside the file: config {str(tmp_path / 'config_v1.json')!r} may be meant, --config "
        "names it"
    )
    (tmp_path / "config.json").write_text(json.dumps(FOREIGN["transformers"]))
    with pytest.raises(ConfigError, match=r"config.json': input_normalization False and True .* move this one away "):
        resolve_model(path)
    (tmp_path / "config.json").write_text(json.dumps({name: FIELDS[name] for name in FIELDS if name != "num_mels"}))
    assert resolve_model(path).mel == TINY.mel


# What weights decide


def test_a_config_may_leave_out_what_the_weights_decide(tmp_path):
    path = write_tiny(tmp_path, config=False)
    stated = {name: FIELDS[name] for name in ("upsample_rates", "resblock_dilation_sizes", "sampling_rate")}
    (tmp_path / "config.json").write_text(json.dumps(stated))
    assert found(path).sample_rate == 8000


def test_an_odd_kernel_minus_rate_can_be_read_in_two_ways(tmp_path):
    generator = GeneratorConfig(8, (4, 5), (8, 10), "1", (3,), ((1, 3),), num_mels=10)
    weights = {name: np.ones(shape, np.float32) for name, shape in build_graph(generator).weight_shapes().items()}
    save_file(weights, tmp_path / "g.safetensors")
    (tmp_path / "config.json").write_text(json.dumps(config_to_dict(ModelConfig(generator))))
    with pytest.warns(ModelAssumptionWarning, match=r"odd \(10 - 5\): computed as the original .* 20 samples for each"):
        vocoder = load(tmp_path / "g.safetensors", engine="reference")
    assert vocoder(tiny_mel(7)).shape == ((7 * 4) * 5 + 1,)
    assert vocoder.model.assumptions == ()


# Unzipped


def test_an_unzipped_checkpoint_says_how_it_is_zipped_again(tmp_path):
    path = checkpoint(tmp_path, config=FIELDS)
    folder = tmp_path / "un zipped"
    with zipfile.ZipFile(path) as archive:
        archive.extractall(folder)
    (folder / "notes.txt").write_text("")
    for name in (folder, folder / "archive", folder / "archive" / "data.pkl"):
        with pytest.raises(ModelNotFound, match=r"a checkpoint that was unzipped: .* python -m zipfile -c model.pth '"):
            resolve_model(name)
    subprocess.run([sys.executable, "-m", "zipfile", "-c", tmp_path / "model.pth", folder / "archive"], check=True)
    found(tmp_path / "model.pth")


def test_a_folder_with_a_model_beside_a_data_folder_is_no_archive(tmp_path):
    write_tiny(tmp_path)
    (tmp_path / "data").mkdir()
    (tmp_path / "generator_config.json").write_text("{}")
    found(tmp_path)


# Mel settings


def write_with(folder, **changes):
    path = write_tiny(folder)
    fields = {name: value for name, value in (FIELDS | changes).items() if value is not Ellipsis}
    (folder / "config.json").write_text(json.dumps(fields))
    return path


def test_what_only_an_analysis_needs_blocks_no_loading(tmp_path):
    path = write_with(tmp_path, n_fft=..., win_size=..., hop_size=..., fmin=..., fmax=...)
    with load(path, engine="reference") as vocoder:
        assert vocoder(tiny_mel(3)).shape == (24,)
        assert (vocoder.sample_rate, vocoder.hop_length, vocoder.mel_config) == (8000, 8, None)
        assert vocoder.stream().sample_rate == 8000
        assert vocoder.notes == (
            "mel settings that the config does not state: n_fft, win_size, fmin, fmax; mels are synthesised and "
            "written to files, recordings are not analysed",
        )
        with pytest.raises(
            ConfigError, match=r"missing: n_fft, win_size, fmin, fmax \(hop_size follows .*: 8\): state it"
        ):
            vocoder.mel(np.zeros(1000, np.float32))


def test_without_a_sample_rate_arrays_are_computed(tmp_path):
    with load(write_with(tmp_path, sampling_rate=...), engine="reference") as vocoder:
        assert vocoder(tiny_mel(3)).shape == (24,)
        for ask in (lambda: vocoder.sample_rate, lambda: vocoder.stream().sample_rate):
            with pytest.raises(
                ConfigError, match="the sample rate must be known, and weights do not tell; missing: sam"
            ):
                ask()


def test_an_fmax_above_half_the_sample_rate_is_the_originals(tmp_path):
    with load(write_with(tmp_path, fmax=11025), engine="reference") as vocoder:
        assert vocoder.mel_config == replace(TINY.mel, fmax=11025.0)
        assert vocoder.mel(np.zeros(1000, np.float32)).shape == (10, 125)
        assert vocoder.notes == (
            "fmax=11025 Hz lies above half the sample rate, 4000 Hz: as in the original, bands are spread up to it, "
            "and 2 of 10 are always at the floor",
        )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"win_size": 128}, "win_size=128 must be at most n_fft=64"),
        ({"fmin": 4000, "fmax": 5000}, "fmin=4000.0 Hz must be at least 0 and below half the sample rate, 4000.0"),
        ({"sampling_rate": "22050.0"}, r"sampling_rate=str '22050.0' must be a whole number"),
        ({"hop_size": 10}, "hop_size=10 does not match upsample_rates"),
        ({"n_fft": 64.5, "fmax": ...}, "n_fft=float 64.5 must be a whole number"),
    ],
)
def test_what_is_stated_must_be_right(tmp_path, changes, message):
    with pytest.raises(ConfigError, match=message):
        resolve_model(write_with(tmp_path, **changes))


def test_a_hop_above_the_transform_is_the_originals():
    assert MelConfig(8000, 64, 64, 100, 6, 0.0, 4000.0).hop_length == 100
