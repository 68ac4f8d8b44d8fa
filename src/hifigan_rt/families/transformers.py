"""Generators of transformers: SpeechT5HifiGan and FastSpeech2ConformerHifiGan, alone or in WithHifiGan.

In their API a mel is `[T, M]`; here it is `[M, T]`, as everywhere.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any

from hifigan_rt.errors import ConfigError
from hifigan_rt.families.config_fields import as_mapping, take_fields
from hifigan_rt.families.family import ConfigForm, Family, Shapes

_NAMES = {
    "num_mels": "model_in_dim",
    "upsample_initial_channel": "upsample_initial_channel",
    "upsample_rates": "upsample_rates",
    "upsample_kernel_sizes": "upsample_kernel_sizes",
    "resblock_kernel_sizes": "resblock_kernel_sizes",
    "resblock_dilation_sizes": "resblock_dilation_sizes",
    "leaky_relu_slope": "leaky_relu_slope",
    "sampling_rate": "sampling_rate",
}
_DEFAULT_RATES = {"speecht5_hifigan": [4, 4, 4, 4], "fastspeech2_conformer_hifigan": [8, 8, 2, 2]}
_DEFAULT_DILATIONS = [[1, 3, 5], [1, 3, 5], [1, 3, 5]]
"""Defaults of configuration_speecht5.py and configuration_fastspeech2_conformer.py, which nested configs leave out."""

_SPEECHT5_MEL = {
    "n_fft": 1024, "win_size": 1024, "hop_size": 256, "fmin": 80.0, "fmax": 7600.0, "log": "log10", "floor": 1e-10,
    "magnitude_epsilon": 0.0, "padding": "center",
}  # fmt: skip
"""Defaults of SpeechT5FeatureExtractor at its 16 kHz, which the vocoder's config does not repeat."""


def _tells(values: Mapping[str, object]) -> bool:
    # fairseq and AudioLDM add the field to the original's.
    is_original = "resblock" in values and "architectures" not in values
    return ("model_in_dim" in values and not is_original) or "vocoder_config" in values


def _read(values: Mapping[str, Any], shapes: Shapes) -> Mapping[str, Any]:  # noqa: ARG001 - the config tells all
    inside = "vocoder_config" in values
    inner = as_mapping(values, "vocoder_config") if inside else values
    kind = "fastspeech2_conformer_hifigan" if inside else inner.get("model_type")
    defaults: dict[str, Any] = {"resblock_dilation_sizes": _DEFAULT_DILATIONS}
    if isinstance(kind, str) and kind in _DEFAULT_RATES:
        defaults["upsample_rates"] = _DEFAULT_RATES[kind]
    fields = defaults | take_fields(inner, _NAMES) | {"resblock": "1"}
    if "upsample_rates" not in fields:
        raise ConfigError("upsample_rates is missing")
    fields["input_normalization"] = inner.get("normalize_before", True)
    if fields.get("sampling_rate") == 16000 and fields.get("num_mels", 80) == 80 and _hop_length(fields) == 256:
        fields |= _SPEECHT5_MEL
    return fields


def _hop_length(fields: Mapping[str, Any]) -> int:
    hop = 1
    for rate in fields["upsample_rates"] if isinstance(fields["upsample_rates"], list) else ():
        hop *= rate if isinstance(rate, int) else 0
    return hop


def _rename(names: Collection[str]) -> Mapping[str, str]:
    return {name: f"ups.{name.removeprefix('upsampler.')}" if name.startswith("upsampler.") else name for name in names}


TRANSFORMERS = Family(
    key="transformers",
    name="transformers",
    layers="conv_pre, upsampler.N, resblocks.N and conv_post",
    parts=frozenset(("conv_pre", "upsampler", "resblocks", "conv_post")),
    needed={
        "conv_pre": re.compile(r"conv_pre\."),
        "upsampler.N": re.compile(r"upsampler\.\d{1,4}\."),
        "resblocks.N.convs1.N": re.compile(r"resblocks\.\d{1,4}\.convs1\.\d{1,4}\."),
    },
    rename=_rename,
    config_forms=(ConfigForm("transformers", _tells, _read),),
    buffers=frozenset(("mean", "scale")),
)
