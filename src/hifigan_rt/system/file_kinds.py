"""Tells by its first bytes what a file is, whatever its name: the one table of formats that people hand over.

Readers ask here when a file is not what they read, so that the user learns what it is instead. A format is named only
where its beginning is unmistakable.
"""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass
from typing import Literal

HEAD_BYTES = 1024
"""Number of first bytes that are looked at."""

Holds = Literal["audio", "video", "array", "weights", "archive", "text", "other"]

_HTML = (b"<!doctype html", b"<html", b"<head")
_MARKUP = (*_HTML, b"<!doctype", b"<!--")


@dataclass(frozen=True)
class FileKind:
    """Kind of a file."""

    name: str
    """Name with its article, such as "an MPEG-4 file"."""
    holds: Holds
    """What is in such files; "audio" and "video" are what ffmpeg reads."""
    suffix: str = ""
    """Suffix that such files usually have, with its dot."""


def describe_failed_download(head: bytes, *, markup: bool = False) -> str | None:
    """Say of a file what is wrong if it is what a failed download leaves: nothing, a web page, a pointer, a refusal.

    Args:
        head: the first `HEAD_BYTES` of the file, or all that it has.
        markup: the file should be XML: of all markup only HTML is told.

    Returns:
        A text that starts with a verb and ends with the way out, or None.
    """
    if not head:
        return "is empty (0 bytes): the download or copy failed; fetch it again"
    if head.startswith((b"version https://git-lfs", b"version https://hawser")):
        return "is a git-LFS pointer, not the file itself: run 'git lfs pull', or download the file from its page"
    if head.startswith(b"# xet version"):
        return "is a Xet pointer, not the file itself: download the file from its page"
    if re.match(rb"(?:\.\./)*(?:\.git/annex/objects|/annex/objects)/", head):
        return "is a git-annex pointer, not the file itself: run 'git annex get'"
    text = _as_text(head)
    if text.startswith(_HTML if markup else _MARKUP):
        return (
            "is an HTML page: the download saved the web page (a login, a warning or a preview); use the direct link "
            "of the file"
        )
    if not markup and text.startswith((b"<?xml", b"<error>")):
        return f"is an XML text, perhaps what a server refused with ({_excerpt(head)}): fetch the file again"
    return None


def file_kind(head: bytes) -> FileKind | None:
    """Find the kind of a file.

    Args:
        head: the first `HEAD_BYTES` of the file, or all that it has.

    Returns:
        The kind, or None if the beginning is that of no format in the table, nor text.
    """
    for pattern, kind in _KINDS:
        if pattern.match(head):
            return kind
    if re.match(rb"\{\s*[\"}]|\[\s*[\[{\"\d-]", _as_text(head)):
        return FileKind(f"a JSON text ({_excerpt(head)})", "other", ".json")
    if _is_text(head):
        return FileKind(f"a text ({_excerpt(head)})", "text", ".txt")
    if len(head) >= 64 and not any(head):
        return FileKind(f"a file that starts with {len(head)} zero bytes, as an unfinished copy does", "other")
    return None


def _as_text(head: bytes) -> bytes:
    return head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()


def _is_text(head: bytes) -> bool:
    text = _decoded(head)
    return "\ufffd" not in text and all(char.isprintable() or char in "\t\r\n\f\ufeff" for char in text)


def _excerpt(head: bytes) -> str:
    """The first words of a text, as one printable line."""
    words = " ".join(_decoded(head).removeprefix("\ufeff").split())
    return repr(words[:60] + ("..." if len(words) > 60 else ""))


def _decoded(head: bytes) -> str:
    encoding = "utf-16" if head.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8"
    # An incremental decoder waits for the rest of a last character that is cut in two.
    return codecs.getincrementaldecoder(encoding)("replace").decode(head)


_TABLE: tuple[tuple[bytes, str, Holds, str], ...] = (
    # What is read as a recording.
    (rb"RI(?:FF|FX)....WAVE|RF64....WAVE", "a WAV recording", "audio", ".wav"),
    (rb"BW64....WAVE", "a BW64 recording", "audio", ".bw64"),
    (rb"fLaC", "a FLAC recording", "audio", ".flac"),
    (rb"OggS.{23}.{1,64}?(?:\x80theora|BBCD\x00|\x01video)", "an Ogg video", "video", ".ogv"),
    (rb"OggS.{23}.{1,64}?Speex   ", "an Ogg recording (Speex)", "audio", ".spx"),
    (rb"OggS.{23}.{1,64}?(?:\x7fFLAC|fLaC)", "an Ogg recording (FLAC)", "audio", ".oga"),
    (rb"OggS", "an Ogg recording", "audio", ".ogg"),
    # ID3 stands before several formats; what follows it is looked at by the audio reader.
    (rb"ID3[\x02-\x04]|\xff[\xe2-\xe7\xf2-\xf7\xfa-\xfd][^\xf0-\xff]", "an MP3 recording", "audio", ".mp3"),
    # Other audio.
    (rb"\xff[\xf0\xf1\xf8\xf9]|ADIF", "an AAC recording", "audio", ".aac"),
    (rb"\x56[\xe0-\xff].\x20.*\x56[\xe0-\xff]", "an AAC recording (LATM)", "audio", ".loas"),
    (rb"....ftyp(?:avif|avis|hei[cfmsx]|hevc|mif1|msf1|crx )", "a picture (HEIF)", "other", ".heic"),
    (rb"....ftyp(?:M4A |M4B |M4P |F4A |F4B )", "an MPEG-4 recording (AAC or ALAC)", "audio", ".m4a"),
    (rb"....ftyp(?:3g[2eghprs]|kddi)", "a 3GP file (AMR or AAC)", "audio", ".3gp"),
    (rb"....ftypqt  |....(?:wide|pnot)", "a QuickTime file", "video", ".mov"),
    (rb"....(?:ftyp|styp)", "an MPEG-4 file (AAC, perhaps with video)", "video", ".mp4"),
    (rb"..[\x00-\x0f].(?:moov|mdat|moof|sidx)|\x00\x00..(?:moov|mdat|moof|sidx)", "an MPEG-4 file", "video", ".mp4"),
    (rb"FORM....AIFF", "an AIFF recording", "audio", ".aiff"),
    (rb"FORM....AIFC", "an AIFF-C recording", "audio", ".aifc"),
    (rb"FORM....(?:8SVX|16SV)", "an Amiga recording (8SVX)", "audio", ".8svx"),
    (rb"riff\x2e\x91\xcf\x11\xa5\xd6\x28\xdb\x04\xc1\x00\x00", "a W64 recording", "audio", ".w64"),
    (rb"caff\x00\x01", "a CAF recording", "audio", ".caf"),
    (rb"\.snd\x00\x00", "an AU recording", "audio", ".au"),
    (rb"dns\.", "an AU recording, little-endian", "audio", ".au"),
    (rb"NIST_1A", "a NIST SPHERE recording", "audio", ".sph"),
    (rb"\x1aE\xdf\xa3.{0,60}webm", "a WebM file", "video", ".webm"),
    (rb"\x1aE\xdf\xa3", "a Matroska file", "video", ".mkv"),
    (rb"#!AMR", "an AMR recording", "audio", ".amr"),
    (rb"#!SILK|\x02#!SILK", "a SILK recording, as WeChat and QQ keep them", "other", ".silk"),
    (rb"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "a Windows Media file (WMA or WMV)", "audio", ".wma"),
    (rb"wvpk", "a WavPack recording", "audio", ".wv"),
    (rb"MAC ", "a Monkey's Audio recording", "audio", ".ape"),
    (rb"MPCK|MP\+", "a Musepack recording", "audio", ".mpc"),
    (rb"TTA[12]", "a True Audio recording", "audio", ".tta"),
    (rb"tBaK", "a TAK recording", "audio", ".tak"),
    (rb"ajkg", "a Shorten recording", "audio", ".shn"),
    (rb"OFR |LA0[234]", "a lossless recording (OptimFROG or LA), which its own program unpacks", "other", ".ofr"),
    (rb"DSD \x1c", "a DSD recording (DSF)", "audio", ".dsf"),
    (rb"FRM8.{8}DSD ", "a DSD recording (DSDIFF)", "audio", ".dff"),
    (rb"\.ra\xfd|\.RMF", "a RealAudio or RealMedia file", "audio", ".ra"),
    (rb"Creative Voice File\x1a", "a Creative Voice recording", "audio", ".voc"),
    (rb"\x64\xa3[\x01-\x04]\x00|\x00[\x01-\x04]\xa3\x64", "an IRCAM recording", "audio", ".sf"),
    (rb"\x0bw", "an AC-3 recording", "audio", ".ac3"),
    (rb"\x7f\xfe\x80\x01|\xfe\x7f\x01\x80", "a DTS recording", "audio", ".dts"),
    (rb"RIFF....QLCM", "a QCP recording", "audio", ".qcp"),
    (rb" paf|fap |PVF1|\.SoX|XoS\.|ALawSoundFile|2BIT\x00|nut/multimedia", "a recording in a rare format", "audio", ""),
    (rb"MThd|RIFF....RMID", "a MIDI file: notes, no sound", "other", ".mid"),
    (rb"RIFF....sfbk", "a SoundFont", "other", ".sf2"),
    # Video.
    (rb"RIFF....AVI ", "an AVI video", "video", ".avi"),
    (rb"FLV\x01", "a Flash video", "video", ".flv"),
    (rb"\x00\x00\x01[\xb3\xba]", "an MPEG video", "video", ".mpg"),
    (rb"G(?:.{187}G){3}|.{4}G(?:.{191}G){3}", "an MPEG transport stream", "video", ".ts"),
    # Arrays and weights.
    (rb"\x93NUMPY", "a NumPy array", "array", ".npy"),
    (rb"PK\x03\x04.{26}[^\x00]{0,200}?\.npy", "an archive of NumPy arrays", "array", ".npz"),
    (
        rb"PK\x03\x04.{26}[^\x00/]{1,200}/(?:data\.pkl|constants\.pkl|code/|version|byteorder|\.data|\.format)",
        "a PyTorch file", "weights", ".pt",
    ),
    (rb".{5}\x00\x00\x00\{", "a safetensors file", "weights", ".safetensors"),
    (rb"\x80[\x02-\x05]", "a pickle (an older PyTorch file, for example)", "weights", ".pt"),
    (rb"\x89HDF\r\n\x1a\n", "an HDF5 file", "other", ".h5"),
    (rb"MATLAB 5\.0", "a MATLAB file", "other", ".mat"),
    (rb"PAR1", "a Parquet table", "other", ".parquet"),
    (rb"ARROW1\x00\x00|FEA1", "an Arrow table", "other", ".arrow"),
    (rb"SQLite format 3\x00", "an SQLite database", "other", ".sqlite"),
    (rb"....(?:ORTM|TFL3)", "a converted network (.ort or .tflite)", "other", ".ort"),
    (rb"IMOD", "an Ascend model (.om)", "other", ".om"),
    (rb"GGUF", "a GGUF model", "other", ".gguf"),
    # Archives.
    (rb"PK(?:\x03\x04|\x05\x06)", "a zip archive", "archive", ".zip"),
    (rb"\x1f\x8b", "compressed with gzip", "archive", ".gz"),
    (rb"BZh[1-9]1AY", "compressed with bzip2", "archive", ".bz2"),
    (rb"\xfd7zXZ\x00", "compressed with xz", "archive", ".xz"),
    (rb"\x28\xb5\x2f\xfd", "compressed with zstd", "archive", ".zst"),
    (rb"7z\xbc\xaf\x27\x1c", "a 7z archive", "archive", ".7z"),
    (rb"Rar!\x1a\x07", "a RAR archive", "archive", ".rar"),
    (rb".{257}ustar", "a tar archive", "archive", ".tar"),
    # Neither.
    (rb"\x89PNG|\xff\xd8\xff|GIF8|BM.{4}\x00\x00\x00\x00|II\*\x00|MM\x00\*|RIFF....WEBP", "a picture", "other", ""),
    (rb"%PDF", "a PDF", "other", ".pdf"),
    (rb"\x7fELF|MZ.{58}", "a program", "other", ""),
    (rb"\x00\x05\x16[\x00\x07]", "a companion file of macOS ('._' before the name), not the file itself", "other", ""),
    (rb"\s*(?:data:audio/[^,]{0,80},|UklGR|T2dnUw|ZkxhQ|SUQz)", "a recording in base64: decode it first", "other", ""),
    (rb"#EXTM3U|\[playlist\]", "a playlist: names of recordings, none itself", "other", ".m3u"),
)  # fmt: skip

_KINDS = tuple(
    (re.compile(pattern, re.DOTALL), FileKind(name, holds, suffix)) for pattern, name, holds, suffix in _TABLE
)
