"""What `hifigan speak` does: texts come in, a voice speaks them, the audio goes into files or a pipe."""

from __future__ import annotations

import contextlib
import os
import re
import sys
import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import click
import numpy as np

from hifigan_rt.audio.encoding import AudioWriter, open_audio_writer
from hifigan_rt.audio.formats import stream_encoder
from hifigan_rt.errors import PhonemizerError, SpeechError, UnknownSymbolWarning
from hifigan_rt.system.files import plain_path
from hifigan_rt.tools.bulk.output_folder import refuse_existing
from hifigan_rt.tools.cli.console import standard_output
from hifigan_rt.tools.cli.options import picked
from hifigan_rt.tools.voices import Voice, load_voice

if TYPE_CHECKING:
    from hifigan_rt.tools.cli.console import Console

STREAM = "-"
_MANNER = (
    "speaker", "length_scale", "noise_scale", "noise_w_scale", "seed", "sentence_silence", "volume", "normalize",
    "segment_frames",
)  # fmt: skip
_VOICE = ("config", "engine", "threads", "precision", "device", "settings")
_LONGEST_LINE = 1 << 24
"""Bytes of a line; what never ends is no text."""


def run_speak(console: Console, values: dict[str, Any]) -> int:
    """Speak what the options say.

    Returns:
        The exit status: 1 if something could not be spoken.
    """
    _check(values)
    if values["output"] not in (None, STREAM):
        refuse_existing(plain_path(values["output"]), overwrite=values["overwrite"])
    voice = load_voice(_find(values["voice"], values["data_folders"]), **picked(values, _VOICE))
    with voice, _sink(console, voice, values) as sink:
        info = voice.engine_info
        console.note(
            f"voice {voice.name!r} on {info.name} {info.version} and ONNX Runtime; "
            f"licence: {voice.licence or 'not stated'}"
        )
        console.notes(voice.notes)
        if told := _two_speakers(voice, values["speaker"]):
            console.note(f"warning: {told}")
        failed = 0
        for name, line in _lines(values):
            if isinstance(line, SpeechError):
                sink.begin()
                console.failure(name, str(line))
                failed += 1
                continue
            failed += not _speak_one(console, voice, sink, name, line, values)
    return 1 if failed else 0


def _check(values: dict[str, Any]) -> None:
    """Refuse combinations that make no sense.

    Raises:
        click.UsageError: they make none.
    """
    if values["execution_provider"] is not None:
        raise click.UsageError("--execution-provider is for whole models; the text part runs on the CPU")
    places = [name for name in ("output", "output_dir") if values[name] is not None]
    if values["output_raw"] and values["output"] == STREAM:
        places.remove("output")
    places += ["output_raw"] * values["output_raw"]
    if len(places) > 1:
        raise click.UsageError(f"{' and '.join('--' + name.replace('_', '-') for name in places)}: give one of them")
    if not places:
        raise click.UsageError("no output is named: give -o FILE, -o - for a stream of wav, --output-raw or -d FOLDER")
    if values["text"] and values["input_files"]:
        raise click.UsageError("a text and --input-file are both given: give one of them")


def _two_speakers(voice: Voice, speaker: str | None) -> str:
    """What to say where a speaker's name is also the number of another one, as Piper would take it; else nothing."""
    row = voice.speakers.get(speaker or "")
    other = next((name for name, number in voice.speakers.items() if str(number) == speaker), None)
    if speaker is None or row is None or other in (None, speaker):
        return ""
    return f"--speaker {speaker} is taken as a name, that of number {row}; number {speaker} has the name {other!r}"


def _find(name: str, folders: Sequence[str]) -> str:
    """The path of a voice that may be named as Piper's users do, without folder and suffix."""
    candidates = [Path(folder) / f"{name}.onnx" for folder in (*folders, ".")]
    return name if Path(name).exists() else str(next((path for path in candidates if path.is_file()), name))


def _lines(values: dict[str, Any]) -> Iterator[tuple[str, str | SpeechError]]:
    """The texts with their names, or in place of one what is wrong with it.

    Raises:
        SpeechError: there is none, or a file cannot be read.
    """
    if values["text"] not in ((), (STREAM,)):
        yield "text", _typed(" ".join(values["text"]))
        return
    found = False
    for name in values["input_files"] or (STREAM,):
        with contextlib.ExitStack() as closing:
            file = sys.stdin.buffer if name == STREAM else closing.enter_context(_open_text(name))
            for number, raw in enumerate(iter(lambda file=file: file.readline(_LONGEST_LINE), b""), 1):  # type: ignore[misc]
                try:
                    line = raw.decode("utf-8-sig" if number == 1 else "utf-8").strip()
                except UnicodeDecodeError as error:
                    yield _place(name, number), _no_text("line", error)
                    found = True
                    continue
                if line:
                    yield _place(name, number), line
                    found = True
    if not found:
        raise SpeechError("no text came: give it as an argument, with --input-file or on standard input")


def _typed(text: str) -> str | SpeechError:
    """What was typed, whose bytes Python keeps as halves of characters where they are none in the terminal's locale."""
    if not re.search(r"[\udc80-\udcff]", text):
        return text
    try:
        return os.fsencode(text).decode()
    except UnicodeDecodeError as error:
        return _no_text("text", error)


def _no_text(what: str, error: UnicodeDecodeError) -> SpeechError:
    return SpeechError(f"the {what} is not UTF-8 ({error.reason}): convert it")


def _open_text(name: str) -> IO[bytes]:
    try:
        return Path(name).open("rb")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise SpeechError(f"text {name!r} cannot be read: {reason}: --input-file takes a file of text") from error


def _place(name: str, number: int) -> str:
    return f"line {number} of {'standard input' if name == STREAM else name}"


def _speak_one(console: Console, voice: Voice, sink: _Sink, name: str, text: str, values: dict[str, Any]) -> bool:
    """Speak one text; False if it cannot be spoken."""
    given: dict[str, Any] = {"phonemes": text} if values["phonemes"] else {"text": text}
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", UnknownSymbolWarning)
            sink.begin()
            for piece in voice.stream(**given, **picked(values, _MANNER)):
                sink.write(piece)
            sink.end()
    except SpeechError as error:
        if isinstance(error, PhonemizerError) and not _makes_phonemes(voice):
            raise
        sink.abandon(error)
        console.failure(name, str(error))
        return False
    for warning in caught:
        console.note(f"warning: {name}: {warning.message}")
    return True


def _makes_phonemes(voice: Voice) -> bool:
    """Whether espeak-ng works, so that it was the text that it failed at: there are some that end it."""
    try:
        next(voice.phonemes("1"), None)
    except PhonemizerError:
        return False
    return True


class _Sink(ABC):
    """Where the audio goes."""

    def begin(self) -> None:  # noqa: B027 - most take all texts alike
        """Prepare for another text."""

    @abstractmethod
    def write(self, audio: np.ndarray) -> None:
        """Take a piece."""

    def end(self) -> None:  # noqa: B027
        """End a text that is spoken."""

    def abandon(self, error: Exception) -> None:  # noqa: B027
        """End a text that cannot be spoken, or not to its end.

        Raises:
            Exception: the error, where a part of the text cannot be taken back.
        """


class _PipeSink(_Sink):
    def __init__(self, file: IO[bytes], sample_rate: int, form: str) -> None:
        self._file, self._encoder = file, stream_encoder(form, sample_rate)
        self._begun = False

    def write(self, audio: np.ndarray) -> None:
        start = b"" if self._begun else self._encoder.start()
        self._begun = True
        with standard_output():
            self._file.write(start + self._encoder.encode(audio))
            self._file.flush()


class _FileSink(_Sink):
    def __init__(self, writer: AudioWriter) -> None:
        self._writer = writer
        self._begun_at = 0

    def begin(self) -> None:
        self._begun_at = self._writer.samples

    def write(self, audio: np.ndarray) -> None:
        self._writer.write(audio)

    def abandon(self, error: Exception) -> None:
        if self._writer.samples > self._begun_at:
            raise error  # the file is not written: it would have a part of a text


class _FolderSink(_Sink):
    def __init__(self, console: Console, folder: Path, sample_rate: int, values: dict[str, Any]) -> None:
        self._console, self._folder, self._sample_rate, self._values = console, folder, sample_rate, values
        self._count = 0
        self._open = contextlib.ExitStack()
        self._writer: AudioWriter | None = None

    def begin(self) -> None:
        self._count += 1

    def write(self, audio: np.ndarray) -> None:
        if self._writer is None:
            path = self._folder / f"{self._count:04d}.wav"
            refuse_existing(path, overwrite=self._values["overwrite"])
            self._writer = self._open.enter_context(open_audio_writer(path, self._sample_rate))
        self._writer.write(audio)

    def end(self) -> None:
        self._open.close()
        if self._writer is not None:
            _tell(self._console, f"{self._count:04d}.wav", self._writer, self._sample_rate)
        self._writer = None

    def abandon(self, error: Exception) -> None:
        self._open.__exit__(type(error), error, error.__traceback__)  # takes the begun file away
        self._writer = None


@contextlib.contextmanager
def _sink(console: Console, voice: Voice, values: dict[str, Any]) -> Iterator[_Sink]:
    rate = voice.sample_rate
    if values["output_raw"]:
        yield _PipeSink(sys.stdout.buffer, rate, "pcm16")
    elif values["output"] == STREAM:
        yield _PipeSink(sys.stdout.buffer, rate, "wav")
    elif values["output"] is not None:
        path = plain_path(values["output"])
        with open_audio_writer(path, rate) as writer:
            yield _FileSink(writer)
            if not writer.samples:
                raise SpeechError(f"nothing could be spoken, so {str(path)!r} was not written")
        _tell(console, str(path), writer, rate)
    else:
        folder = plain_path(values["output_dir"])
        folder.mkdir(parents=True, exist_ok=True)
        yield _FolderSink(console, folder, rate, values)


def _tell(console: Console, name: str, writer: AudioWriter, sample_rate: int) -> None:
    clipped = f", {writer.clipped} samples clipped" if writer.clipped else ""
    if console.verbosity >= 0:
        console.line(f"{name}: {writer.samples / sample_rate:.2f} s of audio{clipped}")
