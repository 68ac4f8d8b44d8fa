"""Files of one JSON object per line, appended to by one run after another, that an interruption cannot spoil."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from hifigan_rt.errors import OutputError
from hifigan_rt.system.closing import Closing
from hifigan_rt.system.files import open_own


class JsonLinesWriter(Closing):
    """Appends objects; every line reaches the file before `append_object` returns, and the disk before `close` does.

    Raises:
        OutputError: the file cannot be written, or is a link.
    """

    def __init__(self, path: Path, title: str) -> None:
        """
        Args:
            path: made if it is missing.
            title: of the kind of file, for errors: "manifest".
        """
        self._path = path
        self._title = title
        try:
            # "a" so that two writers cannot tear each other's lines, "+" to see how the file ends.
            descriptor = open_own(path, os.O_RDWR | os.O_APPEND | os.O_CREAT)
            self._file = os.fdopen(descriptor, "a+b", buffering=0)
            if self._file.seek(0, os.SEEK_END) > 0:
                self._file.seek(-1, os.SEEK_END)
                if self._file.read(1) != b"\n":
                    self._write(b"\n")
        except OSError as error:
            raise self._failure(error) from error

    def append_object(self, values: Mapping[str, Any]) -> None:
        """Write one line, in pure ASCII.

        Raises:
            OutputError: it cannot be written, or the file is not at its place any more.
        """
        try:
            self._write(json.dumps(values, ensure_ascii=True, allow_nan=False).encode("ascii") + b"\n")
        except OSError as error:
            raise self._failure(error) from error
        # What is written to a file that was removed is gone, and so may be the results beside it.
        if not os.path.lexists(self._path):
            raise OutputError(
                f"{self._title} {str(self._path)!r} was removed or moved while the run was at work: start it again"
            )

    def sync(self) -> None:
        """Wait until all lines are on the disk.

        Raises:
            OutputError: the disk is full or broken.
        """
        try:
            os.fsync(self._file.fileno())
        except OSError as error:
            raise self._failure(error) from error

    def close(self) -> None:
        """Close the file, when its lines are on the disk."""
        with contextlib.closing(self._file), contextlib.suppress(OutputError):  # a line that is lost is made again
            self.sync()

    def _write(self, line: bytes) -> None:
        view = memoryview(line)
        while view:
            view = view[self._file.write(view) :]

    def _failure(self, error: OSError) -> OutputError:
        return OutputError(f"{self._title} {str(self._path)!r} cannot be written: {error.strerror or error}")


def read_objects(path: Path, title: str) -> Iterator[dict[str, Any] | None]:
    """The objects of a file, in order; None for a line that is torn or not ours. A missing file is empty.

    Raises:
        OutputError: it exists and cannot be read, or is a link.
    """
    try:
        with os.fdopen(open_own(path, os.O_RDONLY), "rb") as file:
            for line in file:
                if line.strip():
                    yield _parse(line)
    except FileNotFoundError:
        return
    except OSError as error:
        raise OutputError(f"{title} {str(path)!r} cannot be read: {error.strerror}") from error


def _parse(line: bytes) -> dict[str, Any] | None:
    try:
        values = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return values if isinstance(values, dict) else None
