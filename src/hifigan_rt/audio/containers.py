"""Looks at the bytes of an audio file before and beside libsndfile: what it is, and whether its end is missing."""

from __future__ import annotations

import io
import shlex
import struct
from pathlib import Path
from typing import BinaryIO

from hifigan_rt.errors import AudioError
from hifigan_rt.system.file_kinds import HEAD_BYTES, FileKind, describe_failed_download, file_kind

_UNREAD_OGG = (".spx", ".oga", ".ogv")
"""Suffixes of what libsndfile does not read inside Ogg."""

_AFTER_ID3 = (".mp3", ".flac", "")
"""Suffixes of what may follow an ID3 tag."""

_STREAMED_BYTES = 0x7FFF0000
"""Programs that write a wav to a pipe put about 2**31 or 2**32 as its length, for "until the end"."""

_OGG_TAIL_BYTES = 1 << 17
"""An Ogg page has at most 65,307 bytes, so that the start of the last one lies in here."""

_OGG_END_OF_STREAM = 4


def check_magic(file: BinaryIO, name: str, file_name: str | None) -> None:
    """Let only wav, flac, ogg and mp3 through: libsndfile knows twenty more formats, some of them barely tested.

    Args:
        file: seekable.
        name: what error texts call it.
        file_name: last part of its path, for the way out; None if it has none.

    Raises:
        AudioError: the file is something else; the text says what it is and the way out.
    """
    file.seek(0)
    head = file.read(HEAD_BYTES)
    failure = describe_failed_download(head)
    if failure is not None:
        raise AudioError(f"{name} {failure}")
    after_tag = _after_id3(file, head)
    kind = file_kind(after_tag) or file_kind(head)
    wav = head[:4] in (b"RIFF", b"RIFX", b"RF64") and head[8:12] in (b"WAVE", b"")
    mp3 = head[:3] == b"ID3" or (head[0] == 0xFF and head[1:2] >= b"\xe0")
    if wav or head[:4] in (b"fLaC", b"OggS") or (mp3 and (kind is None or kind.suffix in _AFTER_ID3)):
        return
    if kind is None:
        raise AudioError(f"{name} is not wav, flac, ogg or mp3: it starts with {head[:12]!r}")
    raise AudioError(f"{name} is {kind.name}, not wav, flac, ogg or mp3{_way_out(kind, file_name)}")


def describe_undecodable(file: BinaryIO, file_name: str | None) -> str:
    """Say of a file that libsndfile gave up what may be the matter: an unusual codec, or damage."""
    file.seek(0)
    kind = file_kind(file.read(HEAD_BYTES))
    if kind is not None and kind.suffix in _UNREAD_OGG:
        return f"it is {kind.name}, and of Ogg Vorbis and Opus are read: {_conversion(kind, file_name)}"
    return "it is damaged or of an unusual kind"


def _after_id3(file: BinaryIO, head: bytes) -> bytes:
    """The beginning of what follows an ID3 tag; of a file without one, its beginning."""
    if head[:3] != b"ID3" or len(head) < 10:
        return head
    # Seven bits a byte, https://id3.org/id3v2.4.0-structure section 6.2; the ten bytes before are not counted.
    size = sum((byte & 0x7F) << shift for byte, shift in zip(head[6:10], (21, 14, 7, 0), strict=True))
    file.seek(10 + size)
    return file.read(HEAD_BYTES)


def _way_out(kind: FileKind, file_name: str | None) -> str:
    if kind.holds in ("audio", "video"):
        return f": {_conversion(kind, file_name)}"
    name = Path(file_name or "")
    if kind.holds in ("array", "weights") and name.suffix.lower() != kind.suffix:
        return f": if it holds a mel, name it {name.stem or 'mel'}{kind.suffix}"
    return ": unpack it first" if kind.holds == "archive" else ""


def _conversion(kind: FileKind, file_name: str | None) -> str:
    if file_name is None or not file_name.isprintable():
        file_name = f"recording{kind.suffix}"
    target = Path(file_name).with_suffix(".wav").name
    if target == file_name:
        target = f"{Path(file_name).stem}-converted.wav"
    return f"ffmpeg -i {shlex.quote(file_name)} {shlex.quote(target)} converts it"


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
