"""Clips of any length: mels that are computed while they are taken, and the audio that is written meanwhile.

What is short goes through a run as a whole. What is longer than `LONG_FRAMES` is read, analysed, synthesised and
written a piece at a time, in the stage that writes, so that memory does not grow with its length. The samples are the
same: bit for bit on engines that promise so for streams, to rounding on the others.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np

from hifigan_rt.audio.conversion import check_conversion, conversions, convert_blocks
from hifigan_rt.audio.decoding import open_recording
from hifigan_rt.audio.encoding import AudioWriter
from hifigan_rt.config import MelConfig
from hifigan_rt.engines.streams import MAX_SEGMENT_FRAMES
from hifigan_rt.errors import OutputError
from hifigan_rt.graph import check_frames
from hifigan_rt.mel.analysis import MelAnalysis
from hifigan_rt.mel.check import CheckedMel, warn_if_other_convention
from hifigan_rt.vocoder import Vocoder

LONG_FRAMES = 1 << 14
"""Frames up to which a mel is kept as a whole: 190 s of the published models."""


@dataclass(frozen=True)
class ReadSettings:
    """What may be done to an input on the way to the model."""

    resample: bool = False
    mono: bool = False
    max_seconds: float | None = None
    """Longest recording accepted; None is `audio.DEFAULT_MAX_SECONDS`."""
    time_major: bool = False
    """Mel files hold `[T, M]`."""
    mel_at: str | None = None
    """Name of the mel in mel files of several arrays, see `hifigan_rt.mel.picking`."""
    given_mel: MelConfig | None = None
    """How the mels of the files were computed, of `mel.conventions.named_convention`; None is the model's own way."""
    rate_of: str = "the model"
    """What has the sample rate that recordings must have, for errors."""


class RecordingMel:
    """Mel of a recording, computed while it is taken."""

    def __init__(self, source: Path, config: MelConfig, reading: ReadSettings) -> None:
        self._source, self._config, self._reading = source, config, reading
        self.samples = 0
        """Length at the model's sample rate; complete after the last piece, as the notes are."""
        self.notes: tuple[str, ...] = ()
        """What is odd about the file."""
        self.conversions: tuple[str, ...] = ()
        """What it went through, see `hifigan_rt.audio.conversions`; complete after the first piece."""

    def pieces(self) -> Iterator[np.ndarray]:
        """Give the mel, float32 `[M, t]` at a time; t may be 0.

        Raises:
            AudioError: see `hifigan_rt.audio.read_audio`, `check_conversion` and `compute_mel`.
        """
        wanted_hz, reading = self._config.sample_rate, self._reading
        with open_recording(self._source, reading.max_seconds) as reader:
            check_conversion(
                reader.sample_rate, reader.channels, reader.samples, wanted_hz, resample_allowed=reading.resample,
                mono_allowed=reading.mono,
            )  # fmt: skip
            self.conversions = conversions(reader.sample_rate, reader.channels, wanted_hz)
            analysis = MelAnalysis(self._config)
            for block in convert_blocks(reader.blocks(), reader.sample_rate, wanted_hz):
                yield analysis.push(block)
            self.notes = () if reader.note is None else (reader.note,)
            self.samples = analysis.samples
            yield analysis.finish()


@dataclass(frozen=True)
class MelClip:
    """A mel with what is known about the recording that it came from."""

    mel: np.ndarray
    """float32 `[M, T]`."""
    input_samples: int | None = None
    """Length of the input at the model's sample rate; None if it was a mel."""
    notes: tuple[str, ...] = ()
    conversions: tuple[str, ...] = ()
    """What the recording went through, see `hifigan_rt.audio.conversions`."""


@dataclass(frozen=True)
class LongMel:
    """A mel that is taken once, a piece at a time."""

    pieces: Iterator[np.ndarray]
    """float32 `[M, t]`."""
    recording: RecordingMel | None = None
    """The recording that it is computed from; None if it was a mel."""

    @property
    def input_samples(self) -> int | None:
        """Length of the recording, after the last piece."""
        return None if self.recording is None else self.recording.samples

    @property
    def notes(self) -> tuple[str, ...]:
        """What is odd about the recording, after the last piece."""
        return () if self.recording is None else self.recording.notes

    @property
    def conversions(self) -> tuple[str, ...]:
        """What the recording goes through, see `hifigan_rt.audio.conversions`."""
        return () if self.recording is None else self.recording.conversions

    def until(self, stopped: threading.Event) -> Iterator[np.ndarray]:
        """Take the pieces.

        Raises:
            OutputError: the run has been stopped.
        """
        for piece in self.pieces:
            if stopped.is_set():
                raise OutputError("the run was stopped before this clip was finished: nothing of it was written")
            yield piece


def read_recording_mel(source: Path, config: MelConfig, reading: ReadSettings) -> MelClip | LongMel:
    """Read a recording's mel: as a whole, or if it is longer than `LONG_FRAMES` its beginning alone for now.

    Raises:
        AudioError: see `RecordingMel.pieces`.
    """
    recording = RecordingMel(source, config, reading)
    pieces = recording.pieces()
    beginning: list[np.ndarray] = []
    for piece in pieces:
        beginning.append(piece)
        if sum(piece.shape[1] for piece in beginning) > LONG_FRAMES:
            return LongMel(chain([np.concatenate(beginning, axis=1)], pieces), recording)
    return MelClip(np.concatenate(beginning, axis=1), recording.samples, recording.notes, recording.conversions)


def is_long(mel: np.ndarray) -> bool:
    """Whether a mel `[M, T]` is better computed in pieces."""
    frames: int = mel.shape[1]
    return frames > LONG_FRAMES


def whole(mel: LongMel) -> MelClip:
    """Take all of a mel at once, for engines that cannot stream."""
    return MelClip(np.concatenate(list(mel.pieces), axis=1), mel.input_samples, mel.notes, mel.conversions)


def in_pieces(mel: np.ndarray) -> LongMel:
    """Cut a mel `[M, T]` that is there already."""
    starts = range(0, mel.shape[1], LONG_FRAMES)
    return LongMel(mel[:, start : start + LONG_FRAMES] for start in starts)


@dataclass
class LongClipFacts:
    """What is known of a long clip when it is written."""

    frames: int = 0
    compute_seconds: float = 0.0
    """Time that the engine took."""
    mel_l1: float | None = None


def synthesize_into(
    writer: AudioWriter,
    vocoder: Vocoder,
    mel: LongMel,
    *,
    conditioning: np.ndarray | None = None,
    match_length: bool,
    config: MelConfig | None,
    stopped: threading.Event,
) -> LongClipFacts:
    """Synthesise a mel piece by piece, and write its audio.

    Args:
        writer: of the result.
        vocoder: the model; its layers must be known.
        mel: the mel.
        conditioning: what the model takes beside it, of `SpeakerChoice.one`.
        match_length: whether the audio is trimmed or zero-padded to the recording's length.
        config: mel settings for the distance of the mels of input and output; None leaves it out.
        stopped: set when the run ends early.

    Raises:
        OutputError: the run has been stopped, or see `AudioWriter.write`.
        AudioError: see `RecordingMel.pieces`.
        EngineError: the engine failed.
        MelError: it has more frames than any mel may have.
    """
    facts = LongClipFacts()
    distance = None if config is None else _MelDistance(config)
    segment_frames = vocoder.engine.offline_segment_frames or MAX_SEGMENT_FRAMES

    def write(audio: np.ndarray, seconds: float) -> None:
        facts.compute_seconds += seconds
        if distance is not None:
            distance.add_audio(audio)
        writer.write(audio)

    assert vocoder.graph is not None  # noqa: S101 - else the mel is not long
    with contextlib.closing(vocoder.engine.stream(segment_frames, vocoder.graph, conditioning)) as stream:
        for piece in mel.until(stopped):
            if facts.frames == 0 and mel.recording is not None and vocoder.mel_config is not None:
                warn_if_other_convention(piece, vocoder.mel_config)
            facts.frames += piece.shape[1]
            check_frames(facts.frames)
            if distance is not None:
                distance.add_mel(piece)
            started = time.perf_counter()
            audio = stream.push(CheckedMel(piece))
            write(audio, time.perf_counter() - started)
        started = time.perf_counter()
        rest = stream.finish()
    seconds = time.perf_counter() - started
    if match_length and mel.input_samples is not None:
        # All but the rest is shorter than the recording: a frame's samples are decided by those after them.
        left = max(0, mel.input_samples - writer.samples)
        rest = np.pad(rest[:left], (0, max(0, left - len(rest))))
    write(rest, seconds)
    if distance is not None:
        facts.mel_l1 = round(distance.mean(), 6)
    return facts


class _MelDistance:
    """Mean absolute difference of a mel and that of the audio made from it, over the frames that both have."""

    def __init__(self, config: MelConfig) -> None:
        self._analysis = MelAnalysis(config)
        self._given = self._made = np.empty((config.num_mels, 0), np.float32)
        self._sum = 0.0
        self._values = 0

    def add_mel(self, mel: np.ndarray) -> None:
        self._given = np.concatenate([self._given, mel], axis=1)

    def add_audio(self, audio: np.ndarray) -> None:
        self._compare(self._analysis.push(audio))

    def mean(self) -> float:
        self._compare(self._analysis.finish())
        return self._sum / self._values

    def _compare(self, made: np.ndarray) -> None:
        self._made = np.concatenate([self._made, made], axis=1)
        frames = min(self._given.shape[1], self._made.shape[1])
        given, made = self._given[:, :frames].astype(np.float64), self._made[:, :frames].astype(np.float64)
        self._sum += float(np.abs(given - made).sum())
        self._values += given.size
        self._given, self._made = self._given[:, frames:].copy(), self._made[:, frames:].copy()
