"""Length of a FLAC: the total of its header, held against the number that its last frame bears.

libsndfile reads as many samples as the header states and no more.
"""

from __future__ import annotations

from typing import BinaryIO

from hifigan_rt.audio.lengths.checksums import checksum
from hifigan_rt.audio.lengths.finding import LengthFinding
from hifigan_rt.audio.lengths.pieces import ByteWindow, FilePart, id3_bytes, pieced_file

_STREAMINFO_BYTES = 34
_MAX_METADATA_BLOCKS = 4096
_TAIL_BYTES = 1 << 18
"""Longer than a frame of usual settings; longer ones leave the length to libsndfile."""

_crc8, _crc16 = checksum(0x107, 8), checksum(0x18005, 16)
"""Checksums of a frame's header and of a frame: 0 if their own are counted in and right."""

_MAX_CANDIDATES = 16
"""Headers tried from the end; in a real file the first one that is whole is the last frame's."""

_BLOCK_SIZES = {
    1: 192,
    **{code: 576 << code - 2 for code in range(2, 6)},
    **{code: 256 << code - 8 for code in range(8, 16)},
}
"""Samples of a frame by the code in its header, RFC 9639 table 14; 6 and 7 stand for a number that follows."""


def examine_flac(file: BinaryIO) -> LengthFinding:
    """Find the length of a FLAC."""
    window = ByteWindow(file)
    info = 8
    if len(window.read(info, _STREAMINFO_BYTES)) < _STREAMINFO_BYTES:
        return LengthFinding()
    # libFLAC loses its way in the tag of 128 bytes that some programs append.
    tagged = window.size > 128 and window.read(window.size - 128, 3) == b"TAG"
    end = window.size - 128 if tagged else window.size
    stated = int.from_bytes(window.read(info + 13, 5), "big") & (1 << 36) - 1
    there = _count(window, 4, end)
    note, promised = None, None
    if there is not None and stated > there:
        promised = stated
    elif there is not None and 0 < stated < there:
        note = f"its header states {stated} samples and {there} are there; it was read to the end"
    if not (note or tagged):
        return LengthFinding(there, promised)
    counted = (window.read(info + 13, 1)[0] & 0xF0) << 32 | (stated if there is None else there)
    parts = FilePart(0, info + 13), counted.to_bytes(5, "big"), FilePart(info + 18, end)
    return LengthFinding(there, promised, note, [pieced_file(file, *parts)])


def flac_bits(file: BinaryIO) -> int | None:
    """Bits of each sample of a FLAC by its header; None if it is no FLAC, or ends there."""
    window = ByteWindow(file)
    start = id3_bytes(window, 0)
    if window.read(start, 4) != b"fLaC" or len(info := window.read(start + 8, _STREAMINFO_BYTES)) < _STREAMINFO_BYTES:
        return None
    # Five bits, less one, behind those of rate and channels: RFC 9639, 8.2.
    return (int.from_bytes(info[12:14]) >> 4 & 0x1F) + 1


def _first_frame(window: ByteWindow, position: int) -> int | None:
    for _ in range(_MAX_METADATA_BLOCKS):
        header = window.read(position, 4)
        if len(header) < 4:
            return None
        position += 4 + int.from_bytes(header[1:], "big")
        if header[0] & 0x80:
            return position
    return None


def _count(window: ByteWindow, metadata: int, end: int) -> int | None:
    """Samples from the first frame to the last one; None if the file does not end with a whole frame."""
    first = _first_frame(window, metadata)
    head = b"" if first is None else window.read(first, 16)
    begin = _frame_span(head, 0)
    if first is None or begin is None:
        return None
    # Frames of one size bear their own number; the first one tells the size.
    block = begin[1] - begin[0]
    begin = _frame_span(head, block) or begin
    start = max(first, end - _TAIL_BYTES)
    tail = window.read(start, end - start)
    position, candidates = len(tail), 0
    while candidates < _MAX_CANDIDATES and (position := tail.rfind(b"\xff", 0, position)) >= 0:
        span = _frame_span(tail[position : position + 16], block)
        if span is not None:
            if _crc16(tail[position:]) == 0:
                return span[1] - begin[0]
            candidates += 1
    return None


def _frame_span(header: bytes, fixed_block: int) -> tuple[int, int] | None:
    """First sample of a frame and the one after its last, by its header; None if it is no header."""
    if len(header) < 6 or header[0] != 0xFF or header[1] & 0xFE != 0xF8 or header[3] & 1:
        return None
    code, rate_code = header[2] >> 4, header[2] & 15
    lead = header[4]
    extra = 0 if lead < 0x80 else next((n for n in range(1, 7) if not lead & 0x40 >> n), 7)
    if code == 0 or rate_code == 15 or lead & 0xC0 == 0x80 or extra == 7:
        return None
    number = lead if extra == 0 else lead & (0x3F >> extra)
    for byte in header[5 : 5 + extra]:
        number = number << 6 | byte & 0x3F
    end = 5 + extra
    block = _BLOCK_SIZES.get(code, 0)
    if code in (6, 7):
        block = int.from_bytes(header[end : end + code - 5], "big") + 1
        end += code - 5
    end += {12: 1, 13: 2, 14: 2}.get(rate_code, 0)
    if end >= len(header) or _crc8(header[: end + 1]):
        return None
    start = number if header[1] & 1 else number * fixed_block
    return start, start + block
