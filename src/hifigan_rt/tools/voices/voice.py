"""Voices: text in, audio out. `load_voice` takes the .onnx of a Piper voice as it is."""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from hifigan_rt.engines.base import EngineInfo
from hifigan_rt.engines.text_part import Scales, TextPart
from hifigan_rt.errors import SpeechError
from hifigan_rt.model.licence import find_licence
from hifigan_rt.system.closing import Closing
from hifigan_rt.tools.voices.file import open_voice
from hifigan_rt.tools.voices.phonemes import Phonemizer
from hifigan_rt.tools.voices.settings import LENGTH_SCALES, NOISE_SCALES, VoiceSettings
from hifigan_rt.tools.voices.speaking import Loudness, Utterance, speak
from hifigan_rt.tools.voices.symbols import SymbolTable, check_ids
from hifigan_rt.vocoder import Vocoder

SEGMENT_FRAMES = 48
"""Frames that are decoded together unless a caller says otherwise, streamed or not: the first sample of a medium voice
needs 43, of which the flow reaches 32 ahead and the decoder 11."""


class Voice(Closing):
    """A loaded voice: text in, audio out. Made by `load_voice`; safe to call from several threads."""

    def __init__(self, vocoder: Vocoder, text_part: TextPart, settings: VoiceSettings) -> None:
        self._vocoder, self._text_part, self._settings = vocoder, text_part, settings
        self._phonemizer = Phonemizer(settings)

    @property
    def name(self) -> str:
        """The voice, as it was named to `load_voice`."""
        return self._vocoder.name

    @property
    def path(self) -> Path:
        """The .onnx file."""
        return self._vocoder.path

    @property
    def sample_rate(self) -> int:
        """The sample rate in Hz."""
        return self._vocoder.sample_rate

    @property
    def hop_length(self) -> int:
        """Samples per latent frame."""
        graph = self._vocoder.graph
        assert graph is not None  # noqa: S101 - its generator was read
        return graph.hop_length

    @property
    def speakers(self) -> Mapping[str, int]:
        """Names of the voice's speakers, with their numbers; empty if none has a name."""
        return self._vocoder.speakers

    @property
    def settings(self) -> VoiceSettings:
        """What the .onnx.json says: language, symbols, scales."""
        return self._settings

    @property
    def licence(self) -> str | None:
        """The licence, as the file or the card beside it names it; None if neither does."""
        return find_licence(self._vocoder.model)

    @property
    def vocoder(self) -> Vocoder:
        """The generator, which takes the latents of an `Utterance`."""
        return self._vocoder

    @property
    def engine_info(self) -> EngineInfo:
        """What runs the generator; the text part runs in ONNX Runtime."""
        return self._vocoder.engine_info

    @property
    def notes(self) -> tuple[str, ...]:
        """What was assumed while loading, one sentence each."""
        if self._settings.language.partition("-")[0] == "ar":
            return ("Piper adds the vowels that Arabic text leaves out; here it is spoken as it is written",)
        return ()

    def phonemes(self, text: str) -> Iterator[list[str]]:
        """Make the symbols of a text, one list for each sentence, as they are asked for.

        Raises:
            SpeechError, PhonemizerError: see `stream`.
        """
        return self._phonemizer.sentences(_as_text(text))

    def __call__(self, text: str | None = None, **how: Any) -> np.ndarray:
        """Speak a text.

        Args:
            text: of any length, or None with `phonemes` or `ids`.
            how: as for `stream`.

        Returns:
            float32 `[N]` in [-1, 1]: bit for bit the pieces of `stream` with the same seed.

        Raises:
            SpeechError, PhonemizerError, ConditioningError, EngineError: see `stream`.

        Warns:
            UnknownSymbolWarning: see `stream`.
        """
        return np.concatenate(list(self.stream(text, **how)))

    def stream(
        self,
        text: str | None = None,
        *,
        phonemes: str | Sequence[str] | None = None,
        ids: Sequence[int] | np.ndarray | None = None,
        speaker: int | str | None = None,
        length_scale: float | None = None,
        noise_scale: float | None = None,
        noise_w_scale: float | None = None,
        seed: int | None = None,
        sentence_silence: float = 0.0,
        volume: float = 1.0,
        normalize: bool = False,
        segment_frames: int | None = None,
    ) -> Iterator[np.ndarray]:
        """Speak a text, a piece at a time.

        While a sentence is decoded, the next one is prepared in a thread. Neither memory nor the time to the first
        piece grows with the text. Closing the iterator ends the work.

        Args:
            text: of any length.
            phonemes: in place of text one sentence of symbols; a text is taken code point by code point.
            ids: in place of text one sentence as the voice numbers it, `^`, `_` and `$` included.
            speaker: number or name, of a voice of several; the voice's own default if it is None.
            length_scale: duration of all phonemes, 0.05 to 20; None takes the voice's own, as in the next two.
            noise_scale: how much the voice varies, 0 to 2.
            noise_w_scale: how much the durations vary, 0 to 2.
            seed: what all noise follows from, a whole number from 0: equal arguments give equal samples. None is
                another each time.
            sentence_silence: seconds between two sentences, 0 to 60.
            volume: factor of the samples, 0 to 100; they are clipped at 1.
            normalize: make the largest sample of each sentence 1, so that whole sentences come.
            segment_frames: frames that are decoded together, 1 to 4096; fewer come out sooner and cost more.

        Returns:
            An iterator over float32 `[n]` in [-1, 1].

        Raises:
            SpeechError: nothing to speak, or an argument out of range.
            PhonemizerError: the text needs espeak-ng, which is absent or fails.
            ConditioningError: a speaker that the voice does not have.
            EngineError: the voice is closed, or its engine failed. Like the others, what happens after the first
                sentence is raised by the iterator.

        Warns:
            UnknownSymbolWarning: the voice lacks symbols, which were left out; at the end.
        """
        loudness = Loudness(
            round(_number("sentence_silence", sentence_silence, 0, 60) * self.sample_rate),
            _number("volume", volume, 0, 100),
            normalize,
        )
        utterance = self.utterance(
            text, phonemes=phonemes, ids=ids, speaker=speaker, length_scale=length_scale, noise_scale=noise_scale,
            noise_w_scale=noise_w_scale, seed=seed,
        )  # fmt: skip
        frames = SEGMENT_FRAMES if segment_frames is None else segment_frames
        stream = self._vocoder.stream(frames, speaker=self._known_to_generator(utterance.speaker))
        return _warned(speak(utterance, stream, loudness), utterance.table)

    def utterance(
        self,
        text: str | None = None,
        *,
        phonemes: str | Sequence[str] | None = None,
        ids: Sequence[int] | np.ndarray | None = None,
        speaker: int | str | None = None,
        length_scale: float | None = None,
        noise_scale: float | None = None,
        noise_w_scale: float | None = None,
        seed: int | None = None,
    ) -> Utterance:
        """Begin to speak, for those who run `vocoder` themselves; arguments and errors are those of `stream`."""
        own = self._settings.scales
        scales = Scales(
            own.noise if noise_scale is None else _number("noise_scale", noise_scale, *NOISE_SCALES),
            own.length if length_scale is None else _number("length_scale", length_scale, *LENGTH_SCALES),
            own.noise_w if noise_w_scale is None else _number("noise_w_scale", noise_w_scale, *NOISE_SCALES),
        )
        given = [name for name, value in (("text", text), ("phonemes", phonemes), ("ids", ids)) if value is not None]
        if len(given) != 1:
            told = f"{' and '.join(given)} are" if given else "nothing is"
            raise SpeechError(f"{told} given: give text, phonemes or ids")
        table = SymbolTable(self._settings)
        if ids is not None:
            sentences = iter([check_ids(ids, self._text_part.table_size)])
        else:
            symbols = self._phonemizer.sentences(_as_text(text)) if phonemes is None else iter([_as_symbols(phonemes)])
            numbered = map(table.number, symbols)
            sentences = (sentence for sentence in numbered if sentence is not None)
        return Utterance(self.name, sentences, table, self._text_part, scales, _seed(seed), self._row(speaker))

    def close(self) -> None:
        """Free the engine and end espeak-ng; closing twice is allowed."""
        self._vocoder.close()
        self._text_part.close()
        self._phonemizer.close()

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "a voice can be neither pickled nor copied, since its memory is the runtime's: call load_voice where it is "
            "needed"
        )

    def __repr__(self) -> str:
        return f"<Voice {self.name!r} on {self.engine_info.name}>"

    def _known_to_generator(self, row: int | None) -> int | None:
        return row if self._vocoder.speaker_choice.rule.is_needed else None

    def _row(self, speaker: int | str | None) -> int | None:
        choice = self._vocoder.speaker_choice
        if not choice.rule.is_needed:
            choice.one(speaker, None)  # refuses one that is named
            return 0 if self._text_part.takes_speaker else None
        if choice.rule.takes_speakers:  # or an error names a way out that voices do not have
            choice = replace(choice, rule=replace(choice.rule, takes_vectors=False))
        row = choice.one(self._settings.default_speaker if speaker is None else speaker, None)
        return None if row is None else int(row)


def _warned(pieces: Generator[np.ndarray], table: SymbolTable) -> Iterator[np.ndarray]:
    with contextlib.closing(pieces):
        yield from pieces
    table.warn()


def load_voice(
    model: str | Path,
    *,
    config: str | Path | None = None,
    engine: str = "auto",
    threads: int | None = None,
    precision: str = "float32",
    device: str | None = None,
    settings: Mapping[str, str] | None = None,
) -> Voice:
    """Load a voice of Piper: its text part into ONNX Runtime, its generator into an engine.

    Args:
        model: the voice's NAME.onnx, or a folder with one.
        config: its settings; by default NAME.onnx.json beside it.
        engine: of the generator, as for `hifigan_rt.load`, as are the following.
        threads: worker threads, of the text part as well.
        precision: `float32`; whatever is less exact must be asked for by name.
        device: by the runtime's own name, for engines that know several.
        settings: the engine's own, by name.

    Raises:
        ModelNotFound: nothing of that name.
        ModelFileError: the file is damaged, or is no whole voice of Piper; the text names what is missing.
        ConfigError: the settings are missing, wrong or another voice's.
        EngineError, EngineUnavailable, PrecisionUnavailable: see `hifigan_rt.load`; or the extra `onnx` is missing.
    """
    opened = open_voice(
        model, config, engine=engine, threads=threads, precision=precision, device=device, settings=settings
    )
    return Voice(*opened)


def _as_text(text: object) -> str:
    if not isinstance(text, str):
        raise SpeechError(f"the text is a {type(text).__name__}: pass a str")
    if not text.strip():
        raise SpeechError("the text is empty: nothing to speak")
    return text


def _as_symbols(phonemes: object) -> list[str]:
    symbols = list(phonemes) if isinstance(phonemes, (str, list, tuple)) else None
    if symbols is None or not all(isinstance(symbol, str) for symbol in symbols):
        raise SpeechError("phonemes must be a str, or a list of symbols that are str")
    if not symbols:
        raise SpeechError("the phonemes are empty: nothing to speak")
    return symbols


def _number(name: str, value: object, least: float, most: float) -> float:
    is_number = isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)
    if not is_number or not least <= value <= most:  # type: ignore[operator]
        raise SpeechError(f"{name}={value!r} must be a number from {least:g} to {most:g}")
    return float(value)  # type: ignore[arg-type]


def _seed(seed: object) -> int:
    if seed is None:
        entropy = np.random.SeedSequence().entropy
        assert isinstance(entropy, int)  # noqa: S101 - it was drawn from the system
        return entropy
    if not isinstance(seed, (int, np.integer)) or isinstance(seed, bool) or seed < 0:
        raise SpeechError(f"seed={seed!r} must be a whole number from 0")
    return int(seed)
