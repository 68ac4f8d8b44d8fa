"""Encodes mono samples as wav or flac: rounded, clipped and counted, written whole or not at all.

Integers are round(x * 2**(bits - 1)): with any other factor a PCM file would not come back bit for bit. Without the
clip a sample of +1.0 would wrap to -1.0, as it does in the original's inference.py.
"""

from __future__ import annotations

import io
import struct
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np

from hifigan_rt.errors import AudioError, OutputError
from hifigan_rt.system.files import atomic_writer

Encoding = Literal["pcm16", "pcm24", "float"]
Container = Literal["wav", "flac"]

MAX_WAV_BYTES = (1 << 32) - 1


def to_pcm16(audio: np.ndarray) -> tuple[np.ndarray, int]:
    """Round to 16 bits: float `[N]` to (int16 `[N]`, how many samples were beyond the range and clipped).

    Exactly +1.0 counts as clipped: 32767 / 32768 is the largest value there is.

    Raises:
        AudioError: not one row of finite floats.
    """
    pcm, clipped = _to_pcm(audio, 16)
    return pcm.astype(np.int16), clipped


def to_pcm24(audio: np.ndarray) -> tuple[np.ndarray, int]:
    """Round to 24 bits: float `[N]` to (int32 `[N]` within +-2**23, how many samples were clipped).

    Raises:
        AudioError: not one row of finite floats.
    """
    pcm, clipped = _to_pcm(audio, 24)
    return pcm.astype(np.int32), clipped


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
        OutputError: the format cannot hold it, or the file could not be written.
    """
    if isinstance(target, (str, Path)):
        path = Path(target)
        content, clipped = _encode(audio, sample_rate, encoding, container or _container_of(path))
        with atomic_writer(path) as file:
            file.writelines(content)
        return clipped
    content, clipped = _encode(audio, sample_rate, encoding, container or "wav")
    try:
        target.writelines(content)
    except OSError as error:
        raise OutputError(f"the audio stream could not be written: {error.strerror or error}") from error
    return clipped


def _check_finite_row(audio: np.ndarray) -> None:
    if audio.ndim != 1 or audio.dtype.kind != "f":
        raise AudioError(f"audio of shape {list(audio.shape)} and dtype {audio.dtype} is not one row of floats [N]")
    wrong = ~np.isfinite(audio)
    if wrong.any():
        raise AudioError(
            f"audio holds {int(wrong.sum())} values that are NaN or infinite, the first at sample "
            f"{int(wrong.argmax())}: nothing was written"
        )


def _to_pcm(audio: np.ndarray, bits: int) -> tuple[np.ndarray, int]:
    """Rounded values as floats, which hold integers of 24 bits exactly."""
    _check_finite_row(audio)
    full_scale = 1 << (bits - 1)
    # The clip before the scaling keeps a huge float from overflowing; +-2 is beyond the range at any width.
    rounded = np.rint(np.clip(audio.astype(np.float32, copy=False), -2, 2) * np.float32(full_scale))
    clipped = int(np.count_nonzero((rounded < -full_scale) | (rounded > full_scale - 1)))
    return np.clip(rounded, -full_scale, full_scale - 1), clipped


def _container_of(path: Path) -> Container:
    suffix = path.suffix.lower()
    if suffix == ".wav":
        return "wav"
    if suffix == ".flac":
        return "flac"
    raise OutputError(f"{str(path)!r} has the suffix {suffix!r}, and audio is written as .wav or .flac")


def _encode(audio: np.ndarray, sample_rate: int, encoding: Encoding, container: Container) -> tuple[list[bytes], int]:
    """The bytes of a file, in parts, and the number of clipped samples."""
    clipped = 0
    if encoding == "float":
        _check_finite_row(audio)
        samples = audio.astype(np.float32, copy=False)
    elif encoding == "pcm16":
        samples, clipped = to_pcm16(audio)
    elif encoding == "pcm24":
        samples, clipped = to_pcm24(audio)
    else:
        raise OutputError(f"encoding={encoding!r} must be 'pcm16', 'pcm24' or 'float'")
    if container == "wav":
        return _wav_parts(samples, sample_rate, encoding), clipped
    if encoding == "float":
        raise OutputError("encoding='float' does not go into flac: choose pcm24, or write wav")
    return [_flac_bytes(samples, sample_rate, encoding)], clipped


def _wav_parts(samples: np.ndarray, sample_rate: int, encoding: Encoding) -> list[bytes]:
    """A canonical wav. Written here because libsndfile stamps float files with the time, and must seek."""
    if encoding == "pcm24":
        body = samples.astype("<i4").view(np.uint8).reshape(-1, 4)[:, :3].tobytes()
    else:
        body = samples.astype("<f4" if encoding == "float" else "<i2").tobytes()
    width = {"pcm16": 2, "pcm24": 3, "float": 4}[encoding]
    format_tag = 3 if encoding == "float" else 1
    fmt = struct.pack("<HHIIHH", format_tag, 1, sample_rate, sample_rate * width, width, 8 * width)
    chunks = [b"fmt ", struct.pack("<I", 16), fmt]
    if encoding == "float":
        # Anything but PCM has an extension size and a fact chunk with the length.
        chunks = [b"fmt ", struct.pack("<I", 18), fmt, b"\0\0", b"fact", struct.pack("<II", 4, len(samples))]
    chunks += [b"data", struct.pack("<I", len(body) & 0xFFFFFFFF), body, b"\0" * (len(body) % 2)]
    riff_bytes = 4 + sum(len(chunk) for chunk in chunks)
    if riff_bytes > MAX_WAV_BYTES:
        raise OutputError(f"{riff_bytes} bytes do not fit into a wav (at most {MAX_WAV_BYTES}): write flac")
    return [b"RIFF", struct.pack("<I", riff_bytes), b"WAVE", *chunks]


def _flac_bytes(samples: np.ndarray, sample_rate: int, encoding: Encoding) -> bytes:
    import soundfile

    subtype = "PCM_16"
    if encoding == "pcm24":
        # libsndfile takes 24 bits from the upper end of 32.
        samples, subtype = samples << 8, "PCM_24"
    buffer = io.BytesIO()
    try:
        soundfile.write(buffer, samples, sample_rate, format="FLAC", subtype=subtype)
    except soundfile.SoundFileError as error:
        raise OutputError(f"flac cannot hold {len(samples)} samples at {sample_rate} Hz: {error}") from error
    return buffer.getvalue()
