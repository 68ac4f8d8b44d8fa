"""What a file is by its first bytes: each format that people hand over, and nothing taken for what it is not."""

from __future__ import annotations

import io
import pickle
import struct
import tarfile
import zipfile

import numpy as np
import pytest
import soundfile

from hifigan_rt.system.file_kinds import HEAD_BYTES, describe_failed_download, file_kind

FILL = bytes(range(64)) * 16


def ogg(packet: bytes) -> bytes:
    return b"OggS\0\2" + bytes(20) + b"\1" + bytes([len(packet)]) + packet


def ftyp(brand: bytes) -> bytes:
    return struct.pack(">I4s4sI4s4s", 24, b"ftyp", brand, 512, brand, b"isom") + b"\0\0\0\x08free"


def npz() -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, mel=np.zeros((80, 9), np.float32))
    return buffer.getvalue()


def zip_of(name: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(name, b"x" * 9)
    return buffer.getvalue()


def tar() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("a.wav"), io.BytesIO())
    return buffer.getvalue()


def written(container: str, subtype: str | None = None) -> bytes:
    buffer = io.BytesIO()
    tone = (0.4 * np.sin(np.arange(24000) / 9)).astype(np.float32)
    soundfile.write(buffer, tone, 24000, format=container, subtype=subtype)
    return buffer.getvalue()


KINDS = {
    "wav": (written("WAV"), "audio", ".wav"),
    "rf64": (written("RF64"), "audio", ".wav"),
    "flac": (written("FLAC"), "audio", ".flac"),
    "vorbis": (written("OGG", "VORBIS"), "audio", ".ogg"),
    "opus": (written("OGG", "OPUS"), "audio", ".ogg"),
    "mp3": (written("MP3"), "audio", ".mp3"),
    "mp3 with a tag": (b"ID3\4\0\0\0\0\0\x10" + FILL, "audio", ".mp3"),
    "speex": (ogg(b"Speex   1.2"), "audio", ".spx"),
    "ogg flac": (ogg(b"\x7fFLAC\1\0\0\2fLaC"), "audio", ".oga"),
    "theora": (ogg(b"\x80theora\3\2\1"), "video", ".ogv"),
    "m4a": (ftyp(b"M4A "), "audio", ".m4a"),
    "audiobook": (ftyp(b"M4B "), "audio", ".m4a"),
    "mp4": (ftyp(b"isom"), "video", ".mp4"),
    "mp42": (ftyp(b"mp42"), "video", ".mp4"),
    "dash": (ftyp(b"dash"), "video", ".mp4"),
    "fragment": (struct.pack(">I4s4s", 24, b"styp", b"msdh") + FILL, "video", ".mp4"),
    "mov": (ftyp(b"qt  "), "video", ".mov"),
    "old mov": (b"\0\0\0\x08wide\0\4\2\1mdat" + FILL, "video", ".mov"),
    "mov without a start": (b"\0\1\2\3mdat" + FILL, "video", ".mp4"),
    "3gp": (ftyp(b"3gp4"), "audio", ".3gp"),
    "heic": (ftyp(b"heic"), "other", ".heic"),
    "avif": (ftyp(b"avif"), "other", ".heic"),
    "adts": (b"\xff\xf1\x5c\x40\x12\xff\xfc" + FILL, "audio", ".aac"),
    "adts with crc": (b"\xff\xf8\x5c\x40\x12\xff\xfc" + FILL, "audio", ".aac"),
    "aiff": (written("AIFF"), "audio", ".aiff"),
    "aifc": (written("AIFF", "ULAW"), "audio", ".aifc"),
    "w64": (written("W64"), "audio", ".w64"),
    "caf": (written("CAF"), "audio", ".caf"),
    "au": (written("AU"), "audio", ".au"),
    "sphere": (written("NIST"), "audio", ".sph"),
    "voc": (written("VOC"), "audio", ".voc"),
    "ircam": (written("IRCAM"), "audio", ".sf"),
    "8svx": (written("SVX", "PCM_16"), "audio", ".8svx"),
    "webm": (b"\x1aE\xdf\xa3\x9fB\x86\x81\1B\xf7\x81\1B\xf2\x81\4B\xf3\x81\x08B\x82\x84webm" + FILL, "video", ".webm"),
    "mkv": (b"\x1aE\xdf\xa3\xa3B\x86\x81\1B\xf7\x81\1B\x82\x88matroska" + FILL, "video", ".mkv"),
    "amr": (b"#!AMR\n" + FILL, "audio", ".amr"),
    "amr wide": (b"#!AMR-WB\n" + FILL, "audio", ".amr"),
    "wma": (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11\xa6\xd9\0\xaa\0\x62\xce\x6c", "audio", ".wma"),
    "wavpack": (b"wvpk" + FILL, "audio", ".wv"),
    "monkey": (b"MAC \x96\x0f" + FILL, "audio", ".ape"),
    "musepack 8": (b"MPCKSH" + FILL, "audio", ".mpc"),
    "musepack 7": (b"MP+\7" + FILL, "audio", ".mpc"),
    "tta": (b"TTA1\1\0" + FILL, "audio", ".tta"),
    "shorten": (b"ajkg\2" + FILL, "audio", ".shn"),
    "dsf": (b"DSD \x1c" + bytes(20), "audio", ".dsf"),
    "dsdiff": (b"FRM8" + bytes(8) + b"DSD FVER", "audio", ".dff"),
    "midi": (b"MThd\0\0\0\6\0\1", "other", ".mid"),
    "avi": (b"RIFF1234AVI LIST", "video", ".avi"),
    "mpeg": (b"\0\0\1\xba\x44" + FILL, "video", ".mpg"),
    "transport stream": ((b"G\x40\0\x10" + bytes(184)) * 5, "video", ".ts"),
    "png": (b"\x89PNG\r\n\x1a\n" + FILL, "other", ""),
    "jpeg": (b"\xff\xd8\xff\xe0\0\x10JFIF" + FILL, "other", ""),
    "npy": (b"\x93NUMPY\1\0v\0{'descr'", "array", ".npy"),
    "npz": (npz(), "array", ".npz"),
    "torch.save": (zip_of("archive/data.pkl"), "weights", ".pt"),
    "torch, older": (pickle.dumps({"w": 1}, protocol=2), "weights", ".pt"),
    "safetensors": (struct.pack("<Q", 64) + b'{"w":{"dtype"' + FILL, "weights", ".safetensors"),
    "hdf5": (b"\x89HDF\r\n\x1a\n" + FILL, "other", ".h5"),
    "parquet": (b"PAR1\x15\4" + FILL, "other", ".parquet"),
    "zip": (zip_of("wavs/a.wav"), "archive", ".zip"),
    "gzip": (b"\x1f\x8b\x08" + FILL, "archive", ".gz"),
    "tar": (tar(), "archive", ".tar"),
    "7z": (b"7z\xbc\xaf\x27\x1c" + FILL, "archive", ".7z"),
    "macOS companion": (b"\0\5\x16\7\0\2\0\0Mac OS X" + FILL, "other", ""),
    "base64": (b"UklGRiQAAABXQVZFZm10IBAAAAAB", "other", ""),
    "json": (b'{"error": "Invalid credentials"}', "other", ".json"),
    "a text": (b"Entry not found", "text", ".txt"),
    "a text in UTF-8, cut": (("€" * 2000).encode()[:HEAD_BYTES], "text", ".txt"),
    "a text in UTF-16": ("utt1 Grüße".encode("utf-16"), "text", ".txt"),
    "zeros": (bytes(HEAD_BYTES), "other", ""),
}  # fmt: skip


@pytest.mark.parametrize("name", KINDS)
def test_kinds(name):
    content, holds, suffix = KINDS[name]
    kind = file_kind(content[:HEAD_BYTES])
    assert kind is not None
    assert (kind.holds, kind.suffix) == (holds, suffix)
    assert describe_failed_download(content[:HEAD_BYTES]) is None


def test_samples_without_a_header_are_of_no_kind():
    generator = np.random.default_rng(3)
    for scale in (30, 3000, 30000):
        content = generator.integers(-scale, scale, 512).astype("<i2").tobytes()
        assert file_kind(content) is None


@pytest.mark.parametrize(
    ("content", "beginning"),
    [
        (b"", "is empty (0 bytes): "),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\n", "is a git-LFS pointer, "),
        (b"# xet version 0\n", "is a Xet pointer, "),
        (b"../../.git/annex/objects/Xm/pv/SHA256E-s9--00.wav", "is a git-annex pointer, "),
        (b"/annex/objects/SHA256E-s9--00.wav\n", "is a git-annex pointer, "),
        (b"\xef\xbb\xbf\r\n<!DOCTYPE HTML PUBLIC", "is an HTML page: "),
        (b"<HTML><HEAD>", "is an HTML page: "),
        (
            b'<?xml version="1.0"?>\n<Error><Code>AccessDenied</Code></Error>',
            'is an XML text, perhaps what a server refused with (\'<?xml version="1.0"?> <Error><Code>AccessDenied</Co',
        ),
    ],
)
def test_what_a_failed_download_leaves(content, beginning):
    assert describe_failed_download(content).startswith(beginning)


def test_where_xml_is_expected_only_pages_are_refused():
    assert describe_failed_download(b'<?xml version="1.0"?><net name="a">', markup=True) is None
    assert describe_failed_download(b"<html>", markup=True).startswith("is an HTML page: ")
