"""NVIDIA's config (DeepLearningExamples), which stands in the checkpoint: `config` in the original's fields, and
`train_setup` with the mel settings in its own. Larynx's `config.json` has the same, within `model` and `audio`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hifigan_rt.config import PartialMelConfig
from hifigan_rt.families.config_fields import take_fields
from hifigan_rt.families.family import ConfigForm, Shapes
from hifigan_rt.formats.config_json import holds_network, stated_fields

_MEL_NAMES = {
    "sampling_rate": "sampling_rate",
    "n_fft": "filter_length",
    "win_size": "win_length",
    "hop_size": "hop_length",
    "fmin": "mel_fmin",
    "fmax": "mel_fmax",
}


def _tells(values: Mapping[str, object]) -> bool:
    return _setup(values) is not None and holds_network(values)


def _setup(values: Mapping[str, object]) -> Mapping[str, Any] | None:
    """The mapping with the mel settings, at the top or within it."""
    for fields in (values, *values.values()):
        if isinstance(fields, dict) and {"filter_length", "mel_fmin", "mel_fmax", "num_mels"} <= fields.keys():
            return fields
    return None


def _read(values: Mapping[str, Any], shapes: Shapes) -> Mapping[str, Any]:  # noqa: ARG001 - the config tells all
    setup = _setup(values) or {}
    # Their mel is the original's, with reflection and the same epsilon (hifigan/data_function.py).
    fields = stated_fields(values) | {"fmax": None} | take_fields(setup, _MEL_NAMES)
    # Larynx writes `normalized` for what its vocoder is not given.
    fields.pop(PartialMelConfig.NORMALIZED, None)
    return fields


NVIDIA_CONFIG = ConfigForm("NVIDIA DeepLearningExamples or Larynx", _tells, _read)
