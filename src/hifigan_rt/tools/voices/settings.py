"""Settings of a voice, from the NAME.onnx.json that Piper writes beside NAME.onnx."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hifigan_rt.engines.text_part import Scales
from hifigan_rt.errors import ConfigError
from hifigan_rt.families.matching import StatedConfig

START, END, PAD = "^", "$", "_"
"""Symbols that begin a sentence, end it, and stand after each symbol."""

PHONEME_TYPES = ("espeak", "text", "pinyin", "hebrew", "japanese", "thai")
"""How Piper makes symbols of text; from the third on with packages of their own, which are not used here."""

LENGTH_SCALES = (0.05, 20.0)
"""Smallest and largest factor of all durations."""
NOISE_SCALES = (0.0, 2.0)
"""Smallest and largest of both: beyond, durations, which grow with the exponential of the noise, fill any memory."""

_DEFAULT_SCALES = {"noise_scale": 0.667, "length_scale": 1.0, "noise_w": 0.8}
"""Piper's own, for a file that leaves them out."""
_MOST_IDS = 1 << 31
_LANGUAGE = re.compile(r"[A-Za-z0-9_+-]{1,40}")


@dataclass(frozen=True)
class VoiceSettings:
    """What the file says beyond sample rate and speakers, which the vocoder's config has."""

    place: str
    """Where they stand, for texts."""
    phoneme_type: str
    """One of `PHONEME_TYPES`."""
    language: str
    """Voice of espeak-ng; empty if the type needs none."""
    locale: str
    """The language as people write it, such as "en_US"; espeak-ng's name if the file does not tell."""
    ids: Mapping[str, tuple[int, ...]]
    """Ids of each symbol."""
    clusters: frozenset[tuple[str, ...]]
    """Rows of symbols that are one."""
    scales: Scales
    """How the voice speaks unless it is told otherwise."""
    default_speaker: int
    num_speakers: int | None
    """None if it is not said."""


def read_settings(stated: StatedConfig) -> VoiceSettings:
    """Read a voice's settings.

    Raises:
        ConfigError: a field is missing, mistyped or out of range, or the file is no voice's.
    """
    try:
        return _read(stated.place, stated.values)
    except ConfigError as error:
        raise ConfigError(f"{stated.place}: {error}") from error


def _read(place: str, values: object) -> VoiceSettings:
    if not isinstance(values, dict) or "phoneme_id_map" not in values:
        raise ConfigError(
            "it has no phoneme_id_map, and so is not the settings of a Piper voice: give the voice's own .onnx.json "
            "with config= (--config)"
        )
    stated_type = values.get("phoneme_type", "espeak")
    # The published es_MX-ald-medium has the name of Piper's constant, "PhonemeType.ESPEAK", in place of its value.
    is_name = isinstance(stated_type, str) and stated_type.startswith("PhonemeType.")
    phoneme_type = stated_type.removeprefix("PhonemeType.").lower() if is_name else stated_type
    if phoneme_type not in PHONEME_TYPES:
        raise ConfigError(f"phoneme_type={stated_type!r} must be one of {', '.join(PHONEME_TYPES)}")
    language = _inner(values, "espeak").get("voice", "")
    if phoneme_type == "espeak" and not (isinstance(language, str) and _LANGUAGE.fullmatch(language)):
        raise ConfigError(f"espeak.voice={language!r} must be the name of a language, such as 'en-us'")
    inference = _inner(values, "inference")
    noise, length, noise_w = (_scale(inference, name) for name in _DEFAULT_SCALES)
    default_speaker = values.get("default_speaker_id", 0)
    if type(default_speaker) is not int or default_speaker < 0:
        raise ConfigError(f"default_speaker_id={default_speaker!r} must be a whole number from 0")
    num_speakers = values.get("num_speakers")
    if num_speakers is not None and (type(num_speakers) is not int or num_speakers < 0):
        raise ConfigError(f"num_speakers={num_speakers!r} must be a whole number from 0")
    stated_language = values.get("language")  # Piper does not read it, and people write it in other ways too
    locale = stated_language.get("code") if isinstance(stated_language, dict) else stated_language
    return VoiceSettings(
        place, phoneme_type, language if phoneme_type == "espeak" else "",
        locale if isinstance(locale, str) else str(language), _ids(values["phoneme_id_map"]),
        _clusters(values.get("vowel_clusters") or []), Scales(noise, length, noise_w), default_speaker, num_speakers,
    )  # fmt: skip


def _inner(values: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    inner = values.get(name, {})
    if not isinstance(inner, dict):
        raise ConfigError(f"{name} must be an object, and is a {type(inner).__name__}")
    return inner


def _scale(inference: Mapping[str, Any], name: str) -> float:
    value = inference.get(name, _DEFAULT_SCALES[name])
    least, most = LENGTH_SCALES if name == "length_scale" else NOISE_SCALES
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not is_number or not least <= value <= most:
        raise ConfigError(f"inference.{name}={value!r} must be a number from {least:g} to {most:g}")
    return float(value)


def _ids(stated: object) -> Mapping[str, tuple[int, ...]]:
    if not isinstance(stated, dict):
        raise ConfigError(f"phoneme_id_map must be an object, and is a {type(stated).__name__}")
    for symbol, ids in stated.items():
        if not isinstance(ids, list) or any(type(number) is not int or not 0 <= number < _MOST_IDS for number in ids):
            raise ConfigError(
                f"phoneme_id_map[{symbol!r}]={str(ids)[:60]} must be a list of whole numbers from 0 to {_MOST_IDS - 1}"
            )
    if missing := [symbol for symbol in (START, END, PAD) if symbol not in stated]:
        raise ConfigError(f"phoneme_id_map lacks {', '.join(map(repr, missing))}, which every sentence has")
    if empty := [symbol for symbol in (START, END) if not stated[symbol]]:
        raise ConfigError(f"phoneme_id_map has no ids for {', '.join(map(repr, empty))}, which every sentence has")
    return {symbol: tuple(ids) for symbol, ids in stated.items()}


def _clusters(stated: object) -> frozenset[tuple[str, ...]]:
    if not isinstance(stated, list) or not all(
        isinstance(cluster, list) and cluster and all(isinstance(symbol, str) for symbol in cluster)
        for cluster in stated
    ):
        raise ConfigError("vowel_clusters must be a list of lists of symbols")
    return frozenset(tuple(cluster) for cluster in stated)
