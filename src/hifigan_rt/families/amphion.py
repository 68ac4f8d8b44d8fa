"""Amphion's `args.json`: the network within `model`, the original's mel within `preprocess`, partly in other names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hifigan_rt.families.config_fields import as_mapping, take_fields
from hifigan_rt.families.family import ConfigForm, Shapes
from hifigan_rt.formats.config_json import holds_network, stated_fields

_NAMES = {"num_mels": "n_mel", "sampling_rate": "sample_rate"}


def _tells(values: Mapping[str, object]) -> bool:
    preprocess, model = values.get("preprocess"), values.get("model")
    is_vits = isinstance(model, dict) and "inter_channels" in model
    return isinstance(preprocess, dict) and "n_mel" in preprocess and not is_vits and holds_network(values)


def _read(values: Mapping[str, Any], shapes: Shapes) -> Mapping[str, Any]:  # noqa: ARG001 - it states all
    preprocess = as_mapping(values, "preprocess")
    fields = stated_fields(values) | take_fields(preprocess, _NAMES)
    if (mode := preprocess.get("mel_extract_mode")) == "taco":
        fields["unsupported_mel"] = f"mel_extract_mode={mode}"
    return fields


AMPHION_CONFIG = ConfigForm("Amphion", _tells, _read)
