"""Decoders of whole voices, in the files that their own programs wrote (tests/golden/families)."""

from __future__ import annotations

import json
import pickle

import numpy as np
import pytest
import yaml

import hifigan_rt
from checkpoint_files import Tensor, zip_file
from golden.family_files import records, unpack
from golden.seeded import seeded_mel
from golden.tiny import TINY, tiny_weights
from hifigan_rt.engines.reference import generate
from hifigan_rt.errors import CheckpointError, ConfigError, HifiganError
from hifigan_rt.families.vits import PIPER_TRAINING
from hifigan_rt.formats.config_json import config_to_dict
from hifigan_rt.formats.safetensors_writing import write_safetensors
from hifigan_rt.model.resolve import resolve_model

CASES = {
    f"{name}-{case}": (name, case)
    for name, cases in records()
    for case in cases
    if name in ("vits", "piper", "espnet_vits")
}


@pytest.fixture
def voice(tmp_path):
    """Writes a voice's files and gives the one that a user names."""
    return lambda key: unpack(tmp_path / key, *CASES[key])


def latents(frames):
    return seeded_mel(1, 6, frames, 3)[0].astype(np.float32)


@pytest.mark.parametrize("key", CASES)
def test_a_voice_is_spoken_for_one_of_its_speakers(voice, key):
    with hifigan_rt.load(voice(key), engine="native") as vocoder:
        table = vocoder.model.generator.speaker_table
        z, given = latents(40), {} if table is None else {"speaker": 1}
        audio = vocoder(z, segment_frames=16, **given)
        vector = None if table is None else table[1]
        np.testing.assert_allclose(audio, generate(vocoder.model.generator, z, vector), rtol=0, atol=1e-4)
        stream = vocoder.stream(16, **given)
        pieces = [stream.push(z[:, :7]), stream.push(z[:, 7:]), stream.finish()]
        np.testing.assert_array_equal(np.concatenate(pieces), audio)
        assert vocoder.mel_config is None
        with pytest.raises(ConfigError, match="takes latents"):
            vocoder.mel(np.zeros(1000, np.float32))


@pytest.mark.parametrize("key", CASES)
def test_the_decoder_alone_is_written_and_read_back(voice, key, tmp_path):
    model = resolve_model(voice(key))
    path = tmp_path / "decoder.safetensors"
    write_safetensors(model.generator, model.mel_settings, path, "a test", model.speakers)
    again = resolve_model(path)
    assert again.graph.config == model.graph.config
    assert (again.speakers, again.sample_rate) == (model.speakers, model.sample_rate)
    for name, array in model.generator.weights.items():
        np.testing.assert_array_equal(again.generator.weights[name], array)


def test_speakers_have_the_names_of_the_config(voice):
    model = resolve_model(voice("vits-vits"))
    assert (model.speakers, model.sample_rate) == ({"anna": 0, "ben": 1, "cleo": 2}, 16000)
    assert (model.voice.name, model.voice.parts) == ("a VITS voice", ("dp", "enc_p", "enc_q", "flow"))


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (
            lambda config: config["model"].update(inter_channels=192),
            "num_mels: the config says 192",
        ),
        (
            lambda config: config["model"].update(upsample_rates=[4, "2"]),
            r"upsample_rates\[1\]=.* must be a whole",
        ),
        (lambda config: config["model"].pop("upsample_rates"), "the config lacks upsample_rates"),
        (lambda config: config.update(speakers=["a"] * 2 + ["b", "c", "d"]), "has row 3 of a table of 3|has row 4 of"),
        (lambda config: config["data"].update(sampling_rate="fast"), "sampling_rate=.* must be a whole number"),
    ],
)
def test_a_config_that_is_wrong(voice, change, text):
    path = voice("vits-vits")
    config = json.loads((path.parent / "config.json").read_text())
    change(config)
    (path.parent / "config.json").write_text(json.dumps(config))
    with pytest.raises(ConfigError, match=text):
        resolve_model(path)


def test_a_config_in_the_originals_fields_is_taken_too(voice, tmp_path):
    path = voice("piper-medium")
    settings = resolve_model(path).graph.config
    fields = {"upsample_rates": [4, 3], "resblock_dilation_sizes": [[1, 2], [2, 6]], "sampling_rate": 8000}
    (tmp_path / "mine.json").write_text(json.dumps(fields))
    model = resolve_model(path, tmp_path / "mine.json")
    assert (model.graph.config, model.sample_rate) == (settings, 8000)
    (path.parent / "config.json").unlink()
    assert resolve_model(path).graph.config == settings  # the file's own hyper_parameters


@pytest.mark.parametrize("text", ["(8, 8", "eval('1')", "[[[[" * 100, "1,2"])
def test_lists_as_texts(text):
    with pytest.raises(ConfigError, match=r"upsample_rates=.* must be a list of numbers"):
        PIPER_TRAINING.read({"upsample_rates": text}, {})
    given = {"upsample_rates": "(8, 8,)", "resblock_dilation_sizes": "((1, 2), (2, 6))"}
    read = PIPER_TRAINING.read(given, {})
    assert (read["upsample_rates"], read["resblock_dilation_sizes"]) == ([8, 8], [[1, 2], [2, 6]])


def state(**more):
    weights = {name: array for name, array in tiny_weights().items() if name != "conv_post.bias"}
    named = {f"dec.{name}": Tensor(array, f"dec.{name}") for name, array in weights.items()}
    others = {name: Tensor(np.zeros(shape, np.float32), name) for name, shape in more.items()}
    return {"model": {**named, "enc_p.emb.weight": Tensor(np.zeros(3, np.float32), "enc_p"), **others}}


COND = {"dec.cond.weight": (8, 5, 1), "dec.cond.bias": (8,)}


@pytest.mark.parametrize(
    ("more", "speakers", "channels"),
    [
        ({}, 0, 0),
        (COND, 0, 5),  # vectors of a network of its own, as of GPT-SoVITS
        (COND | {"emb_g.weight": (4, 5)}, 4, 5),
        (COND | {"emb_g.weight": (4, 9)}, 0, 5),
        (COND | {"emb_g.weight": (5, 5), "emb_g.bias": (5,)}, 0, 5),  # a linear layer
        ({"emb_g.weight": (4, 5)}, 0, 0),  # of the other parts alone
        (COND | {"emb_g.weight": (4, 5), "lang_emb.weight": (2, 5)}, 0, 5),
    ],
)
def test_the_table_belongs_to_a_decoder_that_takes_its_rows(tmp_path, more, speakers, channels):
    (tmp_path / "x.pth").write_bytes(zip_file(state(**more)))
    (tmp_path / "config.json").write_text(
        json.dumps({"upsample_rates": [4, 2], "resblock_dilation_sizes": [[1, 3], [1, 2]]})
    )
    config = resolve_model(tmp_path / "x.pth").graph.config
    assert (config.num_speakers, config.conditioning_channels) == (speakers, channels)
    assert (config.input_kind, config.layers_without_bias) == ("latent", ("conv_post",))


@pytest.mark.parametrize(
    ("n_speakers", "more", "channels"),
    [
        (0, {}, 0),
        (1, {}, 0),
        (1, {"dec.cond.weight": (8, 0, 1)}, 0),
        (3, {}, 5),
        (None, {}, 5),
        (0, {"ref_enc.proj.weight": (5, 5)}, 5),
        (1, {"enc_spk.linear.weight": (5, 5)}, 5),  # of FreeVC and its relatives
        (1, {"emb_g.weight": (5, 5), "emb_g.bias": (5,)}, 5),
        (1, {"emb_g.weight": (1, 5)}, 5),  # of Bert-VITS2 and Style-Bert-VITS2
    ],
)
def test_a_voice_of_one_speaker_gives_its_decoder_no_vector(tmp_path, n_speakers, more, channels):
    (tmp_path / "x.pth").write_bytes(zip_file(state(**{**COND, **more})))
    model = {"inter_channels": 10, "upsample_rates": [4, 2], "resblock_dilation_sizes": [[1, 3], [1, 2]]}
    (tmp_path / "config.json").write_text(json.dumps({"model": model, "data": {"n_speakers": n_speakers}}))
    found = resolve_model(tmp_path / "x.pth")
    assert found.graph.config.conditioning_channels == channels
    assert any("cond is not used" in note for note in found.notes) == (channels == 0)
    assert ("cond.weight" in found.generator.weights) == (channels > 0)


@pytest.mark.parametrize(
    ("rates", "rate"),
    [
        ({"audio": {"sample_rate": 8000}}, 8000),  # of Mimic 3
        ({"preprocess": {"sample_rate": 8000}}, 8000),  # of Amphion
        ({"data": {"sampling_rate": 8000}, "audio": {"sample_rate": 16000}}, 8000),
        ({"audio": {}}, None),
    ],
)
def test_the_sample_rate_of_a_voice_stands_where_its_project_has_it(tmp_path, rates, rate):
    (tmp_path / "x.pth").write_bytes(zip_file(state()))
    model = {"inter_channels": 10, "upsample_rates": [4, 2], "resblock_dilation_sizes": [[1, 3], [1, 2]]}
    (tmp_path / "config.json").write_text(json.dumps({"model": model, **rates}))
    assert resolve_model(tmp_path / "x.pth").sample_rate == rate


@pytest.mark.parametrize("model", ["freevc", "openvoice"])
def test_a_voice_converter_of_coqui_has_the_sample_rate_of_its_output(tmp_path, model):
    weights = state(**COND, **{"enc_spk.linear.weight": (5, 5)})
    (tmp_path / "model.pth").write_bytes(zip_file(weights))
    network = {"resblock": "1", "upsample_rates": [4, 2], "resblock_dilation_sizes": [[1, 3], [1, 2]]}
    audio = {"input_sample_rate": 16000, "output_sample_rate": 24000, "hop_length": 320, "mel_fmax": None}
    config = {"model": model, "model_args": {"inter_channels": 10, **network}, "audio": audio}
    (tmp_path / "config.json").write_text(json.dumps(config))
    found = resolve_model(tmp_path / "model.pth")
    assert (found.sample_rate, found.graph.config.upsample_rates) == (24000, (4, 2))
    assert (found.graph.config.input_kind, found.graph.config.conditioning_channels) == ("latent", 5)


@pytest.mark.parametrize(
    ("hop_length", "rates", "rate", "note"),
    [
        (8, [4, 2], 16000, ""),
        (8, [4, 3], 24000, "the decoder makes 12 samples of a frame, so that its audio has 24000 Hz"),  # as of FreeVC
        (7, [4, 2], None, "18285.7 Hz"),
        (True, [4, 2], 16000, ""),
    ],
)
def test_a_decoder_gives_another_sample_rate_than_its_frames_recordings_had(tmp_path, hop_length, rates, rate, note):
    (tmp_path / "x.pth").write_bytes(zip_file(state()))
    model = {"inter_channels": 10, "upsample_rates": rates, "resblock_dilation_sizes": [[1, 3], [1, 2]]}
    data = {"sampling_rate": 16000, "hop_length": hop_length}
    (tmp_path / "config.json").write_text(json.dumps({"model": model, "data": data}))
    found = resolve_model(tmp_path / "x.pth")
    assert found.sample_rate == rate
    assert note in "".join(found.notes)
    assert ("recordings that frames come from" in "".join(found.notes)) == bool(note)


def test_the_list_in_a_voice_of_rvc_is_its_config(tmp_path):
    network = config_to_dict(TINY)
    kernels, dilations = network["resblock_kernel_sizes"], network["resblock_dilation_sizes"]
    stages = network["upsample_rates"], network["upsample_initial_channel"], network["upsample_kernel_sizes"]
    config = [65, 32, 10, 10, 32, 2, 6, 3, 0, network["resblock"], kernels, dilations, *stages, 4, 5, 40000]
    weights = state(**COND, **{"emb_g.weight": (4, 5)})["model"]
    path = tmp_path / "voice.pth"
    path.write_bytes(zip_file({"weight": weights, "config": config, "sr": "40k", "f0": 0}))
    found = resolve_model(path)
    assert found.graph.config.upsample_rates == TINY.generator.upsample_rates
    assert (found.graph.config.num_speakers, found.sample_rate) == (4, 40000)
    path.write_bytes(zip_file({"weight": weights, "config": config[:-1], "sr": "40k", "f0": 0}))
    with pytest.raises(ConfigError, match="no config was found"):
        resolve_model(path)


@pytest.mark.parametrize(("zero_g", "more", "said"), [(True, COND, True), (True, {}, False), (False, COND, False)])
def test_a_decoder_that_is_given_zeros(tmp_path, zero_g, more, said):
    (tmp_path / "x.pth").write_bytes(zip_file(state(**more, **{"ref_enc.proj.weight": (5, 5)})))
    model = {"zero_g": zero_g, "upsample_rates": [4, 2], "resblock_dilation_sizes": [[1, 3], [1, 2]], "gin_channels": 5}
    (tmp_path / "config.json").write_text(json.dumps({"model": model, "data": {"n_speakers": 0}}))
    assert any("gives this decoder zeros" in note for note in resolve_model(tmp_path / "x.pth").notes) == said


@pytest.mark.parametrize(
    ("more", "names", "note"),
    [
        ({"speakers": ["a", "b", "c", "None", "None2"]}, {"a": 0, "b": 1, "c": 2}, "lists 5 speakers, the table has 3"),
        ({"data": {"spk2id": {"a": "2", "b": "0"}}}, {"a": 2, "b": 0}, "numbers of speakers as texts"),
    ],
)
def test_speakers_as_people_write_them(voice, more, names, note):
    path = voice("vits-vits")
    config = json.loads((path.parent / "config.json").read_text())
    config["data"].pop("spk2id", None)
    config["data"].update(more.get("data", {}))
    config.pop("speakers", None)
    (path.parent / "config.json").write_text(json.dumps(more | config))
    model = resolve_model(path)
    assert model.speakers == names
    assert any(note in text for text in model.notes)


@pytest.mark.parametrize(
    ("more", "text"),
    [
        ({"dec.cond.weight": (8, 5, 1)}, "cond.bias"),
        (COND | {"dec.cond.weight": (7, 5, 1)}, "cond.weight"),
        ({"dec.m_source.l_linear.weight": (1, 1), "dec.noise_convs.0.weight": (4, 1, 8)}, "NSF-HiFi-GAN"),
        ({"dec.subband_conv_post.weight": (4, 2, 7)}, "inverse STFT"),
    ],
)
def test_what_is_damaged_or_another_network(tmp_path, more, text):
    (tmp_path / "x.pth").write_bytes(zip_file(state(**more)))
    (tmp_path / "config.json").write_text(
        json.dumps({"upsample_rates": [4, 2], "resblock_dilation_sizes": [[1, 3], [1, 2]]})
    )
    with pytest.raises(HifiganError, match=text):
        resolve_model(tmp_path / "x.pth")


def test_a_voice_that_lacks_a_tensor(tmp_path):
    files = state()
    del files["model"]["dec.resblocks.1.convs2.0.bias"]
    (tmp_path / "x.pth").write_bytes(zip_file(files))
    (tmp_path / "config.json").write_text(
        json.dumps({"upsample_rates": [4, 2], "resblock_dilation_sizes": [[1, 3], [1, 2]]})
    )
    with pytest.raises(CheckpointError, match=r"missing     resblocks\.1\.convs2\.0\.bias"):
        resolve_model(tmp_path / "x.pth")


def test_the_decoder_of_paddlespeechs_vits_is_its_vocoder(tmp_path):
    path = unpack(tmp_path / "vocoder", "paddlespeech", "odd")
    generator = pickle.loads(path.read_bytes())["generator_params"]
    params = yaml.safe_load((path.parent / "default.yaml").read_text())["generator_params"]
    decoder = {f"decoder_{name}": value for name, value in params.items() if name.startswith(("ups", "resb", "kernel"))}
    parts = ("text_encoder.emb.weight", "posterior_encoder.input_conv.weight", "flow.flows.0.pre.weight")
    voice = {f"generator.decoder.{name}": tensor for name, tensor in generator.items()}
    voice |= {f"generator.{name}": (name, np.zeros((3, 3), np.float32)) for name in parts}
    given = {"hidden_channels": params["in_channels"], "spks": -1, **decoder}
    model = {"generator_type": "vits_generator", "generator_params": given, "sampling_rate": 22050}
    (tmp_path / "default.yaml").write_text(yaml.safe_dump({"fs": 22050, "model": model}))
    (tmp_path / "snapshot_iter_5.pdz").write_bytes(pickle.dumps({"epoch": 1, "main_params": voice}, protocol=4))
    found, original = resolve_model(tmp_path), resolve_model(path)
    assert (found.family, found.sample_rate) == ("VITS of ESPnet or PaddleSpeech", 22050)
    assert (found.graph.config.input_kind, found.graph.config.upsample_rates) == ("latent", (5, 3))
    z, vector = seeded_mel(1, params["in_channels"], 9, 3)[0], np.ones(params["global_channels"])
    np.testing.assert_array_equal(generate(found.generator, z, vector), generate(original.generator, z, vector))
