"""Decodes recordings with limits on memory, and says what is odd about them.

Samples are float32; integers are value / 2**(bits - 1), the inverse of how they are written.
"""

from __future__ import annotations

import io
import math
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from hifigan_rt.audio.containers import check_magic, describe_undecodable, missing_end
from hifigan_rt.errors import AudioError

DEFAULT_MAX_SECONDS = 3600.0
"""Longest recording that is decoded unless the caller says otherwise."""

MAX_VALUES_PER_SECOND = 96_000
"""48 kHz stereo: a header with a huge rate or channel count gets no more memory per allowed second than that."""

MAX_SAMPLE_RATE_HZ = 1 << 20

_BLOCK_VALUES = 1 << 18
_UNKNOWN_FRAMES = 1 << 62
"""libsndfile reports about 2**63 frames where a stream does not tell its length."""


@dataclass(frozen=True)
class Recording:
    """A decoded recording."""

    samples: np.ndarray
    """float32 `[N]` if mono, else `[channels, N]`; integers were divided by their full scale."""
    sample_rate: int
    """Sample rate in Hz."""
    encoding: str
    """Container and codec as libsndfile names them, for example "WAV PCM_16"."""
    note: str | None = None
    """What is odd about the file, if it could be read nevertheless: it holds less than its header promises."""

    @property
    def channels(self) -> int:
        """1 for mono."""
        return 1 if self.samples.ndim == 1 else len(self.samples)

    @property
    def seconds(self) -> float:
        """Duration in s."""
        return float(self.samples.shape[-1] / self.sample_rate)


def read_audio(source: str | Path | BinaryIO, max_seconds: float | None = None) -> Recording:
    """Decode a wav (8 to 32 bits, float), flac, ogg or mp3 recording.

    It is decoded in blocks and given up beyond the limit, so that neither a header that lies nor a file of extreme
    compression takes memory. A file that ends before its header says is read as far as it goes and gets a `note`.

    Args:
        source: a file name (bytes that are not UTF-8 may be surrogate-escaped) or an open binary stream.
        max_seconds: longest recording accepted, in s; None is `DEFAULT_MAX_SECONDS`. Beyond
            `MAX_VALUES_PER_SECOND` values per second the limit shrinks in proportion.

    Raises:
        AudioError: no such file, not a file, not readable, not audio, damaged, empty, too long, or not finite.
    """
    limit_s = DEFAULT_MAX_SECONDS if max_seconds is None else max_seconds
    if not (math.isfinite(limit_s) and limit_s > 0):
        raise AudioError(f"max_seconds={limit_s} must be a finite number above 0")
    if not isinstance(source, (str, Path)):
        return _decode(_rewindable(source, limit_s), "the audio stream", None, limit_s)
    path = Path(source)
    name = f"audio file {str(path)!r}"
    try:
        # Asked before opening: opening a named pipe would wait for its writer.
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode):
            what = "a directory" if stat.S_ISDIR(mode) else "no regular file"
            raise AudioError(f"{name} is {what}: name a wav, flac, ogg or mp3 file")
        with path.open("rb", buffering=0) as file:
            return _decode(file, name, path.name, limit_s)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise AudioError(f"{name} cannot be read: {reason}") from error


def _rewindable(stream: BinaryIO, limit_s: float) -> BinaryIO:
    """The stream itself at its start, or a copy in memory of what a pipe delivers."""
    try:
        if stream.seekable():
            stream.seek(0)
            return stream
        max_bytes = int(limit_s * MAX_VALUES_PER_SECOND * 4)
        raw = stream.read(max_bytes + 1)
    except (OSError, ValueError) as error:
        raise AudioError(f"the audio stream cannot be read: {error}") from error
    if len(raw) > max_bytes:
        raise AudioError(f"the audio stream has more than {max_bytes} bytes, the limit for {limit_s:g} s of audio")
    return io.BytesIO(raw)


def _decode(file: BinaryIO, name: str, file_name: str | None, limit_s: float) -> Recording:
    import soundfile

    class ForwardReader(soundfile.SoundFile):  # type: ignore[misc]
        """Reads on without seeking: soundfile seeks after each block, and mp3 decodes to something else after that."""

        def seekable(self) -> bool:
            return False

    check_magic(file, name, file_name)
    note = missing_end(file)
    file.seek(0)
    try:
        # A file on disk goes by its descriptor, which libsndfile reads without the interpreter's lock.
        handle = file.fileno() if isinstance(file, io.FileIO) else file
        with ForwardReader(handle, closefd=False) as reader:
            samples, promised = _decode_blocks(reader, name, limit_s)
            rate, encoding = reader.samplerate, f"{reader.format} {reader.subtype}"
    except soundfile.SoundFileError as error:
        reason = getattr(error, "error_string", str(error))
        raise AudioError(f"{name} cannot be decoded ({reason}): {describe_undecodable(file, file_name)}") from error
    frames = samples.shape[-1]
    if frames == 0:
        raise AudioError(f"{name} holds no samples")
    if note is None and frames < promised < _UNKNOWN_FRAMES:
        note = f"its header promises {promised} samples and {frames} are there: the file is cut short"
    return Recording(samples, rate, encoding, note)


def _decode_blocks(reader: Any, name: str, limit_s: float) -> tuple[np.ndarray, int]:
    """All samples, float32 `[N]` or `[C, N]`, and the number of frames that the header promises."""
    rate, channels, promised = reader.samplerate, reader.channels, reader.frames
    if not 1 <= rate <= MAX_SAMPLE_RATE_HZ:
        raise AudioError(f"{name} has a sample rate of {rate} Hz: it must be from 1 to {MAX_SAMPLE_RATE_HZ}")
    max_frames = max(1, int(limit_s * min(rate, MAX_VALUES_PER_SECOND / channels)))
    blocks: list[np.ndarray] = []
    frames = 0
    while True:
        if frames > max_frames or max_frames < promised < _UNKNOWN_FRAMES:
            raise AudioError(
                f"{name} is longer than {max_frames / rate:g} s, the limit for {channels} channel(s) at {rate} Hz: "
                "--max-seconds raises it"
            )
        block = reader.read(max(1, _BLOCK_VALUES // channels), dtype="float32", always_2d=True)
        if not len(block):
            break
        finite = np.isfinite(block)
        if not finite.all():
            first = frames + int(np.argmin(finite.all(axis=1)))
            raise AudioError(
                f"{name} holds NaN or infinity, the first at sample {first}: a recording must be finite numbers"
            )
        frames += len(block)
        blocks.append(block)
    samples = np.empty((channels, frames), np.float32)
    # From the back, each block freed as soon as it is copied: the peak is one copy, not two.
    end = frames
    while blocks:
        block = blocks.pop()
        samples[:, end - len(block) : end] = block.T
        end -= len(block)
    return (samples[0] if channels == 1 else samples), promised
