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


class ByteSource:
    """A regular file opened for reading; made by `open_source`."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file = file
        self.size = size

    def read(self, start: int, length: int, what: str) -> bytes:
        """Read `length` bytes; `what` names them in the error.

        Raises:
            ModelFileError: the file ends before.
        """
        self.check(start, length, what)
        self._file.seek(start)
        data = self._file.read(length)
        if len(data) != length:
            raise ModelFileError(f"is truncated: the file became shorter while {what} was read")
        return data

    def read_into(self, start: int, array: np.ndarray, what: str) -> None:
        """Fill a C-contiguous array with the bytes from `start` on.

        Raises:
            ModelFileError: the file ends before.
        """
        self.check(start, array.nbytes, what)
        if array.nbytes == 0:
            return
        self._file.seek(start)
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
