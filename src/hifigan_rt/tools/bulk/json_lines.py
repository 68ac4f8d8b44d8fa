"""Files of one JSON object per line, appended to by one run after another, that an interruption cannot spoil."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from hifigan_rt.errors import OutputError


class JsonLinesWriter:
    """Appends objects; every line reaches the file before `append_object` returns.

    Raises:
        OutputError: the file cannot be written.
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
            # "a" so that two runs in one folder cannot tear each other's lines, "+" to see how the file ends.
            self._file = path.open("a+b", buffering=0)
            if self._file.seek(0, os.SEEK_END) > 0:
                self._file.seek(-1, os.SEEK_END)
                if self._file.read(1) != b"\n":
                    self._write(b"\n")
        except OSError as error:
            raise self._failure(error) from error

    def append_object(self, values: Mapping[str, Any]) -> None:
        """Write one line, in pure ASCII."""
        try:
            self._write(json.dumps(values, ensure_ascii=True, allow_nan=False).encode("ascii") + b"\n")
        except OSError as error:
            raise self._failure(error) from error

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _write(self, line: bytes) -> None:
        view = memoryview(line)
        while view:
            view = view[self._file.write(view) :]

    def _failure(self, error: OSError) -> OutputError:
        return OutputError(f"{self._title} {str(self._path)!r} cannot be written: {error.strerror or error}")


def read_objects(path: Path, title: str) -> Iterator[dict[str, Any] | None]:
    """The objects of a file, in order; None for a line that is torn or not ours. A missing file is empty.

    Raises:
        OutputError: it exists and cannot be read.
    """
    try:
        with path.open("rb") as file:
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
