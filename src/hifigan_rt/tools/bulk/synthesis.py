"""The work of `hifigan synth`, recording or mel to audio, and of `hifigan mel`, recording to mel."""

from __future__ import annotations

import dataclasses
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hifigan_rt.audio import Container, Encoding, open_audio_writer, write_audio
from hifigan_rt.audio.signal_metrics import mel_l1
from hifigan_rt.config import GeneratorConfig, MelConfig
from hifigan_rt.errors import MelError, OutputError
from hifigan_rt.formats.config_json import NETWORK_FIELDS
from hifigan_rt.formats.graph_fields import graph_fields
from hifigan_rt.mel.check import in_words_of, warn_if_other_convention
from hifigan_rt.mel.conventions import convert_mel
from hifigan_rt.mel.files import read_mel_file, write_mel_file, write_mel_pieces
from hifigan_rt.model.kinds import Model, Weights
from hifigan_rt.tools.bulk.long_clips import (
    LongMel,
    MelClip,
    ReadSettings,
    in_pieces,
    is_long,
    read_recording_mel,
    synthesize_into,
    whole,
)
from hifigan_rt.tools.bulk.work import ClipFacts, Work
from hifigan_rt.vocoder import Vocoder

MEL_SUFFIXES = frozenset({".npy", ".npz", ".pt", ".pth", ".safetensors"})


@dataclass(frozen=True)
class WriteSettings:
    """How audio is written.

    Raises:
        OutputError: flac cannot hold floats.
    """

    encoding: Encoding = "pcm16"
    container: Container = "wav"
    match_length: bool = False
    """Trim or zero-pad to the length of the input recording."""
    mel_l1: bool = False
    """Compute the mel distance between input and output for the manifest."""

    def __post_init__(self) -> None:
        if self.container == "flac" and self.encoding == "float":
            raise OutputError("flac holds no floats: take wav, or the encoding pcm16 or pcm24")


@dataclass(frozen=True)
class AudioClip:
    """Synthesised audio, float32 `[N]`, with the mel that it came from."""

    audio: np.ndarray
    source: MelClip


class Synthesis(Work[MelClip | LongMel, AudioClip | LongMel]):
    """Recording or mel to audio.

    Raises:
        ConfigError: the model's sample rate is not known, or its mel settings where `mel_l1` is wanted.
    """

    def __init__(
        self,
        vocoder: Vocoder,
        reading: ReadSettings,
        writing: WriteSettings,
        conditioning: np.ndarray | None = None,
    ) -> None:
        """Prepare a run.

        Args:
            vocoder: the model.
            reading, writing: how files are read and written.
            conditioning: what the model takes beside each mel, of `SpeakerChoice.one`.
        """
        self._vocoder = vocoder
        self._conditioning = conditioning
        self._reading = reading
        self._writing = writing
        self._sample_rate = vocoder.sample_rate
        if writing.mel_l1:
            vocoder.model.known_mel()
        # Known whenever the sample rate is: both stand in a config.
        self._num_mels = vocoder.num_mels or 0
        self._given = reading.given_mel
        self.engine = vocoder.engine_info

    def settings(self) -> dict[str, Any]:
        info, graph = self._vocoder.engine_info, self._vocoder.graph
        return {
            "command": "synth",
            "model_sha256": self._vocoder.model.sha256,
            **_generator_named(self._vocoder.model),
            # What the file leaves open, a config decides: dilations, for example.
            "generator": None if graph is None else _network(graph.config),
            "mel": _mel_settings(self._vocoder.mel_config),
            # Neither threads nor the runtime's version: they change no more than the last bits of a result.
            "engine": info.name,
            "variant": info.variant,
            "precision": info.precision,
            "device": info.device,
            "encoding": self._writing.encoding,
            "container": self._writing.container,
            "match_length": self._writing.match_length,
            **_reading_settings(self._reading),
            "time_major": self._reading.time_major,
            **({} if self._reading.mel_at is None else {"mel_at": self._reading.mel_at}),
            **_voice(self._conditioning),
            **({} if self._given is None else {"mel_given": _mel_settings(self._given)}),
        }

    def read(self, source: Path) -> MelClip | LongMel:
        if source.suffix.lower() not in MEL_SUFFIXES:
            config = self._vocoder.model.known_mel()  # before a long recording is decoded for nothing
            mel = read_recording_mel(source, config, self._reading)
            return whole(mel) if isinstance(mel, LongMel) and self._vocoder.graph is None else mel
        if self._writing.match_length:
            raise MelError(f"mel {str(source)!r} has no length in samples to match: leave --match-length out for mels")
        with in_words_of(latents=self._vocoder.takes_latents):
            stored: np.ndarray = read_mel_file(
                source, self._num_mels, time_major=self._reading.time_major, mel_at=self._reading.mel_at
            )
        if self._given is not None:
            stored = convert_mel(stored, self._given, self._vocoder.model.known_mel())
        return MelClip(stored)

    def compute(self, data: MelClip | LongMel) -> AudioClip | LongMel:
        if isinstance(data, LongMel):
            return data
        if is_long(data.mel) and self._vocoder.graph is not None:
            if self._vocoder.mel_config is not None:
                warn_if_other_convention(data.mel, self._vocoder.mel_config)
            return in_pieces(data.mel)
        return AudioClip(self._synthesise(data.mel), data)

    def _synthesise(self, mel: np.ndarray) -> np.ndarray:
        given = self._conditioning
        speaker, vector = (given, None) if given is not None and given.ndim == 0 else (None, given)
        audio: np.ndarray = self._vocoder(mel, speaker=speaker, conditioning=vector)
        return audio

    def write(self, data: AudioClip | LongMel, output: Path) -> ClipFacts:
        if isinstance(data, LongMel):
            return self._write_long(data, output)
        audio, source = data.audio, data.source
        frames = source.mel.shape[1]
        if self._writing.match_length and source.input_samples is not None:
            audio = _fit(audio, source.input_samples)
        clipped = write_audio(output, audio, self._sample_rate, self._writing.encoding, self._writing.container)
        distance = None
        if self._writing.mel_l1:
            distance = round(mel_l1(source.mel, self._vocoder.mel(data.audio)), 6)
        inexact = self._vocoder.inexact_tail_frames(frames) or None
        return self._facts(source, frames, len(audio), clipped, mel_l1=distance, inexact_tail_frames=inexact)

    def _write_long(self, mel: LongMel, output: Path) -> ClipFacts:
        writing = self._writing
        with open_audio_writer(output, self._sample_rate, writing.encoding, writing.container) as writer:
            facts = synthesize_into(
                writer,
                self._vocoder,
                mel,
                conditioning=self._conditioning,
                match_length=writing.match_length,
                config=self._vocoder.model.known_mel() if writing.mel_l1 else None,
                stopped=self.stopped,
            )
        return self._facts(
            mel, facts.frames, writer.samples, writer.clipped, mel_l1=facts.mel_l1,
            compute_seconds=facts.compute_seconds,
        )  # fmt: skip

    def _facts(self, source: MelClip | LongMel, frames: int, samples: int, clipped: int, **further: Any) -> ClipFacts:
        return ClipFacts(
            input_samples=source.input_samples,
            frames=frames,
            output_samples=samples,
            samples_dropped=_dropped(source.input_samples, frames, self._vocoder.hop_length),
            clipped_samples=clipped,
            audio_seconds=round(samples / self._sample_rate, 6),
            notes=source.notes,
            conversions=source.conversions,
            **further,
        )


class MelExtraction(Work[MelClip | LongMel, MelClip | LongMel]):
    """Recording to mel, which is computed while the recording is read."""

    timed = False

    def __init__(self, config: MelConfig, reading: ReadSettings) -> None:
        self._config = config
        self._reading = reading

    def settings(self) -> dict[str, Any]:
        return {"command": "mel", "mel": _mel_settings(self._config), **_reading_settings(self._reading)}

    def read(self, source: Path) -> MelClip | LongMel:
        return read_recording_mel(source, self._config, self._reading)

    def compute(self, data: MelClip | LongMel) -> MelClip | LongMel:
        return data

    def write(self, data: MelClip | LongMel, output: Path) -> ClipFacts:
        if isinstance(data, LongMel):
            frames = write_mel_pieces(output, self._config.num_mels, data.until(self.stopped))
        else:
            frames = data.mel.shape[1]
            write_mel_file(output, data.mel)
        return ClipFacts(
            input_samples=data.input_samples,
            frames=frames,
            samples_dropped=_dropped(data.input_samples, frames, self._config.hop_length),
            audio_seconds=round((data.input_samples or 0) / self._config.sample_rate, 6),
            notes=data.notes,
            conversions=data.conversions,
        )


def _dropped(input_samples: int | None, frames: int, hop_length: int | None) -> int | None:
    """Input samples after the last whole frame."""
    if input_samples is None or hop_length is None:
        return None
    return max(0, input_samples - frames * hop_length)


def _fit(audio: np.ndarray, samples: int) -> np.ndarray:
    """Trim or zero-pad `[N]` at the end."""
    return np.pad(audio[:samples], (0, max(0, samples - len(audio))))


def _reading_settings(settings: ReadSettings) -> dict[str, Any]:
    return {"resample": settings.resample, "mono": settings.mono}


def _generator_named(model: Model) -> dict[str, str]:
    """Which generator of a file of several it is, and whose reading of it; the file's digest tells all else."""
    if not isinstance(model, Weights):
        return {}
    named = {"weights_at": model.weights_at, "family": model.family_key}
    return {name: value for name, value in named.items() if value is not None}


def _network(config: GeneratorConfig) -> dict[str, Any]:
    """The network, so that the digest of one in the original's form stays what earlier versions made."""
    fields = {name: value for name, value in dataclasses.asdict(config).items() if name in NETWORK_FIELDS}
    return fields | graph_fields(config)


def _voice(conditioning: np.ndarray | None) -> dict[str, Any]:
    """The speaker's number, or the digest of a vector."""
    if conditioning is None:
        return {}
    if conditioning.ndim == 0:
        return {"speaker": int(conditioning)}
    return {"conditioning_sha256": hashlib.sha256(conditioning.astype("<f4").tobytes()).hexdigest()}


def _mel_settings(config: MelConfig | None) -> dict[str, Any] | None:
    return None if config is None else config.recorded()
