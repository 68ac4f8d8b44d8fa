"""Configs of NATSpeech and DiffSinger: the original's network beside a mel of their own, in flat fields."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hifigan_rt.families.config_fields import take_fields
from hifigan_rt.families.family import NOTES, ConfigForm, Shapes
from hifigan_rt.formats.config_json import NETWORK_FIELDS

_NAMES = {name: name for name in NETWORK_FIELDS} | {
    "num_mels": "audio_num_mel_bins",
    "sampling_rate": "audio_sample_rate",
    "n_fft": "fft_size",
    "win_size": "win_size",
    "hop_size": "hop_size",
    "fmin": "fmin",
    "fmax": "fmax",
    "floor": "wav2spec_eps",
}
_MEL = {"log": "log10", "magnitude_epsilon": 0.0, "padding": "center_zero"}
_NATSPEECH_FLOOR, _DIFFSINGER_FLOOR = 1e-6, 1e-10
"""The floor that utils/audio of the one has, and vocoders/pwg.py of the other where `wav2spec_eps` is not stated."""
_UNSET = -1
"""An edge of the bands that stands for 0 or half the sample rate."""


def _tells(values: Mapping[str, object]) -> bool:
    return {"audio_sample_rate", "audio_num_mel_bins", "upsample_rates"} <= values.keys()


def _read(values: Mapping[str, Any], shapes: Shapes) -> Mapping[str, Any]:  # noqa: ARG001 - it states all
    # DiffSinger builds its config upon one of its Parallel WaveGAN, whose generator_params stay in it.
    floor = _DIFFSINGER_FLOOR if "generator_params" in values else _NATSPEECH_FLOOR
    fields = {"floor": floor} | take_fields(values, _NAMES)
    for name, edge in (("fmin", 0.0), ("fmax", None)):
        if fields.get(name) == _UNSET:
            fields[name] = edge
    if values.get("loud_norm"):
        fields[NOTES] = (
            "loud_norm is true: recordings have -22 LUFS there before their mel, and here their own level",
        )
    return fields | _MEL


NATSPEECH_CONFIG = ConfigForm("NATSpeech or DiffSinger", _tells, _read)
