"""A file as numbered bytes: every read is checked against the size before anything is allocated."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np

from hifigan_rt.errors import ModelFileError

_PIECE_BYTES = 1 << 18


class ByteSource:
    """A regular file opened for reading, or a part of it; made by `open_source`."""

    def __init__(self, file: BinaryIO, size: int, start: int = 0) -> None:
        self._file = file
        self._start = start
        self.size = size

    def part(self, start: int, size: int, what: str) -> ByteSource:
        """Take `size` bytes from `start` on as a source; `what` names them in the error.

        Raises:
            ModelFileError: the file ends before.
        """
        self.check(start, size, what)
        return ByteSource(self._file, size, self._start + start)

    def read(self, start: int, length: int, what: str) -> bytes:
        """Read `length` bytes; `what` names them in the error.

        Raises:
            ModelFileError: the file ends before.
        """
        self.check(start, length, what)
        self._file.seek(self._start + start)
        data = self._file.read(length)
        if len(data) != length:
            raise ModelFileError(f"is truncated: the file became shorter while {what} was read")
        return data

    def pieces(self, start: int, length: int, what: str) -> Iterator[bytes]:
        """Read `length` bytes a piece at a time."""
        for at in range(start, start + length, _PIECE_BYTES):
            yield self.read(at, min(_PIECE_BYTES, start + length - at), what)

    def read_into(self, start: int, array: np.ndarray, what: str) -> None:
        """Fill a C-contiguous array with the bytes from `start` on.

        Raises:
            ModelFileError: the file ends before.
        """
        self.check(start, array.nbytes, what)
        if array.nbytes == 0:
            return
        self._file.seek(self._start + start)
        view = array.reshape(-1).view(np.uint8).data
        filled = 0
        while filled < array.nbytes:
            count = self._file.readinto(view[filled:])  # type: ignore[attr-defined] # BinaryIO lacks it, files have it
            if not count:
                raise ModelFileError(f"is truncated: the file became shorter while {what} was read")
            filled += count

    def check(self, start: int, length: int, what: str) -> None:
        """Raise ModelFileError unless the file has these bytes."""
        if start < 0 or length < 0 or start + length > self.size:
            raise ModelFileError(
                f"is truncated: {what} takes the bytes {start} to {start + length}, and the file has {self.size}; "
                "download or copy it again"
            )


class SourceReader:
    """A source as the standard library's readers want a file."""

    def __init__(self, source: ByteSource, what: str) -> None:
        """
        Args:
            source: the source.
            what: names it in errors.
        """
        self._source = source
        self._what = what
        self._position = 0

    def tell(self) -> int:
        return self._position

    @property
    def left(self) -> int:
        """Bytes that have not been read."""
        return max(0, self._source.size - self._position)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to an offset from the beginning, from here or from the end; not below 0."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._source.size}[whence]
        self._position = max(0, base + offset)
        return self._position

    def read(self, size: int = -1) -> bytes:
        """Give up to `size` bytes, all that are left if it is negative; fewer only at the end."""
        length = self.left if size < 0 else min(size, self.left)
        data = self._source.read(self._position, length, self._what) if length else b""
        self._position += length
        return data


@contextmanager
def open_source(path: Path) -> Iterator[ByteSource]:
    """Open a checkpoint.

    Raises:
        ModelFileError: no regular file, or it cannot be read.
    """
    try:
        # A pipe would block in open(), so its kind is asked first.
        mode = _ask_mode(path)
        if stat.S_ISDIR(mode):
            raise ModelFileError("is a folder: name the checkpoint file in it")
        if not stat.S_ISREG(mode):
            raise ModelFileError("is no regular file: copy it to a file first")
        with path.open("rb", buffering=0) as file:
            yield ByteSource(file, os.fstat(file.fileno()).st_size)
    except OSError as error:
        raise ModelFileError(f"cannot be read: {error.strerror or error}") from error


def _ask_mode(path: Path) -> int:
    try:
        return path.stat().st_mode
    except ValueError as error:
        raise ModelFileError(f"is no usable file name: {error}") from error
