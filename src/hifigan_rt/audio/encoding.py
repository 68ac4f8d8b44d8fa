"""Encodes mono samples as wav or flac: rounded, clipped and counted, written whole or not at all.

Integers are round(x * 2**(bits - 1)): with any other factor a PCM file would not come back bit for bit. Without the
clip a sample of +1.0 would wrap to -1.0, as it does in the original's inference.py.
"""

from __future__ import annotations

import contextlib
import io
import struct
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Literal, get_args

import numpy as np

from hifigan_rt.audio.conversion import as_samples
from hifigan_rt.audio.decoding import MAX_SAMPLE_RATE_HZ
from hifigan_rt.audio.sink import EncodedSink, open_encoder
from hifigan_rt.errors import AudioError, OutputError
from hifigan_rt.system.files import atomic_writer

Encoding = Literal["pcm16", "pcm24", "float"]
Container = Literal["wav", "flac"]

MAX_WAV_BYTES = (1 << 32) - 1

_PIECE_SAMPLES = 1 << 16


def to_pcm16(audio: np.ndarray) -> tuple[np.ndarray, int]:
    """Round to 16 bits: float `[N]` to (int16 `[N]`, how many samples were beyond the range and clipped).

    Exactly +1.0 counts as clipped: 32767 / 32768 is the largest value there is.

    Raises:
        AudioError: not one row of finite floats.
    """
    return _to_pcm(audio, 16, np.int16)


def to_pcm24(audio: np.ndarray) -> tuple[np.ndarray, int]:
    """Round to 24 bits: float `[N]` to (int32 `[N]` within +-2**23, how many samples were clipped).

    Raises:
        AudioError: not one row of finite floats.
    """
    return _to_pcm(audio, 24, np.int32)


def _to_pcm(audio: np.ndarray, bits: int, dtype: type[np.integer]) -> tuple[np.ndarray, int]:
    audio = as_samples(audio)
    _check_finite_row(audio)
    pcm, clipped = _rounded(audio, bits)
    return pcm.astype(dtype), clipped


def write_audio(
    target: str | Path | BinaryIO,
    audio: np.ndarray,
    sample_rate: int,
    encoding: Encoding = "pcm16",
    container: Container | None = None,
) -> int:
    """Write a mono recording, whole or not at all.

    Equal audio gives equal bytes: no time or software version is stored.

    Args:
        target: a file name ending in .wav or .flac, or a binary stream, which need not be seekable.
        audio: float `[N]`, nominally in [-1, 1].
        sample_rate: in Hz.
        encoding: "pcm16", "pcm24" (rounded, clipped) or "float" (float32 as it is; wav alone).
        container: None follows the file name; a stream gets wav.

    Returns:
        How many samples were beyond the range and clipped; 0 for "float".

    Raises:
        AudioError: the audio is not one row of finite floats.
        OutputError: the format cannot hold it, the sample rate is none, or the file could not be written.
    """
    audio = as_samples(audio)
    if isinstance(target, (str, Path)):
        with open_audio_writer(target, sample_rate, encoding, container, samples=audio.size) as writer:
            writer.write(audio)
        return writer.clipped
    # The header of a flac is completed at its end, and not every stream goes back.
    whole = io.BytesIO() if container == "flac" else None
    _check_finite_row(audio)
    try:
        writer = _writer(whole or target, sample_rate, encoding, container or "wav", len(audio))
        writer.write(audio)
        writer.finish()
        if whole is not None:
            _write_all(target, whole.getbuffer())
    except OSError as error:
        raise OutputError(f"the audio stream could not be written: {error.strerror or error}") from error
    return writer.clipped


@contextlib.contextmanager
def open_audio_writer(
    path: str | Path,
    sample_rate: int,
    encoding: Encoding = "pcm16",
    container: Container | None = None,
    *,
    samples: int = 0,
) -> Iterator[AudioWriter]:
    """Write a mono recording that comes in pieces; when the block raises, what stood at `path` is untouched.

    Args:
        path: a file name ending in .wav or .flac.
        sample_rate: in Hz.
        encoding: see `write_audio`.
        container: None follows the file name.
        samples: how many will come, if that is known; a length that no file can hold is then refused at once.

    Raises:
        AudioError, OutputError: see `write_audio`.
    """
    path = Path(path)
    container = container or _container_of(path)
    check_encoding(encoding, container)
    with atomic_writer(path) as file:
        writer = _writer(file, sample_rate, encoding, container, samples)
        yield writer
        writer.finish()


class AudioWriter(ABC):
    """Recording that is written a piece at a time. Made by `open_audio_writer`."""

    def __init__(self, file: BinaryIO, sample_rate: int, encoding: Encoding) -> None:
        self._file = file
        self._sample_rate = sample_rate
        self._encoding = encoding
        self.samples = 0
        """Number of samples written so far."""
        self.clipped = 0
        """Number of those that were beyond the range and clipped."""

    def write(self, audio: np.ndarray) -> None:
        """Write more audio, float `[n]`, nominally in [-1, 1].

        Raises:
            AudioError: it is not one row of finite floats.
            OutputError: the format cannot hold that much.
        """
        audio = as_samples(audio)
        _check_finite_row(audio, self.samples)
        for start in range(0, len(audio), _PIECE_SAMPLES):
            piece = audio[start : start + _PIECE_SAMPLES]
            if self._encoding == "float":
                samples, clipped = piece.astype(np.float32, copy=False), 0
            else:
                rounded, clipped = _rounded(piece, 16 if self._encoding == "pcm16" else 24)
                samples = rounded.astype(np.int16 if self._encoding == "pcm16" else np.int32)
            self.samples += len(samples)
            self.clipped += clipped
            self._append(samples)

    @abstractmethod
    def _append(self, samples: np.ndarray) -> None:
        """Append samples of the encoding's dtype."""

    @abstractmethod
    def finish(self) -> None:
        """Write what can be written at the end only."""


class _WavWriter(AudioWriter):
    """A canonical wav. Written here because libsndfile stamps float files with the time."""

    def __init__(self, file: BinaryIO, sample_rate: int, encoding: Encoding, samples: int) -> None:
        super().__init__(file, sample_rate, encoding)
        self._width = {"pcm16": 2, "pcm24": 3, "float": 4}[encoding]
        self._stated = samples
        self._write(self._header(samples))

    def _append(self, samples: np.ndarray) -> None:
        self._header(self.samples)  # refuses what is too long
        if self._encoding == "pcm24":
            self._write(samples.astype("<i4").view(np.uint8).reshape(-1, 4)[:, :3].tobytes())
        else:
            self._write(samples.astype("<f4" if self._encoding == "float" else "<i2").tobytes())

    def finish(self) -> None:
        self._write(b"\0" * (self.samples * self._width % 2))
        if self.samples != self._stated:
            self._file.seek(0)
            self._write(self._header(self.samples))

    def _header(self, samples: int) -> bytes:
        width = self._width
        format_tag = 3 if self._encoding == "float" else 1
        fmt = struct.pack("<HHIIHH", format_tag, 1, self._sample_rate, self._sample_rate * width, width, 8 * width)
        chunks = b"fmt " + struct.pack("<I", 16) + fmt
        if self._encoding == "float":
            # Anything but PCM has an extension size and a fact chunk with the length.
            chunks = b"fmt " + struct.pack("<I", 18) + fmt + b"\0\0fact" + struct.pack("<II", 4, samples & 0xFFFFFFFF)
        data_bytes = samples * width
        riff_bytes = 4 + len(chunks) + 8 + data_bytes + data_bytes % 2
        if riff_bytes > MAX_WAV_BYTES:
            raise OutputError(f"{riff_bytes} bytes do not fit into a wav (at most {MAX_WAV_BYTES}): write flac")
        return b"RIFF" + struct.pack("<I", riff_bytes) + b"WAVE" + chunks + b"data" + struct.pack("<I", data_bytes)

    def _write(self, data: bytes) -> None:
        _write_all(self._file, data)


class _FlacWriter(AudioWriter):
    def __init__(self, file: BinaryIO, sample_rate: int, encoding: Encoding) -> None:
        super().__init__(file, sample_rate, encoding)
        # Not the file itself: libsndfile would print a full disk's error and go on.
        self._sink = EncodedSink()
        self._flac = open_encoder(self._sink, sample_rate, "FLAC", "PCM_16" if encoding == "pcm16" else "PCM_24")

    def _append(self, samples: np.ndarray) -> None:
        # libsndfile takes 24 bits from the upper end of 32.
        self._flac.write(samples if self._encoding == "pcm16" else samples << 8)
        self._file.write(self._sink.take())

    def finish(self) -> None:
        self._flac.close()
        self._file.write(self._sink.take())
        for position, data in self._sink.rewritten:
            self._file.seek(position)
            self._file.write(data)


def _write_all(file: BinaryIO, data: bytes | memoryview) -> None:
    """Write data to a stream, which takes a part of it at once if it has no buffer, as of a socket."""
    view = memoryview(data)
    while view:
        written: int | None = file.write(view)
        if written is None and not isinstance(file, io.RawIOBase):
            return  # only of a stream without a buffer does it say that nothing was taken
        view = view[written:]


def _writer(file: BinaryIO, sample_rate: int, encoding: Encoding, container: Container, samples: int) -> AudioWriter:
    check_encoding(encoding, container)
    _check_rate(sample_rate)
    if container == "flac":
        return _FlacWriter(file, sample_rate, encoding)
    return _WavWriter(file, sample_rate, encoding, samples)


def check_encoding(encoding: str, container: Container) -> None:
    """Check that a container holds an encoding.

    Raises:
        OutputError: it does not, or the encoding is not known.
    """
    if encoding not in get_args(Encoding):
        raise OutputError(f"encoding={encoding!r} must be 'pcm16', 'pcm24' or 'float'")
    if container == "flac" and encoding == "float":
        raise OutputError("encoding='float' does not go into flac: choose pcm24, or write wav")


def _check_rate(sample_rate: object) -> None:
    rate = int(sample_rate) if isinstance(sample_rate, (int, np.integer)) and not isinstance(sample_rate, bool) else 0
    if not 1 <= rate <= MAX_SAMPLE_RATE_HZ:
        raise OutputError(f"sample_rate={sample_rate!r} must be a whole number of Hz from 1 to {MAX_SAMPLE_RATE_HZ}")


def _container_of(path: Path) -> Container:
    suffix = path.suffix.lower()
    if suffix == ".wav":
        return "wav"
    if suffix == ".flac":
        return "flac"
    raise OutputError(f"{str(path)!r} has the suffix {suffix!r}, and audio is written as .wav or .flac")


def _check_finite_row(audio: np.ndarray, first: int = 0) -> None:
    if audio.ndim != 1 or audio.dtype.kind != "f":
        raise AudioError(f"audio of shape {list(audio.shape)} and dtype {audio.dtype} is not one row of floats [N]")
    with np.errstate(over="ignore"):  # what float32 does not hold would be written as infinity
        wrong = ~np.isfinite(audio.astype(np.float32, copy=False))
    if wrong.any():
        raise AudioError(
            f"audio holds {int(wrong.sum())} values that are NaN, infinite or beyond float32, the first at "
            f"sample {first + int(wrong.argmax())}: nothing was written"
        )


def _rounded(audio: np.ndarray, bits: int) -> tuple[np.ndarray, int]:
    """Rounded values as floats, which hold integers of 24 bits exactly, and how many were clipped."""
    full_scale = 1 << (bits - 1)
    # The clip before the scaling keeps a huge float from overflowing; +-2 is beyond the range at any width.
    rounded = np.rint(np.clip(audio.astype(np.float32, copy=False), -2, 2) * np.float32(full_scale))
    clipped = int(np.count_nonzero((rounded < -full_scale) | (rounded > full_scale - 1)))
    return np.clip(rounded, -full_scale, full_scale - 1), clipped
