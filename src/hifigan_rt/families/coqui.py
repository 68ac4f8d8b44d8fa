"""Coqui TTS: vocoders, and the decoders of its XTTS and VITS voices. What is computed is their generator's `forward`.

Its `inference` puts 5 copies of the first and of the last frame around the mel.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping
from typing import Any

from hifigan_rt.errors import ConfigError
from hifigan_rt.families.config_fields import as_mapping, take_fields
from hifigan_rt.families.family import NOTES, ConfigForm, Family, Shapes
from hifigan_rt.families.knn_vc import KNN_VC_CONFIG
from hifigan_rt.formats.config_values import as_number

_NAMES = {
    "resblock": "resblock_type",
    "upsample_initial_channel": "upsample_initial_channel",
    "upsample_rates": "upsample_factors",
    "upsample_kernel_sizes": "upsample_kernel_sizes",
    "resblock_kernel_sizes": "resblock_kernel_sizes",
    "resblock_dilation_sizes": "resblock_dilation_sizes",
}
_DECODER_NAMES = {
    "resblock": "resblock_type_decoder",
    "upsample_initial_channel": "upsample_initial_channel_decoder",
    "upsample_rates": "upsample_rates_decoder",
    "upsample_kernel_sizes": "upsample_kernel_sizes_decoder",
    "resblock_kernel_sizes": "resblock_kernel_sizes_decoder",
    "resblock_dilation_sizes": "resblock_dilation_sizes_decoder",
}
_DECODER_DEFAULTS: dict[str, Any] = {
    "resblock": "1", "upsample_rates": [8, 8, 2, 2], "resblock_dilation_sizes": [[1, 3, 5], [1, 3, 5], [1, 3, 5]],
}  # fmt: skip
"""Defaults of XTTS (tts/layers/xtts/hifigan_decoder.py) and VITS (tts/models/vits.py); weights decide the rest."""
_CONVERTERS = ("freevc", "openvoice")
"""Voices whose arguments have the original's names."""
_MEL_NAMES = {
    "sampling_rate": "sample_rate",
    "n_fft": "fft_size",
    "win_size": "win_length",
    "hop_size": "hop_length",
    "fmin": "mel_fmin",
    "fmax": "mel_fmax",
}
_AUDIO_DEFAULTS: Mapping[str, Any] = {
    "log_func": "np.log10", "spec_gain": 20, "ref_level_db": 20, "min_level_db": -100, "signal_norm": True,
    "symmetric_norm": True, "max_norm": 4.0, "clip_norm": True, "preemphasis": 0.0, "stats_path": None,
    "do_amp_to_db_mel": True, "stft_pad_mode": "reflect",
}  # fmt: skip
"""Defaults of BaseAudioConfig (config/shared_configs.py)."""
_UNSUPPORTED: Mapping[str, Any] = {
    "preemphasis": 0.0, "stats_path": None, "do_amp_to_db_mel": True, "stft_pad_mode": "reflect",
}  # fmt: skip
"""Settings of which one value alone is computed."""
_LEVELLINGS = ("do_sound_norm", "do_rms_norm")
_FLOOR = 1e-8
"""Below which Coqui's amp_to_db raises magnitudes since August 2022; it was 1e-5 before."""


def _tells_vocoder(values: Mapping[str, object]) -> bool:
    return "generator_model" in values or "generator_model_params" in values


def _read_vocoder(values: Mapping[str, Any], shapes: Shapes) -> Mapping[str, Any]:
    model = values.get("generator_model", "hifigan_generator")
    if str(model).lower() != "hifigan_generator":
        raise ConfigError(f"generator_model={str(model)[:100]!r} is another network: hifigan_generator alone is read")
    parameters = as_mapping(values, "generator_model_params")
    fields = take_fields(parameters, _NAMES, needed=("upsample_rates", "resblock_dilation_sizes", "resblock"))
    # It compares with the text "1", as the original does.
    fields |= _bias(shapes) if parameters.get("conv_post_bias") is False else {}
    audio = values.get("audio")
    return fields | {"input_kind": "mel"} | (_mel(audio) if isinstance(audio, dict) else {})


def _tells_voice(values: Mapping[str, object]) -> bool:
    return isinstance(values.get("model_args"), dict) and values.get("model") in ("xtts", "vits", *_CONVERTERS)


def _read_voice(values: Mapping[str, Any], shapes: Shapes) -> Mapping[str, Any]:
    arguments, audio = as_mapping(values, "model_args"), values.get("audio")
    if values["model"] in _CONVERTERS:
        fields = take_fields(arguments, {name: name for name in _DECODER_NAMES})
    else:
        fields = _DECODER_DEFAULTS | take_fields(arguments, _DECODER_NAMES)
    fields |= _bias(shapes) | {"input_kind": "latent"}
    rate = arguments.get("output_sample_rate")
    for name in ("output_sample_rate", "sample_rate"):
        if rate is None and isinstance(audio, dict):
            rate = audio.get(name)
    return fields | ({} if rate is None else {"sampling_rate": rate})


def _bias(shapes: Shapes) -> dict[str, Any]:
    return {} if "conv_post.bias" in shapes else {"layers_without_bias": ["conv_post"]}


def _mel(values: Mapping[str, Any]) -> dict[str, Any]:
    """The convention of AudioProcessor.melspectrogram (utils/audio/processor.py)."""
    fields = {"win_size": 1024, "n_fft": 1024, "fmin": 0.0, "fmax": None} | take_fields(values, _MEL_NAMES)
    stated = dict(_AUDIO_DEFAULTS) | {name: values[name] for name in _AUDIO_DEFAULTS if name in values}
    stated["do_amp_to_db_mel"] = bool(stated["do_amp_to_db_mel"])
    if not (stated["stats_path"] and stated["signal_norm"]):
        stated["stats_path"] = None
    unsupported = [
        f"{name}={stated[name]}" for name, usual in _UNSUPPORTED.items() if stated[name] not in (usual, None)
    ]
    if stated["log_func"] not in ("np.log", "np.log10"):
        unsupported.append(f"log_func={stated['log_func']}")
    try:
        fields |= _lengths(values)
    except ConfigError as error:
        del fields["win_size"]
        unsupported.append(str(error))
    try:
        fields |= _levels(stated)
    except ConfigError as error:
        unsupported.append(str(error))
    if unsupported:
        fields["unsupported_mel"] = ", ".join(unsupported)[:100]
    if levelled := [name for name in _LEVELLINGS if values.get(name)]:
        told = " and ".join(levelled)
        fields[NOTES] = (f"{told} is true: recordings have one level there before their mel, and here their own",)
    return fields | {"magnitude_epsilon": 0.0, "padding": "center"}


def _lengths(values: Mapping[str, Any]) -> dict[str, Any]:
    """Hop and window by milliseconds, which are looked at where `hop_length` is null (millisec_to_length there)."""
    if values.get("hop_length", 256) is not None:
        if values.get("win_length", 1024) is None:
            raise ConfigError("win_length=None beside a hop_length")
        return {}
    length, shift = (as_number(name, values.get(name)) for name in ("frame_length_ms", "frame_shift_ms"))
    if not (shift > 0 and (length / shift).is_integer()):
        raise ConfigError(f"frame_shift_ms={shift}, which does not divide frame_length_ms={length}")
    window = int(length / 1000.0 * as_number("sample_rate", values.get("sample_rate", 22050)))
    return {"win_size": window, "hop_size": int(window / (length / shift))}


def _levels(stated: Mapping[str, Any]) -> dict[str, Any]:
    """Gain and ranges as a mean and a scale of the logarithm, and clipping as a floor and a ceiling."""
    levels = [as_number(name, stated[name]) for name in ("spec_gain", "ref_level_db", "min_level_db", "max_norm")]
    try:
        fields = _ranges(stated, *levels)
    except ArithmeticError:
        fields = {"scale": math.inf}
    if not all(math.isfinite(value) for value in fields.values() if isinstance(value, float)):
        raise ConfigError(f"levels out of all range, {', '.join(f'{level:g}' for level in levels)}")
    return fields


def _ranges(stated: Mapping[str, Any], gain: float, reference: float, minimum: float, largest: float) -> dict[str, Any]:
    log = "ln" if stated["log_func"] == "np.log" else "log10"
    if not stated["signal_norm"]:
        return {"log": log, "floor": _FLOOR} | ({} if gain == 1 else {"scale": 1 / gain})
    # [reference + minimum, reference] becomes [-largest, largest], or [0, largest].
    low, span = (-largest, 2 * largest) if stated["symmetric_norm"] else (0.0, largest)
    if not (gain > 0 and minimum < 0 < largest):
        raise ConfigError(f"spec_gain={gain}, min_level_db={minimum}, max_norm={largest}")
    scale = -minimum / span
    fields = {"log": log, "floor": _FLOOR, "mean": (reference + minimum - low * scale) / gain, "scale": scale / gain}
    if stated["clip_norm"]:
        base = math.e if log == "ln" else 10.0
        fields["floor"] = max(_FLOOR, base ** ((reference + minimum) / gain))
        fields["ceiling"] = base ** (reference / gain)
    return fields


def _rename(names: Collection[str]) -> Mapping[str, str]:
    return {name: re.sub(r"\Acond_layer\.", "cond.", name) for name in names}


def _imply(fields: Mapping[str, Any], shapes: Shapes) -> Mapping[str, Any]:
    # A linear layer takes features of another network; where it takes mels, a config says so, ours or Coqui's.
    takes_features = "lin_pre.weight" in shapes and "pre_linear" not in fields
    return _bias(shapes) | ({"input_kind": "latent"} if takes_features else {})


COQUI_VOCODER = ConfigForm("Coqui TTS", _tells_vocoder, _read_vocoder)
COQUI_VOICE = ConfigForm("Coqui TTS", _tells_voice, _read_voice)

COQUI = Family(
    key="coqui",
    name="Coqui TTS",
    layers="conv_pre, ups.N, resblocks.N, conv_post, and cond_layer, conds.N or lin_pre",
    parts=frozenset(("conv_pre", "ups", "resblocks", "conv_post", "cond_layer", "conds", "lin_pre")),
    needed={
        "conv_pre": re.compile(r"conv_pre\."),
        "ups.N": re.compile(r"ups\.(\d{1,4})\."),
        "resblocks.N.convs1.N or .convs.N": re.compile(r"resblocks\.\d{1,4}\.(convs1|convs)\.\d{1,4}\."),
        "cond_layer, conds.N or lin_pre": re.compile(r"(?:cond_layer|conds\.\d{1,4}|lin_pre)\."),
    },
    rename=_rename,
    config_forms=(COQUI_VOCODER, COQUI_VOICE, KNN_VC_CONFIG),
    imply=_imply,
)
