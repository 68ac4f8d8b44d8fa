import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hifigan_rt.config import PRESETS, GeneratorConfig, MelConfig, ModelConfig
from hifigan_rt.errors import ConfigError
from hifigan_rt.formats.config_json import MAX_CONFIG_BYTES, config_to_dict, parse_config, read_config

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
    assert read_config(name) is PRESETS[name]


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
        ({"resblock_dilation_sizes": [[], [1], [1]]}, "resblock_dilation_sizes[0]=[] must hold at least one dilation"),
        ({"resblock_dilation_sizes": [1, 3, 5]}, "resblock_dilation_sizes[0]=int 1 must be a list"),
        ({"hop_size": 300},
         "hop_size=300 does not match upsample_rates=[8, 8, 2, 2], whose product is 256"),
        ({"fmax": 12000},
         "fmax=12000.0 Hz must be above fmin=0.0 and at most half the sample rate, 11025.0 "
         "(null is half the sample rate)"),
        ({"fmin": -1}, "fmin=-1.0 Hz must be at least 0 and below half the sample rate, 11025.0"),
        ({"win_size": 2048}, "win_length=2048 must be at most n_fft=1024"),
        ({"sampling_rate": "22050"}, "sampling_rate=str '22050' must be a whole number"),
        ({"log": "log2"}, "log='log2' must be 'ln' or 'log10'"),
        ({"log": []}, "log=[] must be 'ln' or 'log10'"),
        ({"norm": "htk"}, "norm='htk' must be 'slaney' or null"),
        ({"padding": "wrap"}, "padding='wrap' must be 'reflect', 'center' or 'zero'"),
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


@pytest.mark.parametrize("field", ["upsample_rates", "resblock_kernel_sizes", "upsample_initial_channel", "n_fft"])
def test_a_missing_field_is_named(field):
    with pytest.raises(ConfigError, match=f"^{field} is missing$"):
        parse_config({key: value for key, value in V1.items() if key != field})


def test_layers_without_end_are_refused():
    fields = V1 | {"resblock_dilation_sizes": [[1] * 1000] * 3}
    with pytest.raises(ConfigError, match=r"ask for 24000 convolutions: at most 4096"):
        parse_config(fields)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is not JSON"),
        (b"<html><body>404</body></html>", "is not JSON"),
        (b"\xff\xfe\x00", "is not JSON"),
        (b"[" * 100_000, "is not JSON"),
        (b"[1, 2]", "a config must be a JSON object, this is list"),
        (b"{}", "upsample_initial_channel is missing"),
        (b" " * (MAX_CONFIG_BYTES + 1), "is larger than 1048576 bytes"),
    ],
)
def test_a_file_that_is_no_config(tmp_path, content, message):
    path = tmp_path / "config.json"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=message):
        read_config(path)


def test_no_such_config(tmp_path):
    with pytest.raises(
        ConfigError, match=r"cannot be read \(No such file or directory\): give a config.json or one of"
    ):
        read_config(tmp_path / "v9")
    with pytest.raises(ConfigError, match=r"cannot be read \(Is a directory\)"):
        read_config(tmp_path)


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from([*V1, "log", "mean", "scale", "floor", "norm", "padding"]), JSON_VALUES))
def test_any_values_give_a_config_or_a_config_error(changes):
    try:
        config = parse_config(V1 | changes)
    except ConfigError:
        return
    assert dataclasses.replace(parse_config(config_to_dict(config)), resblock_was_integer=False) == dataclasses.replace(
        config, resblock_was_integer=False
    )
