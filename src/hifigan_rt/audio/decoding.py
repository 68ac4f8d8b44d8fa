"""Decodes recordings with limits on memory, and says what is odd about them.

Samples are float32; integers are value / 2**(bits - 1), the inverse of how they are written.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import math
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from hifigan_rt.audio.containers import check_magic, describe_undecodable
from hifigan_rt.audio.lengths import LengthFinding, examine_length
from hifigan_rt.errors import AudioError

DEFAULT_MAX_SECONDS = 3600.0
"""Longest recording that is decoded unless the caller says otherwise."""

MAX_VALUES_PER_SECOND = 96_000
"""48 kHz stereo: a header with a huge rate or channel count gets no more memory per allowed second than that."""

MIN_SAMPLE_RATE_HZ = 1000
"""Below it not even the pitch of a high voice is left, and each sample would become more than 22 of a model's."""

MAX_SAMPLE_RATE_HZ = 1 << 20

_BLOCK_VALUES = 1 << 18
_BLOCK_BYTES = 1 << 20
_UNKNOWN_FRAMES = 1 << 62
"""libsndfile reports about 2**63 frames where a stream does not tell its length."""

_MOST_SECONDS = float(1 << 40)
"""Beyond any recording: a limit above it is no other, and its samples can still be counted."""


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
    """What is odd about the file, if it could be read nevertheless: a count in it that contradicts what it holds."""

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
    compression takes memory. A file that holds less or more than its header states is read to its end, with a `note`.

    Args:
        source: a file name (bytes that are not UTF-8 may be surrogate-escaped) or an open binary stream.
        max_seconds: longest recording accepted, in s; None is `DEFAULT_MAX_SECONDS`. Beyond
            `MAX_VALUES_PER_SECOND` values per second the limit shrinks in proportion.

    Raises:
        AudioError: no such file, not a file, not readable, not audio, damaged, empty, too long, or not finite.
    """
    with open_recording(source, max_seconds) as reader:
        samples = _joined(list(reader.blocks()))
        return Recording(samples, reader.sample_rate, reader.encoding, reader.note)


@contextlib.contextmanager
def open_recording(source: str | Path | BinaryIO, max_seconds: float | None = None) -> Iterator[RecordingReader]:
    """Open a recording to decode it a block at a time; see `read_audio`.

    Raises:
        AudioError: as for `read_audio`, also within the block.
    """
    limit_s = DEFAULT_MAX_SECONDS if max_seconds is None else max_seconds
    if not (math.isfinite(limit_s) and limit_s > 0):
        raise AudioError(f"max_seconds={limit_s} must be a finite number above 0")
    limit_s = min(limit_s, _MOST_SECONDS)
    if not isinstance(source, (str, Path)):
        with _opened(_rewindable(source, limit_s), "the audio stream", None, limit_s) as reader:
            yield reader
        return
    path = Path(source)
    name = f"audio file {str(path)!r}"
    with contextlib.ExitStack() as opened:
        try:
            # Asked before opening: opening a named pipe would wait for its writer.
            mode = path.stat().st_mode
            if not stat.S_ISREG(mode):
                what = "a directory" if stat.S_ISDIR(mode) else "no regular file"
                raise AudioError(f"{name} is {what}: name a wav, flac, ogg or mp3 file")
            file = opened.enter_context(path.open("rb", buffering=0))
            reader = opened.enter_context(_opened(file, name, path.name, limit_s))
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            raise AudioError(f"{name} cannot be read: {reason}") from error
        yield reader


class RecordingReader:
    """Recording that is decoded a block at a time. Made by `open_recording`."""

    def __init__(
        self, readers: Iterator[Any], name: str, limit_s: float, finding: LengthFinding,
        undecodable: Callable[[Exception], AudioError],
    ) -> None:  # fmt: skip
        self._reader = reader = next(readers)
        self._following = readers
        self._undecodable = undecodable
        self._name = name
        self._finding = finding
        self.sample_rate: int = reader.samplerate
        """Sample rate in Hz."""
        self.channels: int = reader.channels
        """1 for mono."""
        self.encoding = f"{reader.format} {reader.subtype}"
        """Container and codec as libsndfile names them."""
        self.samples: int | None = reader.frames if reader.frames < _UNKNOWN_FRAMES else None
        """Samples per channel that the file holds, or promises; None if it does not tell."""
        if finding.samples is not None:
            self.samples = self._at_our_rate(finding.samples)
        self.note = finding.note
        """What is odd about the file; complete after the last block."""
        if not MIN_SAMPLE_RATE_HZ <= self.sample_rate <= MAX_SAMPLE_RATE_HZ:
            raise AudioError(
                f"{name} has a sample rate of {self.sample_rate} Hz: it must be from {MIN_SAMPLE_RATE_HZ} to "
                f"{MAX_SAMPLE_RATE_HZ}; if the header alone is wrong, write it anew with the true rate"
            )
        self._max_samples = max(1, int(limit_s * min(self.sample_rate, MAX_VALUES_PER_SECOND / self.channels)))
        self._check_limit(self.samples or 0)

    def blocks(self) -> Iterator[np.ndarray]:
        """Decode: float32 `[n]` if mono, else `[channels, n]`; integers are divided by their full scale.

        Raises:
            AudioError: damaged, empty, too long, or not finite.
        """
        there = 0
        for block in self._raw_blocks():
            finite = np.isfinite(block)
            if not finite.all():
                first = there + int(np.argmin(finite.all(axis=1)))
                raise AudioError(
                    f"{self._name} holds NaN or infinity, the first at sample {first}: a recording must be finite "
                    "numbers"
                )
            there += len(block)
            self._check_limit(there)
            yield block[:, 0] if self.channels == 1 else np.ascontiguousarray(block.T)
        if there == 0:
            raise AudioError(f"{self._name} holds no samples: leave it out, or record it anew")
        self.note = self.note or self._length_note(there)

    def _raw_blocks(self) -> Iterator[np.ndarray]:
        """Blocks `[n, channels]` of all parts of the file."""
        import soundfile

        there = 0
        for reader in itertools.chain([self._reader], self._following):
            rate, channels = reader.samplerate, reader.channels
            if (rate, channels) != (self.sample_rate, self.channels):
                raise AudioError(
                    f"{self._name} goes on after {there} samples with {channels} channel(s) at {rate} Hz instead of "
                    f"{self.channels} at {self.sample_rate} Hz: cut it in two"
                )
            while True:
                try:
                    block = reader.read(max(1, _BLOCK_VALUES // channels), dtype="float32", always_2d=True)
                except soundfile.SoundFileError as error:
                    raise self._undecodable(error) from error
                if not len(block):
                    break
                there += len(block)
                yield block

    def _length_note(self, there: int) -> str | None:
        """What only decoding shows: less than promised, or another length than a second count states."""
        promised = max(self.samples or 0, self._at_our_rate(self._finding.promised or 0))
        # Of recordings in one file each is rounded down by itself.
        rounded = len(self._finding.sources[1:]) if self._finding.samples_hz not in (None, self.sample_rate) else 0
        if there < promised - rounded:
            return f"its header promises {promised} samples and {there} are there: the file is cut short"
        return None if self._finding.second is None else self._finding.second.contradicts(there)

    def _at_our_rate(self, samples: int) -> int:
        return samples * self.sample_rate // (self._finding.samples_hz or self.sample_rate)

    def _check_limit(self, samples: int) -> None:
        if samples > self._max_samples:
            raise AudioError(
                f"{self._name} is longer than {self._max_samples / self.sample_rate:g} s, the limit for "
                f"{self.channels} channel(s) at {self.sample_rate} Hz: --max-seconds raises it"
            )


def _rewindable(stream: BinaryIO, limit_s: float) -> BinaryIO:
    """The stream itself at its start, or a copy in memory of what a pipe delivers."""
    try:
        if stream.seekable():
            stream.seek(0)
            return stream
        max_bytes = int(limit_s * MAX_VALUES_PER_SECOND * 4)
        copy = io.BytesIO()
        # Not at once: Python would take memory for all that the limit allows.
        while copy.tell() <= max_bytes and (block := stream.read(min(_BLOCK_BYTES, max_bytes + 1 - copy.tell()))):
            copy.write(block)
    except (OSError, ValueError) as error:
        raise AudioError(f"the audio stream cannot be read: {error}") from error
    if copy.tell() > max_bytes:
        raise AudioError(f"the audio stream has more than {max_bytes} bytes, the limit for {limit_s:g} s of audio")
    return copy


@contextlib.contextmanager
def _opened(file: BinaryIO, name: str, file_name: str | None, limit_s: float) -> Iterator[RecordingReader]:
    import soundfile

    class ForwardReader(soundfile.SoundFile):  # type: ignore[misc]
        """Reads on without seeking: soundfile seeks after each block, and mp3 decodes to something else after that."""

        def seekable(self) -> bool:
            return False

    def undecodable(error: Exception) -> AudioError:
        reason = getattr(error, "error_string", str(error))
        return AudioError(f"{name} cannot be decoded ({reason}): {describe_undecodable(file, file_name)}")

    check_magic(file, name, file_name)
    try:
        finding = examine_length(file)
    except AudioError as error:
        raise AudioError(f"{name}: {error}") from error
    except OSError:
        raise
    except Exception as error:
        # Whatever else a stranger's bytes make a parser raise says of them, not of us, that they are damaged.
        raise undecodable(error) from error
    with contextlib.ExitStack() as opened:

        def open_source(source: BinaryIO) -> Any:
            source.seek(0)
            try:
                # A file on disk goes by its descriptor, which libsndfile reads without the interpreter's lock.
                handle = source.fileno() if isinstance(source, io.FileIO) else source
                return opened.enter_context(ForwardReader(handle, closefd=False))
            except soundfile.SoundFileError as error:
                raise undecodable(error) from error

        readers: Iterator[Any] = map(open_source, finding.sources or (file,))
        if finding.if_short is not None:
            estimated = next(readers)
            is_short = estimated.frames < (finding.samples or 0)
            readers = map(open_source, [finding.if_short]) if is_short else itertools.chain([estimated])
        yield RecordingReader(readers, name, limit_s, finding, undecodable)


def _joined(blocks: list[np.ndarray]) -> np.ndarray:
    """Join blocks `[n]` or `[C, n]`, each freed as soon as it is copied: the peak is one copy, not two."""
    end = sum(block.shape[-1] for block in blocks)
    samples = np.empty((*blocks[0].shape[:-1], end), np.float32)
    while blocks:
        block = blocks.pop()
        samples[..., end - block.shape[-1] : end] = block
        end -= block.shape[-1]
    return samples
