"""Keeps what the server received, in which order: one line of JSON per result in a file that no listener can write.

A receipt goes by the digest of the result's bytes. So it holds for a file of any name, and never for a changed one.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from io import FileIO
from pathlib import Path

from hifigan_rt.errors import EvaluationError, OutputError
from hifigan_rt.tools import records

RECEIPTS_NAME = "receipts.jsonl"

MAX_RECEIPTS_BYTES = 16 << 20
"""10,000 receipts have 4 MB."""


@dataclass(frozen=True)
class Receipt:
    """One result as the server received it."""

    file: str
    """Its name in the folder."""
    sha256: str
    """Digest of its bytes."""
    test_id: str
    listener: str
    choices: str
    """Digest of its answers (`Submission.choices`)."""
    received: str
    """Date and time of the server, with its zone."""

    @property
    def time(self) -> datetime.datetime:
        return datetime.datetime.fromisoformat(self.received)


@dataclass(frozen=True)
class ReceiptList:
    """The receipts of a folder."""

    receipts: Sequence[Receipt]
    """Receipts in the order in which results were received."""
    problem: str = ""
    """Why some could not be read; else empty."""


def read_receipts(folder: Path) -> ReceiptList:
    """Read the receipts of a folder; none if nothing was received there."""
    path = folder / RECEIPTS_NAME
    if not os.path.lexists(path):
        return ReceiptList(())
    try:
        content = read_regular(path, MAX_RECEIPTS_BYTES, follow=False)
    except EvaluationError as error:
        return ReceiptList((), f"{str(path)!r} tells no order: {error}")
    if len(content) > MAX_RECEIPTS_BYTES:
        return ReceiptList((), f"{str(path)!r} tells no order: it is larger than {MAX_RECEIPTS_BYTES} bytes")
    lines = [line for line in content.split(b"\n") if line]
    receipts = [receipt for line in lines if (receipt := _receipt_of(line)) is not None]
    wrong = len(lines) - len(receipts)
    return ReceiptList(receipts, f"{wrong} of {len(lines)} lines of {str(path)!r} are no receipts" if wrong else "")


class ReceiptWriter:
    """Appends receipts, each on the disk before it returns.

    Raises:
        OutputError: the file cannot be written to, or is a link.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / RECEIPTS_NAME
        with self._opened() as file:
            # A crash or a full disk may have left half a line.
            self._torn = file.seek(0, os.SEEK_END) > 0 and (file.seek(-1, os.SEEK_END), file.read(1))[1] != b"\n"

    def add(self, receipt: Receipt) -> None:
        """Append a receipt.

        Raises:
            OutputError: it could not be written.
        """
        line = b"\n" * self._torn + json.dumps(asdict(receipt)).encode() + b"\n"
        with self._opened() as file:
            self._torn = True
            if file.write(line) < len(line):
                raise OutputError(f"{str(self._path)!r} could not be written: the disk is full")
            os.fsync(file.fileno())
            self._torn = False

    @contextlib.contextmanager
    def _opened(self) -> Iterator[FileIO]:
        try:
            # Without a buffer: a line goes in one piece, also beside a second server's. Not through a link: whoever
            # put it there would have another file written to.
            with open(self._path, "ab+", buffering=0, opener=_no_link) as file:
                if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                    raise OutputError(f"{str(self._path)!r} is no file: name another folder of results")
                yield file
        except OSError as error:
            raise OutputError(f"{str(self._path)!r} could not be written: {error.strerror or error}") from error


def read_regular(path: Path, most: int, *, follow: bool = True) -> bytes:
    """Read a file, and nothing that never ends or never comes: a pipe, a device.

    Args:
        path: the file.
        most: maximum number of bytes; one more is read where there are more.
        follow: whether it may be a link to a file.

    Raises:
        EvaluationError: it is no file, or cannot be read.
    """

    try:
        with open(path, "rb", opener=_no_wait if follow else _no_link) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise EvaluationError("it is no file")
            return file.read(most + 1)
    except (FileNotFoundError, IsADirectoryError) as error:
        raise EvaluationError("it is no file") from error
    except (OSError, ValueError) as error:
        raise EvaluationError(f"it cannot be read: {getattr(error, 'strerror', None) or error}") from error


def _no_wait(name: str, flags: int) -> int:
    # Opening a pipe would wait for a writer.
    return os.open(name, flags | getattr(os, "O_NONBLOCK", 0), 0o666)


def _no_link(name: str, flags: int) -> int:
    return _no_wait(name, flags | getattr(os, "O_NOFOLLOW", 0))


def _receipt_of(line: bytes) -> Receipt | None:
    try:
        receipt: Receipt = records.decoded(Receipt, json.loads(line))
        has_zone = receipt.time.tzinfo is not None
    except (ValueError, TypeError, RecursionError):
        return None
    return receipt if has_zone else None
