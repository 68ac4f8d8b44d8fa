"""Files of transformers, NeMo, SpeechBrain, Coqui and NVIDIA: what is read of them, and what is refused."""

from __future__ import annotations

import gzip
import io
import json
import tarfile

import numpy as np
import pytest
from safetensors.numpy import save_file

from checkpoint_files import Tensor, zip_file
from checkpoint_mutations import mutate
from effort import examples
from golden.family_files import read_files, unpack
from hifigan_rt import load
from hifigan_rt.config import MelConfig
from hifigan_rt.errors import CheckpointError, ConfigError, ModelFileError, ModelNotFound, WeightMismatch
from hifigan_rt.families import read_checkpoint
from hifigan_rt.families.coqui import COQUI_VOCODER
from hifigan_rt.families.nemo import NEMO_CONFIG
from hifigan_rt.formats.checkpoint import read_tensors
from hifigan_rt.formats.config_json import NETWORK_FIELDS
from hifigan_rt.formats.config_yaml import decode_yaml
from hifigan_rt.mel.analysis import compute_mel
from hifigan_rt.model.resolve import resolve_model


@pytest.fixture
def nemo():
    """The two files in a .nemo file."""
    _, files = read_files("nemo", "nested")
    with tarfile.open(fileobj=io.BytesIO(files["model.nemo"])) as archive:
        return {name: archive.extractfile(f"./{name}").read() for name in ("model_config.yaml", "model_weights.ckpt")}


def pack(path, files, *entries):
    """A .nemo file of files by name, and of entries that are no files."""
    with tarfile.open(path, "w:") as archive:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
        for name, kind, target in entries:
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = kind, target
            archive.addfile(entry)
    return path


def test_a_folder_of_transformers_is_one_model(tmp_path):
    unpack(tmp_path, "transformers", "speecht5")
    assert resolve_model(tmp_path).path.name == "model.safetensors"
    (tmp_path / "pytorch_model.bin").write_bytes(b"not looked at")
    model = resolve_model(tmp_path)
    assert any("pytorch_model.bin in the folder is left out" in note for note in model.notes)
    (tmp_path / "model.safetensors.index.json").write_text("{}")
    with pytest.raises(ModelNotFound, match=r"files, of which model\.safetensors\.index\.json is the index: have t"):
        resolve_model(tmp_path)
    with pytest.raises(ModelNotFound, match=r"is the index: have transformers write it as one"):
        resolve_model(tmp_path / "model.safetensors.index.json")


@pytest.mark.parametrize("name", ["model-00001-of-00002.safetensors", "pytorch_model-00002-of-00002.bin"])
def test_a_part_of_a_model_in_several_files_is_named(tmp_path, name):
    unpack(tmp_path, "transformers", "speecht5")
    (tmp_path / "model.safetensors").rename(tmp_path / name)
    for path in (tmp_path, tmp_path / name):
        with pytest.raises(ModelNotFound, match=rf"{name}' is one of several files that hold a model together: have t"):
            resolve_model(path)


def test_a_single_part_is_the_whole(tmp_path):
    unpack(tmp_path, "transformers", "speecht5")
    (tmp_path / "model.safetensors").rename(tmp_path / "model-00001-of-00001.safetensors")
    assert resolve_model(tmp_path / "model-00001-of-00001.safetensors").noun == resolve_model(tmp_path).noun


def test_a_distributed_checkpoint_says_how_it_is_joined(tmp_path):
    folder = tmp_path / "step 5"
    folder.mkdir()
    for name in (".metadata", "__0_0.distcp"):
        (folder / name).write_bytes(b"PK\3\4")
    for path in (folder, folder / "__0_0.distcp"):
        with pytest.raises(ModelNotFound, match=r"is a distributed checkpoint of PyTorch: .* dcp_to_torch '.*step 5' "):
            resolve_model(path)


def test_slope_and_normalisation_are_those_of_the_config(tmp_path):
    unpack(tmp_path, "transformers", "speecht5")
    graph = resolve_model(tmp_path).graph.config
    assert (graph.leaky_relu_slope, graph.input_normalization) == (0.2, True)
    unpack(tmp_path / "fs2", "transformers", "fastspeech2")
    assert not resolve_model(tmp_path / "fs2").graph.config.input_normalization


@pytest.mark.parametrize(
    ("case", "change", "text"),
    [
        (("transformers", "speecht5"), {"upsample_rates": [4, 4]}, None),
        (("transformers", "speecht5"), {"upsample_rates": "4,2"}, "upsample_rates=str '4,2' must be a list"),
        (("transformers", "speecht5"), {"model_in_dim": 12}, "num_mels: the config says 12, the weights have 10"),
        (("transformers", "speecht5"), {"leaky_relu_slope": "x"}, "leaky_relu_slope"),
        (("transformers", "speecht5"), {"model_type": "hifigan", "upsample_rates": None}, "upsample_rates is missing"),
        (("transformers", "speecht5"), {"model_type": [], "upsample_rates": None}, "upsample_rates is missing"),
        (("transformers", "speecht5"), {"leaky_relu_slope": 10**400}, "leaky_relu_slope=int 10+... must be a finite"),
        (("coqui", "gan"), {"generator_model": "melgan_generator"}, "generator_model='melgan_generator' is another"),
        (("coqui", "gan"), {"generator_model_params": {}}, "upsample_factors is missing"),
        (("coqui", "gan"), {"generator_model_params": 3}, "generator_model_params is missing, or no mapping"),
        (("coqui", "gan"), {"audio": {"sample_rate": 8000, "hop_length": 7}}, "hop_size=7 does not match"),
    ],
)
def test_a_config_that_does_not_fit_names_why(tmp_path, case, change, text):
    path = unpack(tmp_path, *case)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | change))
    if text is None:  # rates leave no trace in weights
        assert resolve_model(path).graph.hop_length == 16
        return
    with pytest.raises(ConfigError, match=text):
        resolve_model(path)


@pytest.mark.parametrize("other", [("coqui", "gan"), ("transformers", "speecht5")])
def test_the_config_of_another_project_is_named(tmp_path, other):
    path = unpack(tmp_path, "speechbrain", "old")
    (tmp_path / "hyperparams.yaml").unlink()
    _, files = read_files(*other)
    (tmp_path / "config.json").write_bytes(files["config.json"])
    with pytest.raises(
        ConfigError, match=r"it is a config of \w.*, and the weights are named as SpeechBrain names them"
    ):
        resolve_model(path)


def test_tokens_of_speechbrain_are_refused(tmp_path):
    path = unpack(tmp_path, "speechbrain", "old")
    yaml = tmp_path / "hyperparams.yaml"
    yaml.write_text(yaml.read_text().replace("HifiganGenerator", "UnitHifiganGenerator"))
    with pytest.raises(ConfigError, match="UnitHifiganGenerator, which takes tokens and no mels"):
        resolve_model(path)
    yaml.write_text(
        yaml.read_text().replace("Unit", "").replace("!ref <upsample_factors>", "!ref <upsample_factors> + 1")
    )
    with pytest.raises(ConfigError, match=r"'!ref <upsample_factors> \+ 1' is not resolved here"):
        resolve_model(path)
    yaml.write_text("a: !ref <b>\nb: !ref <a>\nupsample_factors: !ref <a>\n")
    with pytest.raises(ConfigError, match="references lead in a circle"):
        resolve_model(path)


def write_speechbrain(folder, **changes):
    """The recorded file of SpeechBrain with tensors added, or taken out where they are None."""
    path = unpack(folder, "speechbrain", "old")
    tensors = {**read_checkpoint(path).weights, **changes}
    path.unlink()
    save_file({name: array for name, array in tensors.items() if array is not None}, folder / "generator.safetensors")
    return folder / "generator.safetensors"


def test_speechbrain_without_the_last_bias(tmp_path):
    zero = write_speechbrain(tmp_path / "zero", **{"conv_post.conv.bias": np.zeros(1, np.float32)})
    none = write_speechbrain(tmp_path / "none", **{"conv_post.conv.bias": None})
    yaml = tmp_path / "none" / "hyperparams.yaml"
    with pytest.raises(WeightMismatch, match=r"missing +conv_post\.bias"):
        resolve_model(none)
    yaml.write_text(yaml.read_text().replace("conv_post_bias: True", "conv_post_bias: False"))
    mel = np.random.default_rng(0).normal(-3, 1, (10, 9)).astype(np.float32)
    with load(zero, engine="reference") as one, load(none, engine="reference") as other:
        np.testing.assert_array_equal(one(mel), other(mel))
    with pytest.raises(WeightMismatch, match=r"unexpected +conv_post\.bias"):
        resolve_model(zero, yaml)


def test_speechbrains_conditioning_is_refused(tmp_path):
    path = write_speechbrain(tmp_path, **{"cond_layer.conv.weight": np.ones((4, 6, 1), np.float32)})
    with pytest.raises(CheckpointError, match="cond_channels: the generator there adds its result with frames and"):
        resolve_model(path)


def test_what_coqui_does_beyond_is_told(tmp_path):
    path = unpack(tmp_path, "coqui", "gan")
    config = json.loads((tmp_path / "config.json").read_text())
    config["audio"]["preemphasis"] = 0.97
    (tmp_path / "config.json").write_text(json.dumps(config))
    model = resolve_model(path)
    with pytest.raises(ConfigError, match=r"its own has preemphasis=0\.97"):
        model.known_mel()
    assert model.sample_rate == 8000


def test_coqui_ranges_without_symmetry_or_clipping():
    audio = {"sample_rate": 22050, "hop_length": 256, "symmetric_norm": False, "clip_norm": False, "max_norm": 1.0}
    fields = COQUI_VOCODER.read(
        {"generator_model_params": {"upsample_factors": [8], "resblock_dilation_sizes": [[1]], "resblock_type": "1"},
         "audio": audio}, {},
    )  # fmt: skip
    # 20 log10(1) = 0 dB lies 80 dB above ref_level_db + min_level_db = -80, of a range of 100.
    assert fields["log"] == "log10"
    assert (0.0 - fields["mean"]) / fields["scale"] == pytest.approx(0.8)
    assert "ceiling" not in fields


def read_coqui(**audio):
    network = {"upsample_factors": [8], "resblock_dilation_sizes": [[1]], "resblock_type": "1"}
    return COQUI_VOCODER.read({"generator_model_params": network, "audio": {"sample_rate": 22050, **audio}}, {})


def test_coqui_lengths_in_milliseconds():
    """As millisec_to_length of Coqui gives them."""
    times = {"frame_length_ms": 50.0, "frame_shift_ms": 12.5}
    fields = read_coqui(hop_length=None, win_length=None, fft_size=2048, **times)
    assert (fields["win_size"], fields["hop_size"], "unsupported_mel" in fields) == (1102, 275, False)
    fields = read_coqui(hop_length=256, win_length=512, **times)
    assert (fields["win_size"], fields["hop_size"]) == (512, 256)
    for stated, text in (
        ({"hop_length": None}, "frame_length_ms=NoneType None must be a finite number"),
        ({"hop_length": None, "frame_length_ms": 50, "frame_shift_ms": 15}, "does not divide frame_length_ms=50"),
        ({"win_length": None}, "win_length=None beside a hop_length"),
    ):
        fields = read_coqui(**stated)
        assert text in fields["unsupported_mel"]
        assert "win_size" not in fields


@pytest.mark.parametrize(
    "levels",
    [{"ref_level_db": 2**70}, {"spec_gain": 1e-320}, {"spec_gain": 0, "signal_norm": False}, {"max_norm": 10**400},
     {"ref_level_db": 1e308}, {"ref_level_db": float("nan")}, {"max_norm": True}, {"max_norm": [4.0]},
     {"do_amp_to_db_mel": None}],
)  # fmt: skip
def test_absurd_levels_of_coqui_have_no_mel(levels):
    assert "unsupported_mel" in read_coqui(**levels)


def test_no_statistics_of_coqui():
    assert "unsupported_mel" not in read_coqui(stats_path="")
    assert read_coqui(stats_path="x.npy")["unsupported_mel"] == "stats_path=x.npy"


def test_relative_interpolations_of_nemo():
    """As OmegaConf has them: one dot is the mapping around the value, two the one around that."""
    values = decode_yaml(
        "model:\n  rates: [8]\n  mel_dim: ${.dim}\n  dim: 7\n  generator:\n    inner: {rates: '${...rates}'}\n"
        "    upsample_rates: ${.inner.rates}\n    initial_input_size: ${..mel_dim}\n"
        "    resblock_dilation_sizes: [[1]]\n  preprocessor: {nfilt: '${.bands}', bands: 7, n_window_stride: 8}\n"
    )
    fields = NEMO_CONFIG.read(values, {})
    assert (fields["upsample_rates"], fields["num_mels"], fields.get("input_kind")) == ([8], 7, None)
    values["model"]["generator"]["initial_input_size"] = "${.....mel_dim}"
    with pytest.raises(ConfigError, match="leads out of this config"):
        NEMO_CONFIG.read(values, {})


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("generator: {_target_: nemo.x.Other}\npreprocessor: {n_window_stride: 8}", "its generator is 'nemo.x.Other'"),
        ("generator: {upsample_rates: '${oc.env:HOME}'}\npreprocessor: {n_window_stride: 8}", "is not resolved here"),
        ("generator: {upsample_rates: '${a.b}'}\npreprocessor: {n_window_stride: 8}", "leads to nothing"),
        ("a: ${b}\nb: ${a}\ngenerator: {upsample_rates: '${a}'}\npreprocessor: {n_window_stride: 8}", "in a circle"),
        ("generator: 3\npreprocessor: {n_window_stride: 8}", "generator is missing, or no mapping"),
        ("model: {preprocessor: {n_window_stride: 8}}", "generator is missing, or no mapping"),
    ],
)
def test_configs_of_nemo_that_are_not_read(text, told):
    values = decode_yaml(text)
    assert NEMO_CONFIG.tells(values)
    with pytest.raises(ConfigError, match=told):
        NEMO_CONFIG.read(values, {})


@pytest.mark.parametrize(("version", "padding"), [("1.22.0", "reflect"), ("2.4.1", "reflect"), ("2.5.0rc0", "zero")])
def test_nemo_pads_by_its_version(tmp_path, nemo, version, padding):
    nemo["model_config.yaml"] = nemo["model_config.yaml"].replace(b"3.0.0", version.encode())
    mel = resolve_model(pack(tmp_path / "m.nemo", nemo)).mel
    assert isinstance(mel, MelConfig)
    assert (mel.padding, mel.window) == (padding, "symmetric_hann")
    assert np.isfinite(compute_mel(np.zeros(200, np.float32), mel)).all()


@pytest.mark.parametrize(("use_grads", "epsilon"), [(True, 1e-5), (False, 0.0)])
def test_nemo_guards_the_root_for_gradients(tmp_path, nemo, use_grads, epsilon):
    values = decode_yaml(nemo["model_config.yaml"].decode())
    values["preprocessor"]["use_grads"] = use_grads
    nemo["model_config.yaml"] = json.dumps(values).encode()
    assert resolve_model(pack(tmp_path / "m.nemo", nemo)).mel.magnitude_epsilon == epsilon


def test_a_config_beside_a_nemo_file_or_named_comes_first(tmp_path, nemo):
    path = pack(tmp_path / "m.nemo", nemo | {"model_config.yaml": b"a: [1"})
    with pytest.raises(ConfigError, match=r"model_config\.yaml in the file: it is no YAML"):
        resolve_model(path)
    named = tmp_path / "right.yaml"
    named.write_bytes(nemo["model_config.yaml"])
    assert resolve_model(path, named).graph.hop_length == 8


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"model_weights.ckpt": None}, "is a tar archive without model_weights.ckpt, which a .nemo file has"),
        ({"../evil": b""}, r"with a name that leads out of it, '\.\./evil'"),
        ({"/etc/passwd": b""}, "with a name that leads out of it"),
        ({"./model_weights.ckpt": b""}, "holds model_weights.ckpt twice"),
        ({"model_weights.ckpt": b"\x1f\x8b"}, "holds an archive as its model_weights.ckpt"),
        ({"model_weights.ckpt": b"no weights"}, "is a text"),
        ({"model_config.yaml": b"\xff\xfe\xff"}, "holds a model_config.yaml that is no text"),
        ({"model_config.yaml": b" " * (1 << 20) + b" "}, "holds a model_config.yaml of 1048577 bytes: at most 1048576"),
    ],
)
def test_archives_that_are_no_nemo_files(tmp_path, nemo, change, text):
    files = {name: data for name, data in (nemo | change).items() if data is not None}
    with pytest.raises(CheckpointError, match=text):
        resolve_model(pack(tmp_path / "m.nemo", files))


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_in_archives_are_refused(tmp_path, nemo, kind):
    with pytest.raises(CheckpointError, match=r"is a tar archive with (a link, )?'model_weights\.ckpt'"):
        resolve_model(pack(tmp_path / "m.nemo", {}, ("model_weights.ckpt", kind, "/etc/passwd")))


def test_compressed_archives_have_limits(tmp_path):
    path = tmp_path / "m.nemo"
    path.write_bytes(gzip.compress(bytes(80 << 20), 1))
    with pytest.raises(CheckpointError, match=r"inflates to more than \d+ bytes, which no \.nemo file does"):
        resolve_model(path)
    path.write_bytes(gzip.compress(b"a checkpoint"))
    with pytest.raises(CheckpointError, match="is compressed with gzip: unpack it first"):
        resolve_model(path)
    _, files = read_files("nemo", "flat_gz")
    for data, text in (
        (files["model.nemo"][:-2000], "is truncated: its gzip data ends early"),
        (files["model.nemo"][:1000] + bytes(8) + files["model.nemo"][1008:], "is damaged|is truncated|damaged"),
    ):
        path.write_bytes(data)
        with pytest.raises(CheckpointError, match=text):
            resolve_model(path)


def test_a_lightning_checkpoint_of_nemo_takes_its_config_by_name(tmp_path, nemo):
    weights = tmp_path / "model_weights.ckpt"
    weights.write_bytes(nemo["model_weights.ckpt"])
    tensors = read_tensors(weights)
    state = {name: Tensor(array.ravel(), name, array.shape) for name, array in tensors.items()}
    path = tmp_path / "HifiGan--val_loss=0.1.ckpt"
    path.write_bytes(zip_file({"epoch": 3, "state_dict": state, "hyper_parameters": {"name": "HifiGan"}}))
    config = tmp_path / "elsewhere" / "hifigan.yaml"
    config.parent.mkdir()
    inner = nemo["model_config.yaml"].decode().replace("\n", "\n  ")
    config.write_text(f"sample_rate: 8000\nmel_dim: 10\nmodel:\n  {inner}")
    model, packed = resolve_model(path, config), resolve_model(pack(tmp_path / "m.nemo", nemo))
    assert (model.graph, model.mel) == (packed.graph, packed.mel)
    np.testing.assert_array_equal(
        model.generator.weights["conv_pre.weight"], packed.generator.weights["conv_pre.weight"]
    )


def test_a_lightning_checkpoint_of_nemo_has_its_config(tmp_path, nemo):
    # modelPT.py saves its hyperparameter cfg, whose interpolations are resolved (convert_model_config_to_dict_config).
    weights = tmp_path / "model_weights.ckpt"
    weights.write_bytes(nemo["model_weights.ckpt"])
    state = {name: Tensor(array.ravel(), name, array.shape) for name, array in read_tensors(weights).items()}
    config = decode_yaml(
        nemo["model_config.yaml"].decode().replace("${sample_rate}", "8000").replace("${mel_dim}", "10")
    )
    path = tmp_path / "HifiGan--val_loss=0.1.ckpt"
    path.write_bytes(zip_file({"state_dict": state, "hparams_name": "kwargs", "hyper_parameters": {"cfg": config}}))
    model, packed = resolve_model(path), resolve_model(pack(tmp_path / "m.nemo", nemo))
    assert (model.graph, model.mel, model.family) == (packed.graph, packed.mel, "NeMo")


def test_a_config_in_the_originals_fields_keeps_what_the_names_tell(tmp_path):
    for name, case, field, value in (
        ("speechbrain", "old", "padding_mode", "reflect"),
        ("transformers", "speecht5", "input_normalization", True),
        ("coqui", "conditioned", "conditioning_channels", 6),
    ):
        path = unpack(tmp_path / name, name, case)
        config = resolve_model(path).graph.config
        plain = {key: getattr(config, key) for key in NETWORK_FIELDS}
        (tmp_path / "plain.json").write_text(json.dumps(plain))
        assert getattr(resolve_model(path, tmp_path / "plain.json").graph.config, field) == value


def test_cut_and_damaged_files_raise_typed_errors_alone(tmp_path):
    for name, case in (("nemo", "nested"), ("nemo", "flat_gz"), ("coqui", "gan"), ("transformers", "speecht5")):
        file, files = read_files(name, case)
        path = unpack(tmp_path / case, name, case)
        for seed in range(examples(40)):
            path.write_bytes(mutate(files, file, seed))
            try:
                resolve_model(path)
            except ModelFileError:
                continue
            except ConfigError:
                continue
