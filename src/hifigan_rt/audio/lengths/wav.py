"""Length of a WAV (RIFF, RIFX, RF64): what its header states, held against the chunks that the file really has.

libsndfile believes a count that is too small, and reads less than is there. A count of samples is believed here only if
what follows the stated end is a chain of chunks up to the end of the file; else the samples go on, and are read.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass, field
from typing import BinaryIO

from hifigan_rt.audio.lengths.finding import LengthFinding, SecondCount
from hifigan_rt.audio.lengths.mp3 import examine_mp3
from hifigan_rt.audio.lengths.pieces import FilePart, pieced_file
from hifigan_rt.errors import AudioError

_MAX_CHUNKS = 4096
"""More chunks than any real file has, so that a hostile one ends."""

_OPEN_LENGTHS = (range(0x7FFF0000, 0x80001000), range(0xFFFF0000, 1 << 32))
"""Lengths that programs put who write to a pipe, for "until the end": about 2**31 or 2**32."""

_TAIL_BYTES = 1 << 20
_TAIL_CHUNK = re.compile(
    rb"LIST|id3 |ID3 |bext|fact|cue |smpl|inst|iXML|axml|_PMX|JUNK|junk|PAD |FLLR|PEAK|plst|acid|umid"
)

_SAMPLE_TAGS = (1, 3, 6, 7)
"""Format tags of integers, floats, A-law and mu-law: each sample takes the same bytes, so that bytes tell samples."""

_MPEG_TAGS = (0x50, 0x55)

_EXTENSIBLE = 0xFFFE
"""Format tag of headers that have the real one further behind."""


@dataclass
class _Layout:
    """Places and counts in a WAV."""

    size: int
    order: str
    is_64_bit: bool
    riff_bytes: int
    fmt: bytes = b""
    fact: int | None = None
    long_counts: tuple[int, int, int] | None = None
    """Bytes of the file, bytes of samples, and samples, as the chunk ds64 states them."""
    data_start: int = -1
    stated: list[int] = field(default_factory=list)
    """Bytes of samples; two numbers if two places state different ones."""

    @property
    def there(self) -> int:
        """Bytes from the start of the samples to the end of the file."""
        return self.size - self.data_start


def examine_wav(file: BinaryIO) -> LengthFinding:
    """Find the length of a WAV.

    Raises:
        AudioError: the counts contradict each other, and reading on is not safe.
    """
    layout = _read_layout(file)
    if layout is None or len(layout.fmt) < 16:
        return LengthFinding()
    width, width_note = _frame_bytes(layout)
    note, end = _find_end(file, layout, max(1, width))
    if _tag(layout) in _MPEG_TAGS:
        packed = examine_mp3(file, layout.data_start, end)
        if note is None or packed.sources:
            return LengthFinding(packed.samples, note=note, sources=packed.sources)
    data_bytes = end - layout.data_start
    samples = data_bytes // width if width else None
    second = None
    if not any(map(_is_open, layout.stated)):
        second = _second_count(layout, data_bytes, samples is None)
        note = note or _riff_note(layout, end)
    if second is not None and samples is not None:
        # Some writers count the values of all channels.
        channels = struct.unpack_from(f"{layout.order}H", layout.fmt, 2)[0]
        note = note or (None if second.samples == samples * channels else second.contradicts(samples))
        second = None
    believed = layout.long_counts[1] if layout.is_64_bit and layout.long_counts else layout.stated[0]
    as_it_is = min(believed, layout.there) == data_bytes and not (layout.is_64_bit and believed > layout.there)
    sources = () if as_it_is else (_canonical(file, layout, end),)
    return LengthFinding(samples, None, note or width_note, sources, second)


def _is_open(count: int) -> bool:
    return any(count in counts for counts in _OPEN_LENGTHS)


def wav_codec(file: BinaryIO) -> int | None:
    """Format tag of a WAV: what its samples are coded in; None if it is no WAV or has none."""
    layout = _read_layout(file)
    return None if layout is None or len(layout.fmt) < 16 else _tag(layout)


def _tag(layout: _Layout) -> int:
    (tag,) = struct.unpack_from(f"{layout.order}H", layout.fmt)
    if tag == _EXTENSIBLE and len(layout.fmt) >= 26:
        (tag,) = struct.unpack_from(f"{layout.order}H", layout.fmt, 24)
    return int(tag)


def _read_layout(file: BinaryIO) -> _Layout | None:
    """Read the chunks up to the samples; None if there are none."""
    size = file.seek(0, 2)
    file.seek(0)
    magic, riff_bytes = file.read(4), file.read(4)
    order = ">" if magic == b"RIFX" else "<"
    if len(riff_bytes) < 4:
        return None
    layout = _Layout(size, order, magic == b"RF64", struct.unpack(f"{order}I", riff_bytes)[0])
    position = 12
    for _ in range(_MAX_CHUNKS):
        file.seek(position)
        header = file.read(8)
        if len(header) < 8:
            return None
        kind, length = struct.unpack(f"{order}4sI", header)
        position += 8
        if kind == b"data":
            layout.data_start = position
            layout.stated = [length]
            if layout.is_64_bit and layout.long_counts is not None:
                long_bytes = layout.long_counts[1]
                layout.stated = [long_bytes] if length in (0xFFFFFFFF, long_bytes) else [length, long_bytes]
            return layout
        if kind == b"fmt ":
            layout.fmt = file.read(min(length, 1024))
        elif kind == b"fact" and length >= 4:
            layout.fact = struct.unpack(f"{order}I", file.read(4).ljust(4, b"\0"))[0]
        elif kind == b"ds64" and length >= 24:
            layout.long_counts = struct.unpack("<QQQ", file.read(24).ljust(24, b"\0"))
        position += length + length % 2
    return None


def _find_end(file: BinaryIO, layout: _Layout, width: int) -> tuple[str | None, int]:
    """What is wrong with the stated number of bytes, and where the samples end."""
    there, start = layout.there, layout.data_start
    fitting = [
        count for count in layout.stated if count <= there and count % width == 0 and _fits(file, layout, start + count)
    ]
    if fitting:
        if len(layout.stated) == 1:
            return None, start + fitting[0]
        both = " and ".join(map(str, layout.stated))
        return f"its header states both {both} bytes of samples: {fitting[0]} are there", start + fitting[0]
    end = _find_tail(file, layout)
    there = end - start
    stated = layout.stated[0]
    if _is_open(stated):
        return None, end
    if stated == there:
        return f"its header states {stated} bytes of samples, no multiple of the {width} that one takes", end
    if stated > there:
        return f"its header promises {stated} bytes of samples and {there} are there: the file is cut short", end
    if stated == 0:
        why = "the recording program did not finish it"
    elif (there - stated) % (1 << 32) == 0:
        why = "lengths beyond 4 GiB do not fit into a WAV"
    else:
        why = "the length is wrong"
    return f"its header states {stated} bytes of samples and {there} follow: {why}; it was read to the end", end


def _fits(file: BinaryIO, layout: _Layout, end: int) -> bool:
    """Tell whether samples that end here are followed by nothing but chunks, a tag or a few bytes of padding."""
    odd = (end - layout.data_start) % 2
    if layout.riff_bytes + 8 in (end, end + odd) and _is_zero(file, end):
        return True  # filled up, as to a whole sector
    # Some writers leave the byte out that follows an odd number of bytes.
    return any(_is_chain(file, layout, start) for start in ([end + 1, end] if odd else [end]))


def _is_zero(file: BinaryIO, position: int) -> bool:
    file.seek(position)
    while piece := file.read(_TAIL_BYTES):
        if piece.strip(b"\0"):
            return False
    return True


def _is_chain(file: BinaryIO, layout: _Layout, position: int) -> bool:
    first = position
    for _ in range(_MAX_CHUNKS):
        rest = layout.size - position
        if rest <= 1:
            return True
        file.seek(position)
        header = file.read(8)
        if rest < 8:
            # What the header counts as part of the file must be chunks; padding behind that may be anything.
            return 8 + layout.riff_bytes <= position + 1
        if (header[:3] == b"TAG" and rest == 128) or header == b"APETAGEX" or header[:3] == b"ID3":
            return True
        kind, length = struct.unpack(f"{layout.order}4sI", header)
        if kind in (b"data", b"RIFF", b"RIFX", b"RF64"):
            # Of two chunks libsndfile would read the last, and other programs the first.
            second = "chunk of samples" if kind == b"data" else "WAV"
            raise AudioError(f"a second {second} begins at byte {position}: write the one that is meant alone")
        known = _TAIL_CHUNK.match(kind) is not None
        if not (known or all(0x20 <= byte < 0x7F for byte in kind)):
            return position > first
        file.seek(position + 8 + length)
        position += _chunk_bytes(length, file.read(4))
        if position > layout.size + 1:
            return known
    return False


def _find_tail(file: BinaryIO, layout: _Layout) -> int:
    """Where chunks begin that reach to the end of the file exactly; the end of the file if there are none."""
    start = max(layout.data_start, layout.size - _TAIL_BYTES)
    file.seek(start)
    tail = file.read(layout.size - start)
    seen = set[int]()
    for match in _TAIL_CHUNK.finditer(tail):
        position = start + match.start()
        reached = position
        while reached not in seen and reached + 8 <= layout.size and _TAIL_CHUNK.match(tail, reached - start):
            seen.add(reached)
            length = struct.unpack_from(f"{layout.order}I", tail, reached - start + 4)[0]
            behind = reached - start + 8 + length
            reached += _chunk_bytes(length, tail[behind : behind + 4])
        if reached in (layout.size, layout.size + 1):
            return position
    return layout.size


def _chunk_bytes(length: int, following: bytes) -> int:
    """Bytes from a chunk to the next; some writers leave the byte out that follows an odd length."""
    return 8 + length + (length % 2 and _TAIL_CHUNK.match(following) is None)


def _frame_bytes(layout: _Layout) -> tuple[int, str | None]:
    """Bytes that a sample of all channels takes, 0 for codecs of blocks; and what the header states wrongly of it."""
    channels, rate, rate_bytes, block, bits = struct.unpack_from(f"{layout.order}HIIHH", layout.fmt, 2)
    if _tag(layout) not in _SAMPLE_TAGS or not (channels and bits):
        return 0, None
    width = channels * -(-bits // 8)
    if block == width:
        if rate_bytes == rate * width & 0xFFFFFFFF:
            return width, None
        return (
            width,
            f"its header states {rate_bytes} bytes a second, and {rate} Hz of {width} bytes take {rate * width}",
        )
    text = f"its header states {block} bytes a sample, and {channels} channel(s) of {bits} bits take {width}"
    if rate_bytes == rate * width & 0xFFFFFFFF:
        return width, text
    raise AudioError(f"{text}: the number of samples is not known")


def _second_count(layout: _Layout, data_bytes: int, in_blocks: bool) -> SecondCount | None:
    """Samples that the chunk fact or ds64 states."""
    (block,) = struct.unpack_from(f"{layout.order}H", layout.fmt, 12)
    place, count = "chunk fact", layout.fact
    if layout.is_64_bit and layout.long_counts is not None:
        place, count = "chunk ds64", layout.long_counts[2]
    if count is None or _tag(layout) in _MPEG_TAGS or (layout.is_64_bit and count in (0, (1 << 64) - 1)):
        return None
    if not in_blocks:
        return SecondCount(place, count)
    # Two blocks: the last one is filled up, and libsndfile takes a byte of padding for one more.
    blocks = -(-data_bytes // max(1, block))
    return SecondCount(place, count, 2 * count // max(1, blocks - 1) + 2)


def _riff_note(layout: _Layout, end: int) -> str | None:
    """What is wrong with the length of the whole file, where the samples are as long as stated."""
    stated = layout.long_counts[0] if layout.is_64_bit and layout.long_counts else layout.riff_bytes
    if _is_open(stated):
        return None
    there = layout.size - 8
    naive = 36 + end - layout.data_start
    if stated > there + 8 or (stated + 8 < end and stated != naive):
        return f"its header states {stated} bytes in all and {there} are there; the samples are as long as stated"
    return None


def _canonical(file: BinaryIO, layout: _Layout, end: int) -> BinaryIO:
    """The samples behind a header that states what is there."""
    data_bytes = end - layout.data_start
    order = layout.order
    fmt = b"fmt " + struct.pack(f"{order}I", len(layout.fmt)) + layout.fmt + b"\0" * (len(layout.fmt) % 2)
    total = 4 + len(fmt) + 8 + data_bytes
    if total < 1 << 32:
        magic = b"RIFX" if order == ">" else b"RIFF"
        header = (
            magic + struct.pack(f"{order}I", total) + b"WAVE" + fmt + b"data" + struct.pack(f"{order}I", data_bytes)
        )
    elif order == ">":
        raise AudioError(f"its samples take {data_bytes} bytes, and a RIFX holds at most {(1 << 32) - 1}")
    else:
        long_counts = b"ds64" + struct.pack("<IQQQI", 28, total + 36, data_bytes, 0, 0)
        header = b"RF64" + struct.pack("<I", 0xFFFFFFFF) + b"WAVE" + long_counts + fmt
        header += b"data" + struct.pack("<I", 0xFFFFFFFF)
    return pieced_file(file, header, FilePart(layout.data_start, end))
