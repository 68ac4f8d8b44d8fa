"""The bytes of pickles in a file, read ahead in pieces; what arrays are made of is passed over and stays there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from hifigan_rt.errors import CheckpointError
from hifigan_rt.formats.checkpoint.byte_source import ByteSource
from hifigan_rt.formats.checkpoint.limits import MAX_PICKLE_BYTES

_MAX_NAME_BYTES = 1024
_WINDOW_BYTES = 1 << 16
"""Bytes that are read ahead."""

_UNREAD_FROM = 1 << 16
"""Length in bytes from which texts and byte strings stay in the file: those of arrays."""


@dataclass(frozen=True, slots=True, eq=False)
class UnreadBytes:
    """A long text or byte string that stays in the file."""

    start: int
    """Offset in the file."""
    length: int
    kind: Literal["bytes", "text", "latin1"]
    """Whether they are bytes, UTF-8 text, or bytes as the characters of a UTF-8 text."""

    @property
    def NOUN(self) -> str:  # noqa: N802 - as the classes of this package have it
        """The value, for texts."""
        return f"{'a text' if self.kind == 'text' else 'a byte string'} of {self.length} bytes"


class PickleInput:
    """A part of a file with pickles in it.

    Args:
        source: the file.
        start: offset of the first pickle, in bytes.
        size: bytes that may belong to pickles; None is all that follow.
        leave_unread: long texts and byte strings stay in the file, as `UnreadBytes`.
    """

    def __init__(
        self, source: ByteSource, *, start: int = 0, size: int | None = None, leave_unread: bool = True
    ) -> None:
        self._source = source
        self._start = start
        self._size = source.size - start if size is None else size
        self._leave_unread = leave_unread
        self.position = 0
        """Bytes taken or passed over so far."""
        self._window = b""
        self._window_at = 0
        self._passed_over = 0
        """Bytes that were left unread so far."""

    def take(self, length: int) -> bytes:
        """Take the next bytes.

        Raises:
            CheckpointError: there are fewer, or more were read than a pickle may have.
        """
        self.check_left(length)
        at = self.position - self._window_at
        if at + length > len(self._window):
            self._read_on(length)
            at = 0
        self.position += length
        return self._window[at : at + length]

    def check_left(self, length: int) -> None:
        """Raise CheckpointError unless so many bytes are left."""
        left = self._size - self.position
        if length > left:
            raise CheckpointError(
                f"is truncated: its pickle asks for {length} bytes at byte {self.position}, and {left} are left"
            )

    def _read_on(self, length: int) -> None:
        """Read at least so many bytes from the position on."""
        if self.position + length - self._passed_over > MAX_PICKLE_BYTES:
            raise CheckpointError(f"has a pickle of more than {MAX_PICKLE_BYTES} bytes, tensors not counted")
        count = min(max(length, _WINDOW_BYTES), self._size - self.position)
        self._window = self._source.read(self._start + self.position, count, "the pickle")
        self._window_at = self.position

    def unsigned(self, width: int) -> int:
        """Take a number of so many bytes, the lowest first."""
        return int.from_bytes(self.take(width), "little")

    def string(self, width: int, kind: Literal["bytes", "text"]) -> str | bytes | UnreadBytes:
        """Take a text or a byte string, whose length comes first in `width` bytes; a long one stays where it is."""
        length = self.unsigned(width)
        if length < _UNREAD_FROM or not self._leave_unread:
            raw = self.take(length)
            return self._decode(raw) if kind == "text" else raw
        self.check_left(length)
        unread = UnreadBytes(self._start + self.position, length, kind)
        self.position += length
        self._passed_over += length
        return unread

    def line(self) -> str:
        """Take a name, up to the end of its line."""
        ahead = min(_MAX_NAME_BYTES, self._size - self.position)
        if self.position + ahead > self._window_at + len(self._window):
            self._read_on(ahead)
        at = self.position - self._window_at
        end = self._window.find(b"\n", at, at + ahead)
        if end < 0:
            raise CheckpointError(f"is damaged: no name at byte {self.position} of its pickle")
        line = self._window[at:end]
        self.position += len(line) + 1
        return self._decode(line)

    def _decode(self, raw: bytes) -> str:
        try:
            return raw.decode("utf-8")
        except UnicodeDecodeError as error:
            raise CheckpointError(f"is damaged: text at byte {self.position} of its pickle is not UTF-8") from error
