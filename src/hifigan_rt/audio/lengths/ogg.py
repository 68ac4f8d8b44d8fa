"""Length of an Ogg: the position that the last page states, held against the packets of all pages.

libsndfile reads up to the position of the last page, and only the first of several recordings in one file.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from hifigan_rt.audio.lengths.checksums import checksum
from hifigan_rt.audio.lengths.finding import LengthFinding
from hifigan_rt.audio.lengths.ogg_codecs import OPUS_HZ, PacketClock, packet_clock
from hifigan_rt.audio.lengths.pieces import ByteWindow, FilePart, pieced_file

_MAX_PAGES = 1 << 20
"""More pages than a day of recording has, so that a hostile file ends."""

_CONTINUED, _BEGIN, _END = 1, 2, 4
"""Flags of a page, RFC 3533 section 6."""

_OPEN_END = "its last page is not marked as the end: the file is cut short"

_crc32 = checksum(0x104C11DB7, 32)


@dataclass(frozen=True)
class _Page:
    """A page of the file."""

    start: int
    flags: int
    position: int
    """Samples up to the end of the last packet that ends on the page."""
    serial: int
    sequence: int
    lacing: bytes
    """Bytes of each segment of the body; one of less than 255 ends a packet."""

    @property
    def body(self) -> int:
        return self.start + 27 + len(self.lacing)

    @property
    def end(self) -> int:
        return self.body + sum(self.lacing)


class _Link:
    """A recording: the pages of one stream, and what its packets hold."""

    def __init__(self, first: _Page) -> None:
        self.first = first
        self.last = first
        """Last page on which a packet ends."""
        self.is_ended = False
        self.clock: PacketClock | None = None
        self.total = 0
        """Samples of all packets."""
        self.origin: int | None = None
        """Position of the first sample: above 0 if the recording was cut out of a longer stream."""
        self.missing_pages = 0
        self._sequence = first.sequence
        self._headers = 0
        self._packet = b""

    def add(self, window: ByteWindow, page: _Page) -> None:
        """Take in the next page of the stream."""
        self.missing_pages += max(0, page.sequence - self._sequence - 1)
        self._sequence = page.sequence
        self.is_ended = bool(page.flags & _END)
        if not page.flags & _CONTINUED:
            self._packet = b""
        position = page.body
        for length in page.lacing:
            missing = self._wanted_bytes() - len(self._packet)
            if missing > 0:
                self._packet += window.read(position, min(length, missing))
            position += length
            if length < 255:
                self._end_packet()
                self.last = page
        if self.origin is None and self.total and self.last is page and not self.is_ended:
            self.origin = page.position - self.total

    def _wanted_bytes(self) -> int:
        if self.clock is None:
            return 0 if self._headers else 64
        return self.clock.wanted_bytes[min(self._headers, len(self.clock.wanted_bytes) - 1)]

    def _end_packet(self) -> None:
        if self._headers == 0:
            self.clock = packet_clock(self._packet)
        if self.clock is not None:
            if self._headers < len(self.clock.wanted_bytes) - 1:
                self.clock.read_header(self._headers, self._packet)
            else:
                self.total += self.clock.samples(self._packet)
        self._headers += 1
        self._packet = b""


def examine_ogg(file: BinaryIO) -> LengthFinding:
    """Find the length of an Ogg; several recordings one behind the other are read as one."""
    window = ByteWindow(file)
    links, is_whole, side_by_side = _read_links(window)
    note = None if is_whole else "its last page is incomplete: the file is cut short"
    if not any(link.total for link in links) or links[0].clock is None or not links[0].clock.rate:
        return LengthFinding(note=note)
    sources: list[BinaryIO] = []
    samples, rate, as_it_is = 0, 0, len(links) == 1
    for link, following in zip(links, [*links[1:], None], strict=True):
        if link.clock is None or not link.clock.rate:
            note = note or f"what begins at its byte {link.first.start} is neither Vorbis nor Opus, and was not read"
            continue
        if link.total == 0:
            note = note or (None if link.is_ended or following else _OPEN_END)
            continue
        rate = rate or link.clock.rate
        link_samples, position, link_note = _settle(link, link.clock)
        note = note or link_note
        samples += link_samples * rate // link.clock.rate
        end = window.size if following is None else following.first.start
        pieces: tuple[bytes | FilePart, ...] = (FilePart(link.first.start, end),)
        # libsndfile opens no Opus whose last page is not marked.
        if position > link.last.position or (link.clock.rate == OPUS_HZ and not link.is_ended):
            as_it_is = False
            patched = _patched(window, link.last, position)
            pieces = FilePart(link.first.start, link.last.start), patched, FilePart(link.last.end, end)
        sources.append(pieced_file(file, *pieces))
    if side_by_side > 1:
        note = note or f"it holds {side_by_side} streams side by side: the first was read"
    return LengthFinding(samples, note=note, sources=() if as_it_is else sources, samples_hz=rate)


def _settle(link: _Link, clock: PacketClock) -> tuple[int, int, str | None]:
    """Samples of a recording, the position that its last page should state, and what is wrong with the one it does."""
    stated, origin = link.last.position, max(0, link.origin or 0)
    total = (link.origin or 0) + link.total
    position, note = stated, None
    unit = f"samples at {OPUS_HZ} Hz" if clock.rate == OPUS_HZ else "samples"
    if link.missing_pages:
        note = f"{link.missing_pages} of its pages are missing"
        position = min(stated, total)
    elif stated > total:
        note = f"its last page promises {stated - origin} {unit} and {total - origin} are there: the file is cut short"
        position = total
    elif stated < total - clock.longest or stated <= 0:
        note = f"its last page states {stated - origin} {unit} and {total - origin} are there; it was read to the end"
        position = total
    if not link.is_ended:
        note = note or _OPEN_END
    return max(0, position - origin - clock.skip), position, note


def _read_links(window: ByteWindow) -> tuple[list[_Link], bool, int]:
    """All recordings, whether the last page is whole, and how many streams lie side by side at most."""
    links: list[_Link] = []
    serials = set[int]()
    begins, side_by_side = False, 0
    for page in _pages(window):
        if page.end > window.size:
            return links, False, side_by_side
        # Streams side by side begin one behind the other, before any other page: RFC 3533, section 4.
        after_another, begins = begins, bool(page.flags & _BEGIN)
        if begins:
            if not after_another:
                links.append(_Link(page))
                serials.clear()
            serials.add(page.serial)
            side_by_side = max(side_by_side, len(serials))
        if links and page.serial == links[-1].first.serial:
            links[-1].add(window, page)
    return links, True, side_by_side


def _pages(window: ByteWindow) -> Iterator[_Page]:
    start = 0
    for _ in range(_MAX_PAGES):
        header = window.read(start, 27 + 255)
        if header[:4] != b"OggS":
            start = window.find(b"OggS", start)
            header = window.read(start, 27 + 255) if start >= 0 else b""
        if len(header) < 27:
            return
        flags, position, serial, sequence = struct.unpack_from("<BqII", header, 5)
        page = _Page(start, flags, position, serial, sequence, header[27 : 27 + header[26]])
        yield page
        start = page.end


def _patched(window: ByteWindow, page: _Page, position: int) -> bytes:
    """A last page that states another position."""
    raw = bytearray(window.read(page.start, page.end - page.start))
    raw[5] |= _END
    raw[6:14] = struct.pack("<q", position)
    raw[22:26] = bytes(4)
    raw[22:26] = struct.pack("<I", _crc32(raw))
    return bytes(raw)
