"""Keeps what the server received, in which order: one line of JSON per result in a file that no listener can write.

A receipt goes by the digest of the result's bytes. So it holds for a file of any name, and never for a changed one.
"""

from __future__ import annotations

import datetime
import json
import os
import stat
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from hifigan_rt.errors import EvaluationError
from hifigan_rt.tools import records
from hifigan_rt.tools.bulk.json_lines import JsonLinesWriter

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


def open_receipts(folder: Path) -> JsonLinesWriter:
    """Open the receipts of a folder for more of them.

    Raises:
        OutputError: the file cannot be written to, or is a link: whoever put it there would have another written to.
    """
    return JsonLinesWriter(folder / RECEIPTS_NAME, "list of receipts")


def add_receipt(folder: Path, receipt: Receipt) -> None:
    """Append a receipt, which is on the disk then.

    Raises:
        OutputError: it could not be written.
    """
    # Opened anew for each, so that a line that a full disk has torn is ended first.
    with open_receipts(folder) as file:
        file.append_object(asdict(receipt))
        file.sync()


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
