"""Opens a voice's .onnx: which of its values the generator reads, and whether all parts of a voice are there."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from hifigan_rt.engines import REGISTRY, choose_engine
from hifigan_rt.engines.base import EngineOptions
from hifigan_rt.engines.text_part import IDS, LENGTHS, SCALES, SPEAKER, TextPart
from hifigan_rt.errors import ConfigError, ModelFileError, ModelNotFound
from hifigan_rt.families.matching import StatedConfig
from hifigan_rt.formats.onnx_reading import inspect_onnx
from hifigan_rt.model.config_search import stated_for_onnx
from hifigan_rt.model.folders import choose_in_folder
from hifigan_rt.model.kinds import Model, OnnxFile, Weights
from hifigan_rt.model.resolve import resolve_model
from hifigan_rt.system.files import stands_beside
from hifigan_rt.tools.voices.settings import VoiceSettings, read_settings
from hifigan_rt.vocoder import Vocoder, load

_INPUTS = frozenset((IDS, LENGTHS, SCALES))


@dataclass(frozen=True)
class VoiceOutline:
    """What lists of voices tell of one."""

    locale: str
    """Its language, as in `VoiceSettings`."""
    speakers: tuple[str, ...]
    """Names of its speakers; empty if none has a name."""


def outline_voice(name: str | Path) -> VoiceOutline:
    """Read a voice's settings, and its file but for the weights.

    Args:
        name: as for `load_voice`.

    Raises:
        ModelNotFound: a folder without a model, or with several.
        ModelFileError: the file is absent or damaged, or has not the inputs of a voice.
        ConfigError: the settings are missing or wrong.
    """
    path = Path(name)
    try:
        if path.is_dir():
            path, _ = choose_in_folder(path)
    except OSError as error:
        raise ModelNotFound(f"voice {str(name)!r} cannot be looked up: {error.strerror}") from error
    inputs = _inputs(str(name), path)
    stated = _stated(str(name), path, None)
    locale = read_settings(stated).locale
    speakers = stated.values.get("speaker_id_map") if isinstance(stated.values, dict) else None
    return VoiceOutline(locale, tuple(speakers) if isinstance(speakers, dict) and SPEAKER in inputs else ())


def open_voice(
    name: str | Path,
    config: str | Path | None,
    *,
    engine: str,
    threads: int | None,
    precision: str,
    device: str | None,
    settings: Mapping[str, str] | None,
) -> tuple[Vocoder, TextPart, VoiceSettings]:
    """Open a voice; arguments and errors are those of `load_voice`.

    Returns:
        The generator, what computes its latents, and the voice's settings.
    """
    engine = choose_engine(engine, settings=settings or (), device=device)
    model, latents = _as_voice(_resolve(name, config, with_flow=REGISTRY[engine].computes_flow))
    voice = read_settings(_stated(model.name, model.path, config))
    text_part = TextPart(model.path, latents, EngineOptions(threads).thread_count)
    _check_settings(model, voice, text_part)
    vocoder = load(model, engine=engine, threads=threads, precision=precision, device=device, settings=settings)
    return vocoder, text_part, voice


def _resolve(name: str | Path, config: str | Path | None, *, with_flow: bool) -> Model:
    """Read the file, with its flow in front of the decoder if that can be; else the flow belongs to the text part."""
    if with_flow:
        with contextlib.suppress(ModelFileError):  # also of what is no voice, which is told below
            return resolve_model(name, config, with_flow=True)
    return resolve_model(name, config)


def _as_voice(model: Model) -> tuple[Weights, str]:
    """The model, and the value of the file that its generator reads.

    Raises:
        ModelFileError: the file is no whole voice.
    """
    if isinstance(model, OnnxFile):
        raise ModelFileError(
            f"{model.name} is no voice that is known here: the generator is missing ({model.unread}). Voices are "
            "Piper's .onnx files"
        )
    if not isinstance(model, Weights):
        raise ModelFileError(f"{model.name} is {model.noun}, and voices are Piper's .onnx files: give one")
    if model.voice is None:
        takes = "latents" if model.takes_latents else "mels"
        raise ModelFileError(
            f"{model.name} is a vocoder, which takes {takes}: the text encoder is missing. hifigan_rt.load loads it, "
            "'hifigan synth' runs it; a voice is an .onnx file of Piper"
        )
    if not model.voice.latents:
        raise ModelFileError(
            f"{model.name} is a checkpoint of {model.voice.name}, and voices are spoken from their .onnx file: export "
            "it, with Piper's own export_onnx for example"
        )
    _inputs(model.name, model.path)
    return model, model.voice.latents


def _inputs(name: str, path: Path) -> list[str]:
    """Names of the file's inputs.

    Raises:
        ModelFileError: it cannot be read, or they are not those of a voice.
    """
    inputs = [value.name for value in inspect_onnx(path).inputs]
    if not _INPUTS.issuperset({*inputs} - {SPEAKER}) or not _INPUTS.issubset(inputs):
        is_end = IDS not in inputs
        raise ModelFileError(
            f"{name} is no whole voice of Piper: "
            + ("the text encoder is missing; " if is_end else "")
            + f"its inputs are {', '.join(inputs)}, and those of a voice are {', '.join(sorted(_INPUTS))} and, with "
            f"several speakers, {SPEAKER}"
        )
    return inputs


def _stated(name: str, path: Path, config: str | Path | None) -> StatedConfig:
    stated = stated_for_onnx(path, config)
    own = path.parent / f"{path.name}.json"
    if stated is None and stands_beside(own):
        stated = stated_for_onnx(path, own)  # what it lacks is told when it is read
    if stated is None:
        raise ConfigError(
            f"{name}: no {own.name} lies beside it, which has the voice's symbols: put it there, or "
            "name it with config= (--config)"
        )
    return stated


def _check_settings(model: Weights, settings: VoiceSettings, text_part: TextPart) -> None:
    """Hold the settings to what the file has.

    Raises:
        ConfigError: they are another voice's.
    """
    way_out = f"{settings.place} is another voice's: give {model.path.name}'s own with config= (--config)"
    highest = max(number for ids in settings.ids.values() for number in ids)
    if text_part.table_size is not None and highest >= text_part.table_size:
        raise ConfigError(
            f"phoneme_id_map goes up to {highest}, and the voice has {text_part.table_size} symbols: {way_out}"
        )
    speakers = max(model.graph.config.num_speakers, 1)
    if settings.num_speakers is not None and max(settings.num_speakers, 1) != speakers:
        raise ConfigError(f"num_speakers is {settings.num_speakers}, and the voice has {speakers}: {way_out}")
    if settings.default_speaker >= speakers:
        raise ConfigError(f"default_speaker_id is {settings.default_speaker}, and the voice has {speakers}: {way_out}")
