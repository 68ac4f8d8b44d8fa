"""Tells by its first bytes what a recording is, and what to do with one that is not read."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import BinaryIO

from hifigan_rt.audio.lengths import flac_bits, wav_codec
from hifigan_rt.audio.lengths.pieces import ByteWindow, id3_bytes
from hifigan_rt.errors import AudioError
from hifigan_rt.system.file_kinds import HEAD_BYTES, FileKind, describe_failed_download, file_kind

_UNREAD_OGG = (".spx", ".oga", ".ogv")
"""Suffixes of what libsndfile does not read inside Ogg."""

_WAV_CODECS = (1, 2, 3, 6, 7, 0x11, 0x31, 0x38, 0x40, 0x50, 0x55)
"""Format tags of what libsndfile reads inside WAV."""

_FLAC_BITS = (8, 16, 24)
"""Bits of a sample that libsndfile reads from a FLAC."""

_BARE_SUFFIXES = (".raw", ".pcm", ".s16", ".sw")

_AFTER_ID3 = (".wav", ".flac", ".ogg", ".mp3", "")
"""Suffixes of what may follow an ID3 tag."""


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
    window = ByteWindow(file)
    kind = file_kind(window.read(id3_bytes(window, 0), HEAD_BYTES)) or file_kind(head)
    wav = head[:4] in (b"RIFF", b"RIFX", b"RF64") and head[8:12] in (b"WAVE", b"")
    mp3 = head[:3] == b"ID3" or (head[0] == 0xFF and head[1:2] >= b"\xe0")
    if wav or head[:4] in (b"fLaC", b"OggS") or (mp3 and (kind is None or kind.suffix in _AFTER_ID3)):
        return
    if kind is None:
        bare = Path(file_name or "").suffix.lower() in _BARE_SUFFIXES
        way_out = "; bare samples need a header: ffmpeg -f s16le -ar 22050 -ac 1 -i IN OUT.wav" if bare else ""
        raise AudioError(f"{name} is not wav, flac, ogg or mp3: it starts with {head[:12]!r}{way_out}")
    raise AudioError(f"{name} is {kind.name}, not wav, flac, ogg or mp3{_way_out(kind, file_name)}")


def describe_undecodable(file: BinaryIO, file_name: str | None) -> str:
    """Say of a file that libsndfile gave up what may be the matter: an unusual codec, or damage."""
    file.seek(0)
    kind = file_kind(file.read(HEAD_BYTES))
    bits = flac_bits(file)
    if kind is not None and bits is not None and bits not in _FLAC_BITS:
        return f"it is a FLAC of {bits} bits, and those of 8, 16 and 24 are read: {_conversion(kind, file_name)}"
    codec = wav_codec(file) if kind is not None and kind.suffix == ".wav" else None
    if kind is not None and codec is not None and codec not in _WAV_CODECS:
        return f"its codec, format tag 0x{codec:04x}, is not read: {_conversion(kind, file_name)}"
    if kind is not None and kind.suffix in _UNREAD_OGG:
        return f"it is {kind.name}, and of Ogg Vorbis and Opus are read: {_conversion(kind, file_name)}"
    return "it is cut short, damaged or of an unusual kind: copy or download it again"


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
