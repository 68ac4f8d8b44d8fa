"""Audio out: whole or a piece at a time, as wav, flac, Ogg Opus or bare samples.

Integers are rounded, clipped and counted as in the files that `hifigan synth` writes. Opus is coded at 8, 12, 16, 24 or
48 kHz alone, so other rates are resampled to the next higher of these (to 48 kHz from above): 22.05 kHz to 24 kHz.
"""

from __future__ import annotations

import struct
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hifigan_rt.audio.encoding import MAX_WAV_BYTES, to_pcm16
from hifigan_rt.audio.lengths.mp3 import first_frame_bytes
from hifigan_rt.audio.sink import EncodedSink, open_encoder

OPUS_RATES_HZ = (8000, 12000, 16000, 24000, 48000)

OPUS_PAGE_LATENCY_MS = 50.0
"""Audio in one page of a streamed Ogg, which is sent when it is full; libsndfile's default keeps a second back."""

# libsndfile's SFC_SET_OGG_PAGE_LATENCY_MS, which soundfile does not name.
_SET_OGG_PAGE_LATENCY_MS = 0x1302

_MP3_COMPRESSION = 0.5
"""The middle of what libsndfile offers: 80 kbit/s at 22.05 kHz."""

_ENCODED_AT_ONCE_SAMPLES = 1 << 16

_UNKNOWN_BYTES = 0xFFFFFFFF
_WAV_HEADER_BYTES = 44


@dataclass(frozen=True)
class AudioFormat:
    """Format that audio is sent in."""

    name: str
    """Name in requests."""
    media_type: str
    """Content-Type of the response; `{rate}` stands for the sample rate in Hz."""
    description: str


FORMATS = {
    audio_format.name: audio_format
    for audio_format in (
        AudioFormat("wav", "audio/wav", "16-bit PCM; streamed, with the length 0xFFFFFFFF if it is unknown"),
        AudioFormat("flac", "audio/flac", "16-bit, lossless; streamed in blocks of 4096 samples"),
        AudioFormat(
            "pcm16", "application/vnd.hifigan.pcm16;rate={rate};channels=1", "bare 16-bit integers, little-endian"
        ),
        AudioFormat(
            "float32", "application/vnd.hifigan.float32;rate={rate};channels=1", "bare floats, little-endian, unclipped"
        ),
        AudioFormat("opus", "audio/ogg;codecs=opus", "Ogg Opus, lossy, resampled to 24 kHz from 22.05 kHz"),
    )
}


@dataclass(frozen=True)
class EncodedAudio:
    """Audio as it is sent."""

    parts: list[bytes | memoryview]
    """Content, one part behind the other: joined, it would be copied while everybody waits."""
    sample_rate: int
    """Sample rate of what a decoder gives, in Hz."""
    clipped: int
    """Number of samples beyond the range of 16 bits."""


def encoded_rate(name: str, sample_rate: int) -> int:
    """Tell the sample rate in Hz that audio of `sample_rate` has in the format of that name."""
    return sample_rate if name != "opus" else next((r for r in OPUS_RATES_HZ if r >= sample_rate), OPUS_RATES_HZ[-1])


def encode_whole(name: str, audio: np.ndarray, sample_rate: int) -> EncodedAudio:
    """Encode audio at once.

    Args:
        name: a key of `FORMATS`.
        audio: float32 `[N]`, nominally in [-1, 1].
        sample_rate: in Hz.

    Raises:
        OutputError: it does not fit into the format.
    """
    if name == "float32":
        floats = np.ascontiguousarray(audio, "<f4")
        return EncodedAudio([memoryview(floats.view(np.uint8))], sample_rate, 0)  # type: ignore[arg-type]
    encoder = _Opus(sample_rate, page_latency_ms=None) if name == "opus" else stream_encoder(name, sample_rate)
    encoder.samples = len(audio)
    parts = [encoder.start()]
    for start in range(0, len(audio), _ENCODED_AT_ONCE_SAMPLES):
        parts.append(encoder.encode(audio[start : start + _ENCODED_AT_ONCE_SAMPLES]))
    parts.append(encoder.finish())
    return EncodedAudio([*completed(encoder, parts)], encoder.sample_rate, encoder.clipped)


def completed(encoder: StreamEncoder, parts: Sequence[bytes]) -> list[bytes]:
    """Complete what an encoder that has finished gave, in order: some of it is known at the end only."""
    parts = [part for part in parts if part]
    if encoder.rewritten:
        header = bytearray(parts[0])
        for position, data in encoder.rewritten:
            header[position : position + len(data)] = data
        parts[0] = bytes(header)
    return parts


class StreamEncoder(ABC):
    """Encodes one signal a piece at a time: `start`, any number of `encode`, `finish`."""

    def __init__(self, sample_rate: int, samples: int | None = None) -> None:
        self.sample_rate = sample_rate
        """Sample rate of what a decoder gives, in Hz."""
        self.samples = samples
        """Length of the signal in samples, if that is known at the start."""
        self.clipped = 0
        """Number of samples so far that were beyond the range of 16 bits."""

    @property
    def rewritten(self) -> list[tuple[int, bytes]]:
        """Positions and bytes that `finish` completes of what was given before; none if that can be done without."""
        return []

    def start(self) -> bytes:
        """Give the bytes that precede the audio."""
        return b""

    @abstractmethod
    def encode(self, audio: np.ndarray) -> bytes:
        """Encode more audio, float32 `[n]`, finite; what comes out may be of earlier pieces, or nothing yet."""

    def finish(self) -> bytes:
        """Give the bytes that are left."""
        return b""

    def close(self) -> None:  # noqa: B027 - most have nothing to free
        """Free what a stream that was not finished has."""


class _Pcm16(StreamEncoder):
    def encode(self, audio: np.ndarray) -> bytes:
        samples, clipped = to_pcm16(audio)
        self.clipped += clipped
        return samples.astype("<i2", copy=False).tobytes()


class _Float32(StreamEncoder):
    def encode(self, audio: np.ndarray) -> bytes:
        return audio.astype("<f4", copy=False).tobytes()


class _Wav(_Pcm16):
    def start(self) -> bytes:
        rate, data_bytes = self.sample_rate, 2 * (self.samples or 0)
        riff_bytes = data_bytes + _WAV_HEADER_BYTES - 8
        if self.samples is None or riff_bytes > MAX_WAV_BYTES:
            riff_bytes = data_bytes = _UNKNOWN_BYTES
        return struct.pack(
            "<4sI4s4sIHHIIHH4sI",
            b"RIFF", riff_bytes, b"WAVE", b"fmt ", 16, 1, 1, rate, 2 * rate, 2, 16, b"data", data_bytes,
        )  # fmt: skip


class _Compressed(StreamEncoder):
    """Encodes with libsndfile; the first bytes that it gives may have to be mended."""

    def __init__(self, sample_rate: int, samples: int | None, container: str, subtype: str, **options: Any) -> None:
        super().__init__(sample_rate, samples)
        self._sink = EncodedSink()
        self._file = open_encoder(self._sink, sample_rate, container, subtype, **options)
        self._begun = False

    def finish(self) -> bytes:
        self._file.close()
        return self._taken()

    def close(self) -> None:
        self._file.close()

    def _taken(self) -> bytes:
        content = self._sink.take()
        if self._begun or not content:
            return content
        self._begun = True
        return self._mended(content)

    def _mended(self, beginning: bytes) -> bytes:
        return beginning


class _Flac(_Compressed):
    def __init__(self, sample_rate: int, samples: int | None = None) -> None:
        super().__init__(sample_rate, samples, "FLAC", "PCM_16")

    @property
    def rewritten(self) -> list[tuple[int, bytes]]:
        return self._sink.rewritten

    def encode(self, audio: np.ndarray) -> bytes:
        samples, clipped = to_pcm16(audio)
        self.clipped += clipped
        self._file.write(samples)
        return self._taken()

    def _mended(self, beginning: bytes) -> bytes:
        if self.samples is None or self.samples >> 36:
            return beginning
        # RFC 9639, 8.2: the number of samples is the 36 bits that end at byte 25; libsndfile sets them at its close.
        before = int.from_bytes(beginning[18:26]) >> 36
        return beginning[:18] + (before << 36 | self.samples).to_bytes(8) + beginning[26:]


class _Mp3(_Compressed):
    def __init__(self, sample_rate: int, samples: int | None = None) -> None:
        # Of a variable rate, decoders that go by the size would guess the length of a stream, and stop early.
        rate = {"compression_level": _MP3_COMPRESSION, "bitrate_mode": "CONSTANT"}
        super().__init__(sample_rate, samples, "MP3", "MPEG_LAYER_III", **rate)

    def encode(self, audio: np.ndarray) -> bytes:
        self.clipped += to_pcm16(audio)[1]
        self._file.write(np.clip(audio, -1, 1))
        return self._taken()

    def _mended(self, beginning: bytes) -> bytes:
        # Its first frame has no sound, and states how many follow, which libsndfile knows at its close: decoders would
        # end where it was written.
        return beginning[first_frame_bytes(beginning) :]


class Resampled(StreamEncoder):
    """An encoder before which the sample rate is converted."""

    def __init__(self, inner: StreamEncoder, from_hz: int) -> None:
        """
        Args:
            inner: takes the converted audio.
            from_hz: sample rate of what `encode` is given, in Hz.
        """
        import soxr

        super().__init__(inner.sample_rate)
        self._inner = inner
        self._resampler = soxr.ResampleStream(from_hz, inner.sample_rate, 1, dtype="float32", quality="HQ")

    def start(self) -> bytes:
        return self._inner.start()

    def encode(self, audio: np.ndarray, *, last: bool = False) -> bytes:
        encoded = self._inner.encode(self._resampler.resample_chunk(audio, last=last))
        self.clipped = self._inner.clipped
        return encoded

    def finish(self) -> bytes:
        return self.encode(np.zeros(0, np.float32), last=True) + self._inner.finish()

    def close(self) -> None:
        self._inner.close()


class _Opus(_Compressed):
    def __init__(
        self,
        sample_rate: int,
        samples: int | None = None,
        page_latency_ms: float | None = OPUS_PAGE_LATENCY_MS,
    ) -> None:
        import soxr

        rate = encoded_rate("opus", sample_rate)
        super().__init__(rate, samples, "OGG", "OPUS")
        self._resampler = None if rate == sample_rate else soxr.ResampleStream(sample_rate, rate, 1, dtype="float32")
        if page_latency_ms is not None:
            _flush_pages_after(self._file, page_latency_ms)

    def encode(self, audio: np.ndarray) -> bytes:
        self.clipped += to_pcm16(audio)[1]
        self._write(np.clip(audio, -1, 1), last=False)
        return self._taken()

    def finish(self) -> bytes:
        self._write(np.zeros(0, np.float32), last=True)
        return super().finish()

    def _write(self, audio: np.ndarray, *, last: bool) -> None:
        if self._resampler is not None:
            audio = self._resampler.resample_chunk(audio, last=last)
        self._file.write(audio)


def stream_encoder(name: str, sample_rate: int, samples: int | None = None) -> StreamEncoder:
    """Make an encoder for a signal that is sent while it is computed.

    Args:
        name: a key of `FORMATS`, or "mp3".
        sample_rate: in Hz.
        samples: length of the signal, for the header of a wav or flac; None if it is not known yet.

    Raises:
        OutputError: the format does not hold that sample rate.
    """
    encoders: dict[str, type[StreamEncoder]] = {
        "wav": _Wav, "flac": _Flac, "pcm16": _Pcm16, "float32": _Float32, "opus": _Opus,
        "mp3": _Mp3,
    }  # fmt: skip
    return encoders[name](sample_rate, samples)


def _flush_pages_after(file: Any, latency_ms: float) -> None:
    from soundfile import _ffi, _snd

    _snd.sf_command(file._file, _SET_OGG_PAGE_LATENCY_MS, _ffi.new("double*", latency_ms), 8)
