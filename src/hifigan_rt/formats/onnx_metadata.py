"""What an exported ONNX file says about itself: written by the builder, read back by the inspector."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping

from hifigan_rt.config import GeneratorConfig, ModelConfig, PartialMelConfig
from hifigan_rt.errors import ConfigError, ModelFileError
from hifigan_rt.formats.config_json import config_to_dict, known_mel_fields, parse_config
from hifigan_rt.formats.config_values import each_once

PRODUCER_NAME = "hifigan-rt"

MODEL_TYPE = "hifigan"
"""sherpa-onnx chooses its vocoder by this value of `model_type` (sherpa-onnx: csrc/vocoder.cc)."""

_NAMES: Mapping[str, tuple[str, ...]] = {
    "sample_rate": ("sample_rate", "sampling_rate"),
    "hop_length": ("hop_length", "hop_size"),
    "num_mels": ("num_mels", "n_mels"),
    "n_fft": ("n_fft",),
    "win_length": ("win_length", "win_size"),
}
"""Settings under the names that exporters of vocoders give them."""

MEL_INPUT_NAME = "mel_spec"
LATENT_INPUT_NAME = "latent"
"""Name of the input of a decoder that takes values of another network in place of a mel."""
CONDITIONING_INPUT_NAME = "conditioning"
"""float32 `[B, G]` beside the mel: a vector for each item."""
SPEAKER_INPUT_NAME = "speaker"
"""int64 `[B]` beside the mel: rows of the table of speakers that the file has."""
AUDIO_OUTPUT_NAME = "wavs"


def input_name(config: GeneratorConfig) -> str:
    """What the first input of an exported file is called."""
    return LATENT_INPUT_NAME if config.input_kind == "latent" else MEL_INPUT_NAME


def build_metadata(config: ModelConfig, source: str) -> dict[str, str]:
    """The entries of `metadata_props`: single settings for other programs, and the whole config for ours.

    Args:
        config: the architecture, and the mel settings if they are known.
        source: where the weights came from; left out if empty.
    """
    entries: dict[str, object] = {
        "model_type": MODEL_TYPE,
        "version": 1,
        "hop_length": config.generator.hop_length,
        "num_mels": config.generator.input_channels,
    }
    if source:
        entries["source"] = source
    mel = config.mel
    if isinstance(mel, PartialMelConfig):
        entries |= {name: value for name, value in known_mel_fields(mel).items() if value is not None}
    elif mel is not None:
        entries |= {
            "sample_rate": mel.sample_rate,
            "n_fft": mel.n_fft,
            "win_length": mel.win_length,
            "fmin": mel.fmin,
            "fmax": mel.effective_fmax,
            "mel_log": mel.log,
            "mel_floor": mel.floor,
            "mel_norm": mel.norm or "none",
        }
    entries["config"] = json.dumps(config_to_dict(config))
    return {key: str(value) for key, value in entries.items()}


def read_config_from_metadata(metadata: Mapping[str, str], producer_name: str) -> ModelConfig | None:
    """The config that `build_metadata` wrote, or None if the file carries none.

    Raises:
        ModelFileError: the file is ours, and its config is damaged. Another program's "config" may hold anything
            and is passed over.
    """
    text = metadata.get("config")
    if text is None:
        return None
    try:
        return parse_config(json.loads(text, object_pairs_hook=each_once))
    except (ValueError, RecursionError, ConfigError) as error:
        if producer_name != PRODUCER_NAME:
            return None
        raise ModelFileError(f"the metadata entry 'config' is damaged ({error}): export the model again") from error


def contradictions(metadata: Mapping[str, str], config: ModelConfig) -> list[str]:
    """What a converted file says of itself, and a config that is given with it says otherwise.

    Args:
        metadata: the file's entries, whoever wrote them; what is no number is passed over.
        config: what is given.

    Returns:
        One text for each setting that both name, with both values.
    """
    given = known_mel_fields(config.mel) | {
        "hop_length": config.generator.hop_length,
        "num_mels": config.generator.input_channels,
    }
    return [
        f"{name}={said:g} in the file and {given[name]} in the config"
        for name, names in _NAMES.items()
        if (said := _number(metadata, names)) is not None and said != given.get(name, said)
    ]


def stated_sample_rate(metadata: Mapping[str, str]) -> int | None:
    """The sample rate that a file's entries name, whoever wrote them; None for what is no whole number above 0."""
    rate = _number(metadata, _NAMES["sample_rate"])
    return int(rate) if rate is not None and 0 < rate <= 1 << 20 and rate == int(rate) else None


def _number(metadata: Mapping[str, str], names: tuple[str, ...]) -> float | None:
    for name in names:
        try:
            value = float(metadata[name])
        except (KeyError, ValueError):
            continue
        if math.isfinite(value):
            return value
    return None
