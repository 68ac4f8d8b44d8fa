"""A file that is put together from bytes and from parts of another file, for libsndfile to read."""

from __future__ import annotations

import bisect
import io
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import BinaryIO, cast

MAX_TAGS = 64
"""More tags than any real file has in a row, so that a hostile one ends."""


@dataclass(frozen=True)
class FilePart:
    """Range of a file, in bytes."""

    start: int
    end: int

    def __len__(self) -> int:
        return self.end - self.start


class _PiecedFile(io.RawIOBase):
    """What `pieced_file` makes."""

    def __init__(self, file: BinaryIO, pieces: Sequence[bytes | memoryview | FilePart]) -> None:
        self._file = file
        self._pieces = pieces
        self._starts = list(itertools.accumulate(map(len, pieces), initial=0))
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._starts[-1]}[whence]
        self._position = max(0, base + offset)
        return self._position

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override] # narrower than WriteableBuffer
        """Fill the buffer beyond the ends of pieces: libsndfile takes a short read for the end of the file."""
        filled = 0
        while filled < len(buffer):
            data = self._read_piece(len(buffer) - filled)
            if not data:
                break
            buffer[filled : filled + len(data)] = data
            filled += len(data)
        return filled

    def _read_piece(self, length: int) -> bytes | memoryview:
        index = bisect.bisect_right(self._starts, self._position) - 1
        if index >= len(self._pieces):
            return b""
        piece, within = self._pieces[index], self._position - self._starts[index]
        count = min(length, len(piece) - within)
        data: bytes | memoryview
        if isinstance(piece, FilePart):
            self._file.seek(piece.start + within)
            data = self._file.read(count)
        else:
            data = piece[within : within + count]
        self._position += len(data)
        return data


def pieced_file(file: BinaryIO, *pieces: bytes | memoryview | FilePart) -> BinaryIO:
    """Put a seekable file together, of bytes and of parts of `file`, which stays open and is not used meanwhile.

    Nothing is copied for it.
    """
    return cast("BinaryIO", _PiecedFile(file, pieces))


class ByteWindow:
    """Bytes of a file by position, read in large blocks: for walks through thousands of small headers."""

    _BLOCK_BYTES = 1 << 18

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.size = file.seek(0, io.SEEK_END)
        self._start = 0
        self._block = b""

    def read(self, position: int, length: int) -> bytes:
        """Read `length` bytes, or what is left of them before the end of the file."""
        if length <= 0:
            return b""
        begin = position - self._start
        if begin < 0 or begin + length > len(self._block):
            self._file.seek(position)
            self._block = self._file.read(max(length, self._BLOCK_BYTES))
            self._start, begin = position, 0
        return self._block[begin : begin + length]

    def find(self, sought: bytes, position: int) -> int:
        """Position of the next occurrence, -1 if there is none."""
        while position < self.size:
            block = self.read(position, self._BLOCK_BYTES)
            found = block.find(sought)
            if found >= 0:
                return position + found
            position += max(1, len(block) - len(sought) + 1)
        return -1


def id3_bytes(window: ByteWindow, position: int, most: int = MAX_TAGS) -> int:
    """Length of the ID3 tags that begin here, 0 if there is none; some programs put another before the one there is."""
    end = position
    for _ in range(most):
        head = window.read(end, 10)
        if head[:3] != b"ID3" or len(head) < 10:
            break
        # Seven bits a byte, https://id3.org/id3v2.4.0-structure section 3.1; a footer has ten more bytes.
        size = sum((byte & 0x7F) << shift for byte, shift in zip(head[6:], (21, 14, 7, 0), strict=True))
        end += 10 + size + (10 if head[5] & 0x10 else 0)
    return end - position
