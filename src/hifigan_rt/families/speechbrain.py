"""SpeechBrain's generators, whose convolutions pad by reflection: what is computed is their `forward`.

Their `inference` puts 5 copies of the first and of the last frame around the mel.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any

from hifigan_rt.errors import CheckpointError, ConfigError
from hifigan_rt.families.config_fields import take_fields
from hifigan_rt.families.family import ConfigForm, Family, Shapes
from hifigan_rt.formats.config_yaml import TAG

_NAMES = {
    "num_mels": "in_channels",
    "resblock": "resblock_type",
    "upsample_initial_channel": "upsample_initial_channel",
    "upsample_rates": "upsample_factors",
    "upsample_kernel_sizes": "upsample_kernel_sizes",
    "resblock_kernel_sizes": "resblock_kernel_sizes",
    "resblock_dilation_sizes": "resblock_dilation_sizes",
}
_MEL_NAMES = {
    "sampling_rate": "sample_rate",
    "n_fft": "n_fft",
    "win_size": "win_length",
    "hop_size": "hop_length",
    "fmin": "mel_fmin",
    "fmax": "mel_fmax",
    "power": "power",
    "mel_scale": "mel_scale",
}
_USUAL = {"mel_normalized": False, "dynamic_range_compression": True}
"""Arguments of which one value is computed."""
_REFERENCE = re.compile(r"!ref\s+<(\w+)>")
_GENERATOR = "!new:speechbrain.lobes.models.HifiGAN.HifiganGenerator"
_MAX_STEPS = 32


def _tells(values: Mapping[str, object]) -> bool:
    return "upsample_factors" in values or any(
        isinstance(value, dict) and str(value.get(TAG, "")).startswith("!new:speechbrain.") for value in values.values()
    )


def _read(values: Mapping[str, Any], shapes: Shapes) -> Mapping[str, Any]:  # noqa: ARG001 - the config tells all
    generator = _generator(values)
    fields = take_fields(generator, _NAMES, needed=("upsample_rates", "resblock_dilation_sizes", "resblock"))
    fields["layers_without_bias"] = [] if generator.get("conv_post_bias", True) else ["conv_post"]
    return fields | _mel(_resolved(values, (*_MEL_NAMES.values(), *_USUAL, "norm")))


def _generator(values: Mapping[str, Any]) -> Mapping[str, Any]:
    """The arguments of the generator: of the object that the file makes, or the fields at its top."""
    made = [value for value in values.values() if isinstance(value, dict) and "HifiGAN." in str(value.get(TAG, ""))]
    for value in made:
        tag = str(value[TAG])
        if tag.endswith(".UnitHifiganGenerator"):
            raise ConfigError("it is a config of SpeechBrain's UnitHifiganGenerator, which takes tokens and no mels")
        if tag == _GENERATOR:
            return {name: _resolve(values, item) for name, item in value.items()}
    return _resolved(values, (*_NAMES.values(), "conv_post_bias"))


def _resolved(values: Mapping[str, Any], names: Collection[str]) -> dict[str, Any]:
    return {name: _resolve(values, values[name]) for name in names if name in values}


def _resolve(values: Mapping[str, Any], value: object) -> Any:
    """Follow `!ref <name>`."""
    for _ in range(_MAX_STEPS):
        if not isinstance(value, str) or not value.startswith("!ref"):
            return value
        match = _REFERENCE.fullmatch(value)
        if match is None or match[1] not in values:
            raise ConfigError(f"{value[:100]!r} is not resolved here: write its value instead")
        value = values[match[1]]
    raise ConfigError(f"references lead in a circle at {str(value)[:100]!r}")


def _mel(values: Mapping[str, Any]) -> dict[str, Any]:
    """The convention of `speechbrain.lobes.models.HifiGAN.mel_spectrogram`, where the file states its arguments."""
    fields = take_fields(values, _MEL_NAMES)
    if "sampling_rate" not in fields:
        return {}
    if "fmax" not in fields and "mel_fmax" in values:
        fields["fmax"] = None
    unsupported = [name for name, usual in _USUAL.items() if values.get(name, usual) != usual]
    if unsupported:
        fields["unsupported_mel"] = ", ".join(f"{name}={values[name]}" for name in unsupported)[:100]
    return fields | {"norm": values.get("norm", "slaney"), "magnitude_epsilon": 0.0, "padding": "center"}


def _imply(fields: Mapping[str, Any], shapes: Shapes) -> Mapping[str, Any]:  # noqa: ARG001 - the weights tell all
    without = {} if "conv_post.bias" in shapes else {"layers_without_bias": ["conv_post"]}
    return {"padding_mode": "reflect", **without}


def _drop_conv(names: Collection[str]) -> Mapping[str, str]:
    if any(name.startswith("cond_layer.") for name in names):
        raise CheckpointError(
            "holds cond_layer of SpeechBrain's cond_channels: the generator there adds its result with frames and "
            "channels exchanged, so that it runs for no usual mel, and what was meant is not known"
        )
    return {name: re.sub(r"\.conv\.(?=(?:weight|bias|parametrizations)\b)", ".", name) for name in names}


SPEECHBRAIN = Family(
    key="speechbrain",
    name="SpeechBrain",
    layers="conv_pre.conv, ups.N.conv, resblocks.N and conv_post.conv",
    parts=frozenset(("conv_pre", "ups", "resblocks", "conv_post", "cond_layer")),
    needed={
        "conv_pre.conv": re.compile(r"conv_pre\.conv\."),
        "ups.N.conv": re.compile(r"ups\.\d{1,4}\.conv\."),
        "resblocks.N.convs1.N.conv or .convs.N.conv": re.compile(
            r"resblocks\.\d{1,4}\.(?:convs1|convs)\.\d{1,4}\.conv\."
        ),
    },
    rename=_drop_conv,
    config_forms=(ConfigForm("SpeechBrain", _tells, _read, files=("hyperparams.yaml",)),),
    imply=_imply,
)
