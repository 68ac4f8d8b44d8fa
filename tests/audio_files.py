"""Recordings for tests, byte by byte: what writers make, and the same with other counts in them."""

from __future__ import annotations

import functools
import io
import struct

import numpy as np
import soundfile

from hifigan_rt.audio import Recording, read_audio

RATE = 22050
SAMPLES = 20_000
VALUES = np.random.default_rng(0).integers(-9000, 9000, SAMPLES).astype("<i2")
FLOATS = VALUES.astype(np.float32) / 32768
"""Noise as 16-bit integers, and as a reader gives it."""

TO_THE_END = "it was read to the end"


def encoded(samples: np.ndarray, container: str, subtype: str, rate: int = RATE) -> bytes:
    """A recording as libsndfile writes it."""
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, format=container, subtype=subtype)
    return buffer.getvalue()


def chunk(kind: bytes, content: bytes, order: str = "<") -> bytes:
    return kind + struct.pack(f"{order}I", len(content)) + content + b"\0" * (len(content) % 2)


def wav(
    data: bytes,
    *,
    tag: int = 1,
    channels: int = 1,
    rate: int = RATE,
    bits: int = 16,
    claimed: int | None = None,
    riff: int | None = None,
    magic: bytes = b"RIFF",
    counts: tuple[int, int, int] | None = None,
    before: bytes = b"",
    after: bytes = b"",
    block: int | None = None,
    bytes_a_second: int | None = None,
) -> bytes:
    """A WAV.

    Args:
        data: bytes of samples.
        tag, channels, rate, bits: what the header states of the format.
        claimed: bytes of samples that the header states; None is the right number.
        riff: bytes of the whole that it states.
        magic: RIFF, RIFX or RF64.
        counts: bytes of the whole, bytes of samples and samples in a chunk ds64.
        before, after: chunks before and after the samples, or anything else.
        block, bytes_a_second: other counts of the format; None is the right number.
    """
    order = ">" if magic == b"RIFX" else "<"
    width = channels * bits // 8
    block = width & 0xFFFF if block is None else block
    bytes_a_second = (rate * width) & 0xFFFFFFFF if bytes_a_second is None else bytes_a_second
    fmt = struct.pack(f"{order}HHIIHH", tag, channels, rate, bytes_a_second, block, bits)
    body = b"WAVE" + (b"" if counts is None else chunk(b"ds64", struct.pack("<QQQI", *counts, 0)))
    body += chunk(b"fmt ", fmt, order) + before
    body += b"data" + struct.pack(f"{order}I", len(data) if claimed is None else claimed) + data + after
    return magic + struct.pack(f"{order}I", len(body) if riff is None else riff) + body


def flac_with_total(content: bytes, total: int) -> bytes:
    """A FLAC whose header states another number of samples."""
    counts = (content[21] & 0xF0) << 32 | total
    return content[:21] + counts.to_bytes(5, "big") + content[26:]


def mp3_with_count(content: bytes, frames: int) -> bytes:
    """An MP3 whose Xing or Info frame states another number of frames."""
    at = mp3_count_position(content)
    return content[:at] + struct.pack(">I", frames) + content[at + 4 :]


def mp3_count_position(content: bytes) -> int:
    return max(content.find(b"Xing"), content.find(b"Info")) + 8


def ogg_pages(content: bytes) -> list[bytes]:
    """The pages of an Ogg."""
    pages = []
    while content:
        segments = content[26]
        length = 27 + segments + sum(content[27 : 27 + segments])
        pages.append(content[:length])
        content = content[length:]
    return pages


def ogg_position(page: bytes) -> int:
    return int(struct.unpack_from("<q", page, 6)[0])


def ogg_page_with(page: bytes, *, position: int | None = None, flags: int | None = None, serial: int = 1) -> bytes:
    """A page with other fields and the checksum that belongs to them."""
    raw = bytearray(page)
    raw[5] = raw[5] if flags is None else flags
    struct.pack_into("<qI", raw, 6, ogg_position(page) if position is None else position, serial)
    raw[22:26] = bytes(4)
    checksum = 0
    for byte in raw:
        checksum = (checksum << 8 & 0xFFFFFFFF) ^ _remainder((checksum >> 24) ^ byte)
    struct.pack_into("<I", raw, 22, checksum)
    return bytes(raw)


@functools.cache
def _remainder(byte: int) -> int:
    value = byte << 24
    for _ in range(8):
        value = (value << 1 ^ (0x04C11DB7 if value >> 31 else 0)) & 0xFFFFFFFF
    return value


def ogg_with_position(content: bytes, position: int) -> bytes:
    """An Ogg whose last page states another position."""
    *pages, last = ogg_pages(content)
    serial = int.from_bytes(last[14:18], "little")
    return b"".join(pages) + ogg_page_with(last, position=position, serial=serial)


def read_bytes(content: bytes) -> Recording:
    return read_audio(io.BytesIO(content))
