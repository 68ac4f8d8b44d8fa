"""Reads a zip's directory and checks every offset before any entry is read.

The standard library's zipfile raises a dozen kinds of errors on damaged files, builds large objects per entry, and
accepts duplicates, overlaps and names that climb out of the archive; which of them depends on Python's version.
Layout: PKWARE's APPNOTE.TXT, sections 4.3.6 to 4.5.3.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass

from hifigan_rt.errors import CheckpointError
from hifigan_rt.formats.checkpoint.byte_source import ByteSource
from hifigan_rt.formats.checkpoint.limits import MAX_ENTRIES, MAX_PICKLE_BYTES
from hifigan_rt.formats.checkpoint.pickle_machine import describe
from hifigan_rt.formats.checkpoint.tensors import Span

_END = struct.Struct("<4s4H2LH")
_END64_LOCATOR = struct.Struct("<4sLQL")
_END64 = struct.Struct("<4sQ2H2L4Q")
_CENTRAL = struct.Struct("<4s6H3L5H2L")
_LOCAL = struct.Struct("<4s5H3L2H")
_MAX_COMMENT = 0xFFFF
_FULL16, _FULL32 = 0xFFFF, 0xFFFFFFFF
_STORED, _DEFLATED = 0, 8
_ENCRYPTED = 1
_ENTRY = b"PK\x03\x04"

FIRST_ENTRY = re.compile(rb"(?:PK|0\d)\x03\x04")
"""Beginning of an archive's first entry.

GPT-SoVITS writes the version of a voice, 03 to 06 until now, over the first two bytes (process_ckpt.py: my_save2).
"""


@dataclass(frozen=True, slots=True)
class _Entry:
    name: str
    raw_name: bytes
    header: int
    packed: int
    size: int
    method: int
    crc32: int


def read_zip_directory(source: ByteSource) -> dict[str, Span]:
    """Find every entry of a zip file; folders are left out.

    Checksums are given and not compared: PyTorch has an option to write zeros in their place, and asks for none.

    Raises:
        CheckpointError: truncated, damaged, encrypted, or built to deceive: duplicate names, names that leave the
            archive, entries that overlap.
    """
    start, length, count = _find_directory(source)
    if count > MAX_ENTRIES or length > MAX_PICKLE_BYTES:
        raise CheckpointError(f"is a zip of {count} entries: at most {MAX_ENTRIES} are read")
    entries = _parse_directory(source.read(start, length, "the zip directory"), count)
    spans: dict[str, Span] = {}
    free_from = 0
    for entry in sorted(entries, key=lambda entry: entry.header):
        if entry.header < free_from:
            raise CheckpointError(f"is a zip in which {describe(entry.name)} overlaps the entry before it")
        span = _locate(source, entry, start)
        free_from = span.start + span.length
        if entry.name in spans:
            raise CheckpointError(f"is a zip with two entries of the name {describe(entry.name)}")
        spans[entry.name] = span
    return {name: span for name, span in spans.items() if not name.endswith("/")}


def _find_directory(source: ByteSource) -> tuple[int, int, int]:
    tail_start = max(0, source.size - _END.size - _MAX_COMMENT)
    tail = source.read(tail_start, source.size - tail_start, "the end")
    at = tail.rfind(b"PK\x05\x06")
    if at < 0 or len(tail) - at < _END.size:
        raise CheckpointError(
            f"is truncated: it starts as a zip archive and its directory is missing after {source.size} bytes; "
            "download or copy it again"
        )
    _, disk, first_disk, here, count, length, start, _ = _END.unpack_from(tail, at)
    end = tail_start + at
    if _FULL16 in (here, count) or _FULL32 in (length, start):
        locator_at = end - _END64_LOCATOR.size
        locator = source.read(locator_at, _END64_LOCATOR.size, "the zip64 locator")
        signature, disk, at64, _ = _END64_LOCATOR.unpack(locator)
        record = source.read(at64, _END64.size, "the zip64 directory end")
        if signature != b"PK\x06\x07" or record[:4] != b"PK\x06\x06":
            raise CheckpointError("is damaged: its zip64 records are missing")
        _, _, _, _, _, first_disk, here, count, length, start = _END64.unpack(record)
        end = at64
    if disk or first_disk or here != count:
        raise CheckpointError("is one part of a zip archive in several parts, or damaged")
    if start + length > end:
        raise CheckpointError("is damaged: its zip directory reaches beyond its end")
    return start, length, count


def _parse_directory(data: bytes, count: int) -> list[_Entry]:
    entries = []
    at = 0
    for _ in range(count):
        if len(data) - at < _CENTRAL.size or data[at : at + 4] != b"PK\x01\x02":
            raise CheckpointError("is damaged: its zip directory breaks off")
        fields = _CENTRAL.unpack_from(data, at)
        flags, method, packed, size = fields[3], fields[4], fields[8], fields[9]
        name_length, extra_length, comment_length, header = fields[10], fields[11], fields[12], fields[16]
        at += _CENTRAL.size
        raw_name = data[at : at + name_length]
        extra = data[at + name_length : at + name_length + extra_length]
        at += name_length + extra_length + comment_length
        if at > len(data):
            raise CheckpointError("is damaged: its zip directory breaks off")
        name = _check_name(raw_name)
        if flags & _ENCRYPTED:
            raise CheckpointError(f"is a zip with the encrypted entry {describe(name)}: decrypt it first")
        if method not in (_STORED, _DEFLATED):
            raise CheckpointError(f"is a zip whose entry {describe(name)} is compressed by method {method}: unpack it")
        if _FULL32 in (packed, size, header):
            size, packed, header = _read_zip64_extra(extra, size, packed, header)
        if method == _STORED and packed != size:
            raise CheckpointError(
                f"is damaged: the zip entry {describe(name)} is {packed} bytes stored and {size} read"
            )
        entries.append(_Entry(name, raw_name, header, packed, size, method, fields[7]))
    return entries


def _read_zip64_extra(extra: bytes, *values: int) -> tuple[int, int, int]:
    at = 0
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<2H", extra, at)
        if kind == 1:
            wide = iter(struct.unpack_from(f"<{min(length, len(extra) - at - 4) // 8}Q", extra, at + 4))
            try:
                size, packed, header = (next(wide) if value == _FULL32 else value for value in values)
            except (RuntimeError, ValueError):
                break
            return size, packed, header
        at += 4 + length
    raise CheckpointError("is damaged: a zip entry lacks its zip64 sizes")


def _check_name(raw: bytes) -> str:
    try:
        name = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise CheckpointError(f"is damaged: the zip entry {describe(raw)} has a name that is not UTF-8") from error
    parts = name.removesuffix("/").split("/")
    if "\\" in name or "\0" in name or ":" in name or any(part in ("", ".", "..") for part in parts):
        raise CheckpointError(f"is a zip with the entry {describe(name)}, whose name leads out of the archive")
    return name


def _locate(source: ByteSource, entry: _Entry, directory: int) -> Span:
    what = f"the zip entry {describe(entry.name)}"
    fields = _LOCAL.unpack(source.read(entry.header, _LOCAL.size, what))
    name_length, extra_length = fields[9], fields[10]
    name_at = entry.header + _LOCAL.size
    # The name stands twice; readers that believe the one or the other must see the same.
    is_entry = fields[0] == _ENTRY or (entry.header == 0 and FIRST_ENTRY.match(fields[0]))
    if not is_entry or source.read(name_at, name_length, what) != entry.raw_name:
        raise CheckpointError(f"is damaged: {what} is not where the directory says")
    start = name_at + name_length + extra_length
    if start + entry.packed > directory:
        raise CheckpointError(f"is damaged: {what} reaches into the zip directory")
    return Span(start, entry.packed, entry.size if entry.method == _DEFLATED else None, crc32=entry.crc32)
