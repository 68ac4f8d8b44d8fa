"""Loads models as a server wants them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from hifigan_rt.engines import choose_engine
from hifigan_rt.errors import ConfigError
from hifigan_rt.mel.check import CheckedMel
from hifigan_rt.model.folders import MODEL_SUFFIXES
from hifigan_rt.model.resolve import resolve_model
from hifigan_rt.tools.serving.settings import ServerSettings
from hifigan_rt.tools.voices import Voice, VoiceOutline, load_voice, outline_voice
from hifigan_rt.vocoder import Vocoder, load

_WARM_UP_FRAMES = 64
_WARM_UP_SEGMENTS = (ServerSettings.live_segment_frames, ServerSettings.streamed_segment_frames)
"""Segments of streams that are prepared while a model is loaded; the first stream with others takes longer."""
WHOLE_SEGMENT_FRAMES = 64
"""Frames of a whole mel that the native engine computes together while it serves, since live streams wait for them.

Of LJSpeech V1 they take 0.08 s on two cores of a Zen 4. The engine's own 256 frames take 0.3 s, in which listeners hear
silence, and in all no less there; 3 % less on a Zen 5 (native/NOTES.md)."""

_LONGEST_NAME = 64
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def named_model(text: str, what: str = "model") -> tuple[str, str]:
    """Split NAME=MODEL; a model without a name is called as its file is without the suffix.

    Args:
        text: as it was given.
        what: how errors call it: a voice is a model that they call a voice.

    Raises:
        ConfigError: no client could ask for such a name.
    """
    name, equals, path = text.partition("=")
    if not equals:
        name, path = Path(text).resolve().name if text in (".", "..") else Path(text).name, text
        for suffix in MODEL_SUFFIXES:
            name = name.removesuffix(suffix)
    if not path:
        raise ConfigError(f"{what} {text!r} names no {what}: give NAME={what.upper()}, or {what.upper()} alone")
    if len(name) > _LONGEST_NAME or not _NAME.fullmatch(name):
        raise ConfigError(
            f"{what} {text!r}: clients could not ask for {name!r}: give NAME={what.upper()}, the name of at most "
            f"{_LONGEST_NAME} letters, digits, '.', '_' and '-', of which a letter or digit comes first"
        )
    return name, path


def load_to_serve(
    model: str | Path, *, engine: str = "auto", segment_frames: int | None = None, **options: Any
) -> Vocoder:
    """Load a model as `hifigan_rt.load` does, on engine native in segments that live streams can wait for.

    Args:
        model: name or file.
        engine: as for `load`.
        segment_frames: frames computed together; `WHOLE_SEGMENT_FRAMES` by default.
        options: others of `load`.

    Raises:
        HifiganError: see `load`.
    """
    resolved = resolve_model(model, *(options.pop(name, None) for name in ("config", "weights_at", "family")))
    own = [name for name in ("execution_provider", "plan") if options.get(name) is not None]
    named = [*own, *(options.get("settings") or {})]
    chosen = choose_engine(engine, type(resolved), settings=named, device=options.get("device"))
    if chosen == "native" and segment_frames is None and "segment_frames" not in (options.get("settings") or {}):
        segment_frames = WHOLE_SEGMENT_FRAMES
    return load(resolved, engine=chosen, segment_frames=segment_frames, **options)


def load_voice_to_serve(
    path: str | Path, *, engine: str = "auto", segment_frames: int | None = None, **options: Any
) -> Voice:
    """Load a voice as `hifigan_rt.load_voice` does, its generator as `load_to_serve` does.

    Raises:
        HifiganError: see `load_voice`; or it can make no phonemes of text here.
    """
    settings = dict(options.pop("settings", None) or {})
    if segment_frames is not None:
        settings["segment_frames"] = segment_frames
    if choose_engine(engine, settings=list(settings), device=options.get("device")) == "native":
        settings.setdefault("segment_frames", WHOLE_SEGMENT_FRAMES)
    voice = load_voice(path, engine=engine, settings=settings, **options)
    try:
        next(voice.phonemes("1"), None)  # starts espeak-ng, for which the first text would wait, or which is absent
    except BaseException:
        voice.close()
        raise
    return voice


@dataclass(frozen=True)
class VoiceSource:
    """Loads a voice, and tells beforehand what lists of voices say of it."""

    path: str | Path
    options: Mapping[str, Any] = field(default_factory=dict)
    """Those of `load_voice_to_serve`."""

    def __call__(self) -> Voice:
        """Load the voice.

        Raises:
            HifiganError: see `load_voice`.
        """
        return load_voice_to_serve(self.path, **self.options)

    def outline(self) -> VoiceOutline:
        """Read the voice's outline; nothing is loaded.

        Raises:
            HifiganError: see `outline_voice`.
        """
        return outline_voice(self.path)


def served_hop_length(vocoder: Vocoder) -> int:
    """Tell the samples per frame of a model that a server can serve.

    Raises:
        ConfigError: the sample rate or the hop length is not known.
    """
    hop_length = vocoder.hop_length
    if vocoder.model.sample_rate is None or hop_length is None:
        raise ConfigError(
            f"{vocoder.name}: a server must know the sample rate and the hop length: give the model's config.json"
        )
    return hop_length


def warm_up(vocoder: Vocoder) -> None:
    """Run once what the first request would wait for: an inference that loads caches, packs weights or compiles."""
    if vocoder.num_mels is None:
        return
    mel = CheckedMel(np.full((vocoder.num_mels, _WARM_UP_FRAMES), -8.0, np.float32))
    given = vocoder.speaker_choice.rule.example(1)
    vocoder.engine.run(CheckedMel(mel[None]), given)
    if vocoder.graph is None:
        return
    for segment_frames in _WARM_UP_SEGMENTS:
        stream = vocoder.engine.stream(segment_frames, vocoder.graph, None if given is None else np.asarray(given[0]))
        stream.push(mel)
        stream.finish()
        stream.close()
