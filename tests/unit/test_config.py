import dataclasses
import json
import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hifigan_rt.config import PRESETS, FlowConfig, GeneratorConfig, MelConfig, ModelConfig, PartialMelConfig
from hifigan_rt.errors import ConfigError
from hifigan_rt.formats.config_json import NETWORK_FIELDS, config_to_dict, parse_config, read_mel_config
from hifigan_rt.formats.graph_fields import GRAPH_FIELDS, SPEAKERS

# The generator and mel fields of config_v1.json, and some of its training fields.
V1 = {
    "resblock": "1", "num_gpus": 0, "batch_size": 16, "learning_rate": 0.0002, "seed": 1234,
    "upsample_rates": [8, 8, 2, 2], "upsample_kernel_sizes": [16, 16, 4, 4], "upsample_initial_channel": 512,
    "resblock_kernel_sizes": [3, 7, 11], "resblock_dilation_sizes": [[1, 3, 5], [1, 3, 5], [1, 3, 5]],
    "segment_size": 8192, "num_mels": 80, "num_freq": 1025, "n_fft": 1024, "hop_size": 256, "win_size": 1024,
    "sampling_rate": 22050, "fmin": 0, "fmax": 8000, "fmax_for_loss": None,
    "dist_config": {"dist_backend": "nccl"},
}  # fmt: skip


def test_v1_is_read_whole():
    config = parse_config(V1)
    assert config == PRESETS["v1"]
    assert config.generator.hop_length == 256
    assert config.mel == MelConfig(22050, 1024, 1024, 256, 80, 0.0, 8000.0)


@pytest.mark.parametrize(("value", "integer"), [("1", False), (1, True), ("2", False), (2, True)])
def test_resblock_as_integer_or_string(value, integer):
    config = parse_config(V1 | {"resblock": value})
    assert config.generator.resblock == str(value)
    assert config.resblock_was_integer is integer


@pytest.mark.parametrize("name", PRESETS)
def test_presets_survive_the_way_through_json(name):
    assert parse_config(json.loads(json.dumps(config_to_dict(PRESETS[name])))) == PRESETS[name]
    assert read_mel_config(name) == PRESETS[name].mel


def test_other_mel_conventions_survive_the_way_through_json():
    mel = MelConfig(
        24000, 2048, 1200, 300, 80, 80.0, 7600.0,
        log="log10", floor=1e-10, magnitude_epsilon=0.0, padding="center", norm=None,
        mean=tuple(range(80)), scale=(2.0,),
    )  # fmt: skip
    generator = GeneratorConfig(512, (5, 5, 4, 3), (10, 10, 8, 6), "1", (3,), ((1, 3, 5),))
    config = ModelConfig(generator, mel)
    assert parse_config(json.loads(json.dumps(config_to_dict(config)))) == config


def test_a_config_without_mel_fields_leaves_them_open():
    fields = {key: V1[key] for key in V1 if key.startswith(("up", "res", "num_mels"))}
    assert parse_config(fields).mel is None


def test_null_fmax_is_half_the_sample_rate():
    assert parse_config(V1 | {"fmax": None}).mel.effective_fmax == 11025


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"resblock": "3"}, "resblock='3' must be '1' or '2'"),
        ({"resblock": True}, "resblock=True must be '1' or '2'"),
        ({"resblock": ["1"]}, "resblock=['1'] must be '1' or '2'"),
        ({"upsample_rates": [8, 8, 2]},
         "upsample_kernel_sizes=[16, 16, 4, 4] has 4 entries and upsample_rates=[8, 8, 2] has 3: "
         "they must be as many"),
        ({"upsample_rates": "8,8,2,2"}, "upsample_rates=str '8,8,2,2' must be a list"),
        ({"upsample_rates": [8, 8, 2, 2.5]}, "upsample_rates[3]=float 2.5 must be a whole number"),
        ({"upsample_rates": [8, 8, 2, 0]}, "upsample_rates[3]=0 must be from 1 to 4096"),
        ({"upsample_rates": [8, 8, 2, True]}, "upsample_rates[3]=bool True must be a whole number"),
        ({"upsample_rates": [1024, 1024, 2], "upsample_kernel_sizes": [1024, 1024, 2], "hop_size": 1 << 21},
         "upsample_rates=[1024, 1024, 2] give 2097152 samples a frame, their product: at most 1048576"),
        ({"upsample_rates": [1024] * 20_000, "upsample_kernel_sizes": [1024] * 20_000},
         "the number of upsample_rates=20000 must be from 1 to 14"),
        ({"upsample_rates": [], "upsample_kernel_sizes": []}, "upsample_rates=[] must hold at least one rate"),
        ({"upsample_kernel_sizes": [4, 16, 4, 4]},
         "upsample_kernel_sizes[0]=4 is smaller than upsample_rates[0]=8: a kernel must cover its rate, or samples "
         "would stay empty"),
        ({"upsample_initial_channel": 8},
         "upsample_initial_channel=8 halves to 0 channels after 4 upsample stages: it must be at least 16"),
        ({"upsample_initial_channel": 10**9}, "upsample_initial_channel=1000000000 must be from 1 to 16384"),
        ({"upsample_initial_channel": float("nan")}, "upsample_initial_channel=float nan must be a whole number"),
        ({"upsample_initial_channel": float("inf")}, "upsample_initial_channel=float inf must be a whole number"),
        ({"upsample_initial_channel": None}, "upsample_initial_channel=NoneType None must be a whole number"),
        ({"resblock_kernel_sizes": [3, 7]},
         "resblock_dilation_sizes=[[1, 3, 5], [1, 3, 5], [1, 3, 5]] has 3 entries and "
         "resblock_kernel_sizes=[3, 7] has 2: they must be as many"),
        ({"resblock_kernel_sizes": [4, 7, 11]},
         "resblock_kernel_sizes[0]=4 with dilation 1 cannot keep the length: (kernel - 1) * dilation must be even"),
        ({"resblock_dilation_sizes": [[1, 3, -5], [1], [1]]},
         "resblock_dilation_sizes[0][2]=-5 must be from 1 to 4096"),
        ({"resblock_dilation_sizes": [[4096] * 128, [1], [1]]},
         "the rows that resblock_dilation_sizes[0] reach over=1048832 must be from 0 to 1048576"),
        ({"resblock_dilation_sizes": [[], [1], [1]]}, "resblock_dilation_sizes[0]=[] must hold at least one dilation"),
        ({"resblock_dilation_sizes": [1, 3, 5]}, "resblock_dilation_sizes[0]=int 1 must be a list"),
        ({"hop_size": 300},
         "hop_size=300 does not match upsample_rates=[8, 8, 2, 2], whose product is 256"),
        ({"fmax": 0}, "fmax=0.0 Hz must be above fmin=0.0 (null is half the sample rate)"),
        ({"fmin": 9000}, "fmax=8000.0 Hz must be above fmin=9000.0 (null is half the sample rate)"),
        ({"fmin": 11025, "fmax": None},
         "fmin=11025.0 Hz must be at least 0 and below half the sample rate, 11025.0"),
        ({"fmax": float("nan")}, "fmax=float nan must be a finite number"),
        ({"fmin": "0"}, "fmin=str '0' must be a finite number"),
        ({"n_fft": 1024.5}, "n_fft=float 1024.5 must be a whole number"),
        ({"hop_size": "256"}, "hop_size=str '256' must be a whole number"),
        ({"use_tanh_at_final": False}, "use_tanh_at_final=bool False is another network: True alone is computed"),
        ({"activation": "SiLU"},
         "activation=str 'SiLU' is another network: lrelu or leaky_relu or LeakyReLU alone is computed"),
        ({"lrelu_slope": 0.2}, "lrelu_slope=float 0.2 is another network: 0.1 alone is computed"),
        ({"activation_function": "torch.nn.functional.silu"}, "activation_function=str 'torch.nn.functional.silu' is "
         "another network: everyvoice.utils.original_hifigan_leaky_relu alone is computed"),
        ({"leaky_relu_slope": 1.5}, "leaky_relu_slope=1.5 must be from 0 (ReLU) to 1"),
        ({"final_slope": "x"}, "final_slope=str 'x' must be a finite number"),
        ({"conv_pre_kernel_size": 4}, "conv_pre_kernel_size=4 cannot keep the length: it must be odd"),
        ({"conv_post_kernel_size": 0}, "conv_post_kernel_size=0 must be from 1 to 1024"),
        ({"padding_mode": "circular"}, "padding_mode='circular' must be 'zeros', 'reflect' or 'replicate'"),
        ({"padding_mode": "reflect", "causal": True},
         "causal=true pads with zeros: padding_mode='reflect' contradicts it"),
        ({"causal": 1}, "causal=int 1 must be true or false"),
        ({"causal": True, "upsample_paddings": [[4, 4]] * 4},
         "causal=true says which rows are kept: upsample_paddings contradicts it"),
        ({"upsample_paddings": [[4, 4]]},
         "upsample_paddings=[[4, 4]] has 1 entries and upsample_rates=[8, 8, 2, 2] has 4: they must be as many"),
        ({"upsample_paddings": [[4, 4], [4, 4, 4], [1, 1], [1, 1]]},
         "upsample_paddings[1]=list [4, 4, 4] must be two numbers: rows cut off left and right"),
        ({"upsample_paddings": [[4, 4], [-1, 9], [1, 1], [1, 1]]},
         "upsample_paddings[1]=[-1, 9] must be rows cut off the left and the right end, from 0 and in sum below "
         "upsample_kernel_sizes[1]=16"),
        ({"upsample_paddings": [[4, 4], [8, 8], [1, 1], [1, 1]]},
         "upsample_paddings[1]=[8, 8] must be rows cut off the left and the right end, from 0 and in sum below "
         "upsample_kernel_sizes[1]=16"),
        ({"layers_without_bias": "conv_post"}, "layers_without_bias=str 'conv_post' must be a list"),
        ({"conditioning_channels": 8},
         "conditioning_channels=8 and conditioned_layers=[]: one of them without the other means nothing"),
        ({"conditioning_channels": 8, "conditioned_layers": ["ups.4"]},
         'conditioned_layers=["ups.4"] must name some of conv_pre, ups.0, ups.1, ups.2, ups.3, each once'),
        ({"conditioning_channels": 8, "conditioned_layers": ["ups.1", "ups.1"]},
         'conditioned_layers=["ups.1", "ups.1"] must name some of conv_pre, ups.0, ups.1, ups.2, ups.3, each once'),
        ({"speaker_table_size": 4},
         "num_speakers=4 is the size of a table of conditioning vectors, and conditioning_channels=0 says that there "
         "is none"),
        ({"speaker_ids": {"a": 0}}, "speakers: 'a' has row 0 of a table of 0 speakers"),
        ({"speaker_ids": ["a"]}, "speaker_ids=list ['a'] must be an object of at most 1048576 names"),
        ({"output_activation": "sigmoid"}, "output='sigmoid' must be 'tanh', 'clamp' or 'none'"),
        ({"input_kind": "wave"}, "input_kind='wave' must be 'mel' or 'latent'"),
        ({"upsample_rates": [[[[[[1]]]]]]}, "upsample_rates holds more than 4 lists within each other"),
        ({"log": [[[[[[]]]]]]}, "log holds more than 4 lists within each other"),
        ({"fmin": -1}, "fmin=-1.0 Hz must be at least 0 and below half the sample rate, 11025.0"),
        ({"win_size": 2048}, "win_size=2048 must be at most n_fft=1024"),
        ({"sampling_rate": 1 << 21}, "sampling_rate=2097152 must be from 1 to 1048576"),
        ({"sampling_rate": "22050"}, "sampling_rate=str '22050' must be a whole number"),
        ({"log": "log3"}, "log='log3' must be 'ln', 'log10', 'log2', 'log1p' or 'db'"),
        ({"log": []}, "log=[] must be 'ln', 'log10', 'log2', 'log1p' or 'db'"),
        ({"norm": "htk"}, "norm='htk' must be 'slaney' or null"),
        ({"padding": "wrap"}, "padding='wrap' must be 'reflect', 'center', 'zero' or 'center_zero'"),
        ({"floor": 0}, "floor=0.0 must be a finite number above 0"),
        ({"floor": "1e-5"}, "floor=str '1e-5' must be a finite number"),
        ({"mean": [0.0, 1.0]}, "mean holds 2 values: one, or num_mels=80, are needed"),
        ({"scale": 0}, "scale holds a 0 or a number that is not finite: the mel is divided by it"),
    ],
)  # fmt: skip
def test_each_broken_field_is_named_with_its_value_and_rule(change, message):
    with pytest.raises(ConfigError) as caught:
        parse_config(V1 | change)
    assert str(caught.value) == message


@pytest.mark.parametrize("field", ["upsample_rates", "resblock_kernel_sizes", "upsample_initial_channel", "resblock"])
def test_a_missing_field_is_named(field):
    with pytest.raises(ConfigError, match=f"^{field} is missing$"):
        parse_config({key: value for key, value in V1.items() if key != field})


EVERYTHING = ModelConfig(
    GeneratorConfig(
        8, (3, 2), (6, 5), "2", (3,), ((1,),), 5, conv_pre_kernel_size=5, conv_post_kernel_size=3, leaky_relu_slope=0.2,
        final_slope=0.0, upsample_paddings=((2, 1), (1, 2)), padding_mode="replicate", layers_without_bias=("ups.1",),
        input_normalization=True, pre_linear=7, conditioning_channels=4, conditioned_layers=("conv_pre", "ups.0"),
        num_speakers=3, output="clamp", input_kind="latent",
    ),
    PartialMelConfig({"sampling_rate": 8000}),
    speakers={"Ann": 0, "Bo": 2},
)  # fmt: skip


def test_our_form_of_a_config_carries_all_of_a_network():
    written = json.loads(json.dumps(config_to_dict(EVERYTHING)))
    assert parse_config(written) == EVERYTHING
    causal = replace(EVERYTHING, generator=replace(
        EVERYTHING.generator, padding_mode="zeros", causal=True, upsample_paddings=None
    ))  # fmt: skip
    assert parse_config(config_to_dict(causal)) == causal
    flow = FlowConfig(7, couplings=3, layers=2, kernel_size=3, dilation_rate=2, is_conditioned=True)
    behind = replace(EVERYTHING, generator=replace(
        EVERYTHING.generator, num_mels=6, input_normalization=False, pre_linear=0, flow=flow
    ))  # fmt: skip
    assert parse_config(json.loads(json.dumps(config_to_dict(behind)))) == behind
    usual = [
        field.name
        for field in dataclasses.fields(GeneratorConfig)
        if getattr(EVERYTHING.generator, field.name) == field.default
    ]
    assert usual == ["causal", "flow"]


def test_what_is_at_its_default_is_not_written():
    assert list(config_to_dict(PRESETS["v1"])) == [
        "resblock", "upsample_rates", "upsample_kernel_sizes", "upsample_initial_channel", "resblock_kernel_sizes",
        "resblock_dilation_sizes", "num_mels", "sampling_rate", "n_fft", "win_size", "hop_size", "fmin", "fmax",
    ]  # fmt: skip


def test_a_decoder_of_latents_keeps_the_sample_rate_alone():
    assert parse_config(V1 | {"input_kind": "latent"}).mel == PartialMelConfig({"sampling_rate": 22050})
    with pytest.raises(ConfigError, match="input_kind='latent' has no mel"):
        replace(PRESETS["v1"], generator=replace(PRESETS["v1"].generator, input_kind="latent"))


def test_layers_without_end_are_refused():
    fields = V1 | {"resblock_dilation_sizes": [[1] * 1000] * 3}
    with pytest.raises(ConfigError, match=r"ask for 24000 convolutions: at most 4096"):
        parse_config(fields)


def test_an_analysis_needs_no_network(tmp_path):
    path = tmp_path / "mel.json"
    for values in (V1, {"audio": MEL | {"num_mels": 80}}, MEL | {"num_mels": 80}):
        path.write_text(json.dumps(values))
        assert read_mel_config(path) == read_mel_config("v1") == PRESETS["v1"].mel
    path.write_text(json.dumps(NETWORK | {"sampling_rate": 22050, "fmin": 0}))
    with pytest.raises(ConfigError, match=r"must be known to analyse recordings; missing: n_fft, win_size, fmax$"):
        read_mel_config(path)
    path.write_text(json.dumps(MEL))
    with pytest.raises(ConfigError, match=r"mel.json': num_mels is missing"):
        read_mel_config(path)


WITHOUT_MEL = {name: value for name, value in V1.items() if name in NETWORK_FIELDS}


@pytest.mark.parametrize(
    ("stated", "missing"),
    [
        ({"sampling_rate": 22050}, ("n_fft", "win_size", "fmin", "fmax")),
        ({"sampling_rate": 22050.0, "n_fft": 1024, "win_size": 1024, "fmin": 0}, ("fmax",)),
        ({"n_fft": 1024, "hop_size": 256, "win_size": 1024, "fmin": 0, "fmax": None}, ("sampling_rate",)),
        ({"sampling_rate": 22050, "n_fft": None, "win_size": None, "fmin": None, "fmax": 8000},
         ("n_fft", "win_size", "fmin")),
    ],
)  # fmt: skip
def test_what_is_stated_of_the_mel_is_kept_and_what_is_missing_is_known(stated, missing):
    mel = parse_config(WITHOUT_MEL | stated).mel
    assert isinstance(mel, PartialMelConfig)
    assert (mel.missing, mel.sample_rate) == (missing, stated.get("sampling_rate"))
    assert parse_config(json.loads(json.dumps(config_to_dict(parse_config(WITHOUT_MEL | stated))))).mel == mel


def test_only_the_hop_follows_from_the_network():
    assert parse_config({name: value for name, value in V1.items() if name != "hop_size"}) == PRESETS["v1"]


@pytest.mark.parametrize(
    ("stated", "message"),
    [
        ({"win_size": 2048, "n_fft": 1024}, "win_size=2048 must be at most n_fft=1024"),
        ({"fmin": -5}, "fmin=-5.0 Hz must be at least 0"),
        ({"sampling_rate": "22050.0"}, r"sampling_rate=str '22050\.0' must be a whole number"),
        ({"hop_size": 300}, "hop_size=300 does not match upsample_rates"),
        ({"sampling_rate": 8000, "fmin": 5000}, "fmin=5000.0 Hz must be at least 0 and below half the sample rate"),
    ],
)
def test_what_is_stated_must_be_right_though_some_is_missing(stated, message):
    with pytest.raises(ConfigError, match=message):
        parse_config(WITHOUT_MEL | stated)


def test_what_the_original_computes_is_accepted():
    assert parse_config(V1 | {"leaky_relu_slope": 0.1}) == PRESETS["v1"]
    assert parse_config(V1 | {"fmax": 12000, "sampling_rate": 16000.0}).mel.effective_fmax == 12000
    short = parse_config(V1 | {"n_fft": 200, "win_size": 200}).mel
    assert (short.hop_length, short.n_fft) == (256, 200)


NETWORK, MEL = WITHOUT_MEL, {name: value for name, value in V1.items() if name not in WITHOUT_MEL}


@pytest.mark.parametrize(
    "values",
    [
        {"model": V1},
        {"generator": NETWORK, "audio": MEL},
        {"model": NETWORK, "data": MEL, "train": {"log": "wandb", "padding": 7, "seed": 1}},
        {"hifigan": {"generator": {"params": NETWORK}}, "preprocessing": {"audio": MEL}},
        NETWORK | {"audio": MEL, "discriminator": {"upsample_rates": [2], "leaky_relu_slope": 0.2}},
        V1 | {"data": {"sampling_rate": 44100}, "upsample_rates": tuple(V1["upsample_rates"])},
    ],
)
def test_fields_are_found_in_objects_within(values):
    assert parse_config(values) == PRESETS["v1"]


def test_a_field_in_two_places_is_told():
    with pytest.raises(ConfigError, match=r"upsample_rates is list \[8, 8, 2, 2\] in 'a' and list \[8, 8, 4\] in 'b'"):
        parse_config({"a": NETWORK, "b": {"upsample_rates": [8, 8, 4]}})


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


FUZZED = [*V1, "log", "mean", "scale", "floor", "norm", "padding", *GRAPH_FIELDS, SPEAKERS]


@given(st.dictionaries(st.sampled_from(FUZZED), JSON_VALUES))
def test_any_values_give_a_config_or_a_config_error(changes):
    try:
        config = parse_config(V1 | changes)
    except ConfigError:
        return
    assert dataclasses.replace(parse_config(config_to_dict(config)), resblock_was_integer=False) == dataclasses.replace(
        config, resblock_was_integer=False
    )


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("hop_length", 256.0),
        ("num_mels", "80"),
        ("sample_rate", None),
        ("num_mels", True),
        ("n_fft", 1024.5),
        ("win_length", [1024]),
    ],
)
def test_a_number_of_another_type_in_python_is_told(field, value):
    assert PRESETS["v1"].mel is not None
    with pytest.raises(ConfigError, match=rf"^{field}={re.escape(repr(value))} must be a whole number from [12] to "):
        replace(PRESETS["v1"].mel, **{field: value})
    with pytest.raises(ConfigError, match=r"^upsample_rates\[1\]='8' must be a whole number from 1 to 4096$"):
        replace(PRESETS["v1"].generator, upsample_rates=(8, "8", 2, 2))


@pytest.mark.parametrize("value", [[0.5], np.ones(80), 0.5, "0.5"])
@pytest.mark.parametrize("field", ["mean", "scale"])
def test_statistics_of_another_type_in_python_are_told(field, value):
    with pytest.raises(ConfigError) as caught:
        replace(PRESETS["v1"].mel, **{field: value})
    kind = type(value).__name__
    assert str(caught.value) == f"{field} is a {kind}: give a tuple of numbers, one for each band or one for all"


def test_numbers_of_numpy_are_numbers():
    assert PRESETS["v1"].mel is not None
    assert replace(PRESETS["v1"].mel, hop_length=np.int32(256)) == PRESETS["v1"].mel


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"kernel_size": 4}, "flow.kernel_size=4 cannot keep the length: it must be odd"),
        ({"layers": 5, "dilation_rate": 9}, "the dilation of flow.layers=5=6561 must be from 1 to 4096"),
        ({"layers": 4000, "couplings": 1, "dilation_rate": 4096}, "flow.layers=4000 must be from 1 to 13"),
        ({"layers": 4096, "couplings": 1, "kernel_size": 1023},
         "the rows that flow.couplings * flow.layers reach over=4186112 must be from 0 to 1048576"),
    ],
)  # fmt: skip
def test_a_flow_beyond_bounds(values, text):
    with pytest.raises(ConfigError, match=re.escape(text)):
        FlowConfig(192, **values)
