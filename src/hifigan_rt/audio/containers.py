"""Looks at the bytes of an audio file before and beside libsndfile: what it is, and whether its end is missing."""

from __future__ import annotations

import io
import struct
from typing import BinaryIO

from hifigan_rt.errors import AudioError

_STREAMED_BYTES = 0x7FFF0000
"""Programs that write a wav to a pipe put about 2**31 or 2**32 as its length, for "until the end"."""

_OGG_TAIL_BYTES = 1 << 17
"""An Ogg page has at most 65,307 bytes, so that the start of the last one lies in here."""

_OGG_END_OF_STREAM = 4


def check_magic(file: BinaryIO, name: str) -> None:
    """Let only wav, flac, ogg and mp3 through: libsndfile knows twenty more formats, some of them barely tested.

    Raises:
        AudioError: the file is empty or starts like something else.
    """
    file.seek(0)
    head = file.read(12)
    if not head:
        raise AudioError(f"{name} is empty (0 bytes)")
    wav = head[:4] in (b"RIFF", b"RIFX", b"RF64") and head[8:12] in (b"WAVE", b"")
    mp3 = head[:3] == b"ID3" or (head[0] == 0xFF and head[1:2] >= b"\xe0")
    if not (wav or mp3 or head[:4] in (b"fLaC", b"OggS")):
        raise AudioError(f"{name} is not wav, flac, ogg or mp3: it starts with {head!r}")


def missing_end(file: BinaryIO) -> str | None:
    """Say what is missing if a wav or ogg is cut short, which libsndfile would pass over in silence; else None."""
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    magic = file.read(4)
    if magic in (b"RIFF", b"RIFX", b"RF64"):
        return _missing_wav_end(file, size, ">" if magic == b"RIFX" else "<")
    if magic == b"OggS":
        file.seek(max(0, size - _OGG_TAIL_BYTES))
        return _missing_ogg_end(file.read(_OGG_TAIL_BYTES))
    return None


def _missing_ogg_end(tail: bytes) -> str | None:
    page = tail[max(0, tail.rfind(b"OggS")) :]
    # RFC 3533: flags at byte 5, the number of segments at byte 26, then a byte of length for each.
    segments = page[27 : 27 + page[26]] if len(page) > 26 else b""
    if len(page) < 27 + len(segments) + sum(segments):
        return "its last page is incomplete: the file is cut short"
    if not page[5] & _OGG_END_OF_STREAM:
        return "its last page is not marked as the end: the file is cut short"
    return None


def _missing_wav_end(file: BinaryIO, size: int, byte_order: str) -> str | None:
    position, length_64 = 12, None
    for _ in range(1000):  # more chunks than any real file has, so that a hostile one ends
        file.seek(position)
        header = file.read(8)
        if len(header) < 8:
            return None
        kind, length = struct.unpack(f"{byte_order}4sI", header)
        position += 8
        if kind == b"ds64":
            sizes = file.read(16)
            length_64 = struct.unpack("<QQ", sizes)[1] if len(sizes) == 16 else None
        if kind == b"data":
            there = size - position
            if length_64 is None and length >= _STREAMED_BYTES:
                return None
            promised = length if length_64 is None else length_64
            if there < promised:
                return f"its header promises {promised} bytes of samples and {there} are there: the file is cut short"
            return None
        position += length + length % 2
    return None
