import dataclasses

import pytest

from hifigan_rt.config import PRESETS, GeneratorConfig, ModelConfig, PartialMelConfig
from hifigan_rt.errors import CheckpointError, ConfigError
from hifigan_rt.families.architecture import SettledConfig, reconcile, settle_config
from hifigan_rt.formats.config_json import config_to_dict, parse_config
from hifigan_rt.graph import build_graph


def shapes_of(generator: GeneratorConfig):
    return build_graph(generator).weight_shapes()


@pytest.mark.parametrize("name", PRESETS)
def test_published_shapes_are_recognised(name):
    settled = settle_config(shapes_of(PRESETS[name].generator), {})
    assert settled.config == ModelConfig(PRESETS[name].generator, None)
    (assumption,) = settled.assumptions
    assert f"no config was found; all that is known equals preset {name}, so its upsample_rates=[8, 8" in assumption
    assert "and resblock_dilation_sizes=[[1, " in assumption
    assert f"config='{name}' (--config {name}) if it is that one; sample rate and mel settings are unk" in assumption


V1, V2, V3 = (PRESETS[name].generator for name in ("v1", "v2", "v3"))


@pytest.mark.parametrize(
    "generator",
    [
        dataclasses.replace(V1, num_mels=128, upsample_rates=(8, 8, 4, 2)),
        dataclasses.replace(V1, num_mels=100),
        dataclasses.replace(V1, upsample_initial_channel=256),
        dataclasses.replace(V1, upsample_kernel_sizes=(16, 16, 8, 4)),
        dataclasses.replace(V1, upsample_rates=(5, 5, 4, 3), upsample_kernel_sizes=(10, 10, 8, 6)),
        dataclasses.replace(V2, upsample_initial_channel=64),
        dataclasses.replace(V2, resblock_kernel_sizes=(3, 5, 7)),
        dataclasses.replace(V3, upsample_initial_channel=128),
        dataclasses.replace(V3, resblock="1"),
        dataclasses.replace(V3, resblock_dilation_sizes=((1, 2, 4), (2, 6, 8), (3, 12, 1))),
        dataclasses.replace(V1, resblock_dilation_sizes=((1, 3),) * 3),
    ],
)
def test_a_preset_is_assumed_only_where_all_that_is_known_equals_it(generator):
    with pytest.raises(ConfigError, match="no config was found, and the weights decide only part of it"):
        settle_config(shapes_of(generator), {})


@pytest.mark.parametrize(
    "stated",
    [
        {"hop_size": 300},
        {"sampling_rate": 24000},
        {"sampling_rate": 22050, "hop_size": 256, "win_size": 800},
        {"upsample_rates": [8, 8, 4, 1]},
        {"resblock_dilation_sizes": [[1, 3, 9]] * 3},
        {"fmax": None},
    ],
)
def test_what_a_config_states_is_known_too(stated):
    with pytest.raises(ConfigError, match=r"the config lacks .*(upsample_rates|resblock_dilation_sizes), and the wei"):
        settle_config(shapes_of(V1), stated)


def test_what_is_not_stated_is_taken_from_the_weights_and_only_then_from_a_preset():
    fields = config_to_dict(PRESETS["v3"])
    undecided = {name: fields[name] for name in ("upsample_rates", "resblock_dilation_sizes")}
    assert settle_config(shapes_of(V3), undecided) == SettledConfig(ModelConfig(V3))
    odd = dataclasses.replace(V3, num_mels=100, upsample_initial_channel=64)
    assert settle_config(shapes_of(odd), undecided) == SettledConfig(ModelConfig(odd))
    assert settle_config(shapes_of(V3), fields | {"num_mels": None, "resblock": None}).config == PRESETS["v3"]
    settled = settle_config(shapes_of(V3), {"upsample_rates": (8, 8, 4), "sampling_rate": 22050.0, "resblock": 2})
    assert settled.config.generator == V3
    assert settled.config.mel == PartialMelConfig({"sampling_rate": 22050})
    assert settled.assumptions[0].startswith("the config lacks resblock_dilation_sizes; all that is known equals prese")
    assert "unknown" not in settled.assumptions[0]


def test_other_shapes_say_what_is_decided_and_what_is_not():
    generator = GeneratorConfig(64, (5, 4), (10, 8), "1", (3, 5), ((1, 3), (1, 3, 5)), num_mels=40)
    with pytest.raises(ConfigError) as caught:
        settle_config(shapes_of(generator), {})
    assert str(caught.value) == (
        "no config was found, and the weights decide only part of it: num_mels=40, upsample_initial_channel=64, "
        "upsample_kernel_sizes=[10, 8], resblock='1', resblock_kernel_sizes=[3, 5], dilations per residual block "
        "[2, 3]; upsample_rates and resblock_dilation_sizes leave no trace in them: put the model's config.json "
        "beside the file or give --config; where its project has none, a JSON that states them is enough"
    )
    stated = {"upsample_rates": [5, 4], "resblock_dilation_sizes": [[1, 3], [1, 3, 5]]}
    assert settle_config(shapes_of(generator), stated).config == ModelConfig(generator, None)


@pytest.mark.parametrize("name", PRESETS)
def test_the_right_config_passes_unchanged(name):
    assert reconcile(PRESETS[name], shapes_of(PRESETS[name].generator)) == (PRESETS[name], ())


def test_an_integer_resblock_follows_the_weights_as_the_original_does():
    fields = config_to_dict(PRESETS["v3"]) | {"resblock": 1}
    config, notes = reconcile(parse_config(fields), shapes_of(PRESETS["v3"].generator))
    assert config.generator == PRESETS["v3"].generator
    assert "resblock 1 as an integer" in notes[0]


def test_surplus_dilations_are_ignored_as_the_original_does():
    fields = config_to_dict(PRESETS["v3"]) | {"resblock_dilation_sizes": [[1, 2, 9], [2, 6, 9], [3, 12, 9]]}
    config, notes = reconcile(parse_config(fields), shapes_of(PRESETS["v3"].generator))
    assert config.generator == PRESETS["v3"].generator
    assert "the first 2 of each are used" in notes[0]


@pytest.mark.parametrize(
    ("stated", "message"),
    [
        ("v2", "upsample_initial_channel: the config says 128, the weights have 512; config and checkpoint are not of "
               "one model: give the right one with --config"),
        ("v3", "resblock: the config says '2', the weights have '1'; "),
    ],
)  # fmt: skip
def test_a_config_of_another_model_is_refused(stated, message):
    with pytest.raises(ConfigError) as caught:
        reconcile(PRESETS[stated], shapes_of(PRESETS["v1"].generator))
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("num_mels", 100, "num_mels: the config says 100, the weights have 80"),
        ("upsample_kernel_sizes", (16, 16, 4, 8), "upsample_kernel_sizes: the config says [16, 16, 4, 8], the weights"),
        ("resblock_kernel_sizes", (3, 7, 9), "resblock_kernel_sizes: the config says [3, 7, 9], the weights have"),
        ("resblock_dilation_sizes", ((1, 3),) * 3,
         "resblock_dilation_sizes: the config says [2, 2, 2] dilations per residual block, the weights have [3, 3, 3]"),
    ],
)  # fmt: skip
def test_each_contradiction_names_field_and_both_values(field, value, message):
    generator = PRESETS["v1"].generator
    config = ModelConfig(dataclasses.replace(generator, **{field: value}))
    with pytest.raises(ConfigError) as caught:
        reconcile(config, shapes_of(generator))
    assert str(caught.value).startswith(message)


def test_weights_of_another_rank_are_refused():
    with pytest.raises(CheckpointError, match=r"no weights of rank 3, .* for conv_pre and ups.N and resblocks.N\Z"):
        settle_config({"conv_pre.weight": (8, 10)}, {})


def test_both_types_of_residual_blocks_are_refused():
    shapes = shapes_of(PRESETS["v1"].generator) | {"resblocks.0.convs.0.weight": (256, 256, 3)}
    with pytest.raises(CheckpointError, match="residual blocks of both types"):
        settle_config(shapes, {})


def test_a_missing_residual_block_is_noticed():
    shapes = {k: v for k, v in shapes_of(PRESETS["v1"].generator).items() if not k.startswith("resblocks.11.")}
    with pytest.raises(CheckpointError, match="11 residual blocks for 4 upsample stages"):
        settle_config(shapes, {})


def test_weights_whose_channels_are_last_are_told_from_the_kernel_sizes_that_they_would_be():
    shapes = {
        name: (shape[0], shape[2], shape[1]) if len(shape) == 3 else shape for name, shape in shapes_of(V1).items()
    }
    with pytest.raises(CheckpointError, match=r"shape \[256, 3, 256\], channels last, as MLX has it: PyTorch's order"):
        settle_config(shapes, {})
