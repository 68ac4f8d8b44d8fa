"""Reads a protobuf file field by field without building it in memory.

A parser that builds the message lets two bytes of a hostile file become a hundred of memory, and reads all weights to
tell a name. Here payloads are stepped over; only what is asked for is read.
(Encoding: protobuf.dev/programming-guides/encoding.)
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from hifigan_rt.errors import ModelFileError
from hifigan_rt.formats.checkpoint.byte_source import ByteSource

VARINT, FIXED64, LENGTH, FIXED32 = 0, 1, 2, 5

MAX_FIELDS = 250_000
"""Most fields that are read in one file: V1 as exported by PyTorch has about 10,000."""

MAX_TEXT_BYTES = 1 << 20
"""Most bytes of one string; longer ones are no name and no setting."""

_WINDOW_BYTES = 1 << 16
_MAX_VARINT_BYTES = 10


@dataclass(frozen=True, slots=True)
class Field:
    """One field: an integer, or the span of bytes `start` to `end` that is its payload."""

    number: int
    wire_type: int
    value: int
    start: int
    end: int

    @property
    def length(self) -> int:
        """Bytes of the payload."""
        return self.end - self.start


class ProtobufReader:
    """Reads fields of nested messages out of a byte source."""

    def __init__(self, source: ByteSource) -> None:
        self._source = source
        self._window = b""
        self._window_start = 0
        self._fields_left = MAX_FIELDS

    def fields(self, start: int, end: int) -> Iterator[Field]:
        """The fields of the message in the bytes `start` to `end`.

        Raises:
            ModelFileError: the bytes are no message, end too early, or hold too many fields.
        """
        position = start
        while position < end:
            self._fields_left -= 1
            if self._fields_left < 0:
                raise ModelFileError(f"holds more than {MAX_FIELDS} fields: no HiFi-GAN has so many")
            tag, position = self._varint(position, end)
            number, wire_type = tag >> 3, tag & 7
            value, payload = 0, position
            if wire_type == VARINT:
                value, position = self._varint(position, end)
            elif wire_type == LENGTH:
                length, payload = self._varint(position, end)
                position = payload + length
            elif wire_type in (FIXED64, FIXED32):
                position += 8 if wire_type == FIXED64 else 4
            if number == 0 or wire_type not in (VARINT, FIXED64, LENGTH, FIXED32):
                raise ModelFileError(f"is damaged: at byte {payload} stands what no protobuf field starts with")
            if position > end:
                if end == self._source.size:
                    raise ModelFileError(
                        f"is truncated: a field at byte {payload} ends at byte {position}, and the file at {end}; "
                        "download or copy it again"
                    )
                raise ModelFileError(f"is damaged: a field at byte {payload} is longer than what holds it")
            yield Field(number, wire_type, value, payload, position)

    def inside(self, parent: Field) -> Iterator[Field]:
        """The fields of the message that a field holds."""
        return self.fields(parent.start, parent.end)

    def messages(self, parent: Field, *numbers: int) -> Iterator[Field]:
        """Those of the fields inside that have one of these numbers and a payload."""
        return (item for item in self.inside(parent) if item.wire_type == LENGTH and item.number in numbers)

    def entry(self, parent: Field) -> tuple[str, Field | None]:
        """Key and value of one pair of a map."""
        key, value = "", None
        for item in self.messages(parent, 1, 2):
            if item.number == 1:
                key = self.text(item)
            else:
                value = item
        return key, value

    def text(self, field: Field) -> str:
        """The payload as text; bytes that are not UTF-8 are replaced."""
        if field.length > MAX_TEXT_BYTES:
            raise ModelFileError(f"holds a string of {field.length} bytes at byte {field.start}: at most "
                                  f"{MAX_TEXT_BYTES} are read")  # fmt: skip
        return self._source.read(field.start, field.length, "a string").decode("utf-8", "replace")

    def integers(self, field: Field, most: int) -> list[int]:
        """The values of a repeated integer field, packed or not; signed 64-bit.

        Raises:
            ModelFileError: there are more than `most`.
        """
        if field.wire_type == VARINT:
            return [_signed(field.value)]
        values: list[int] = []
        position = field.start
        while position < field.end:
            if len(values) == most:
                raise ModelFileError(f"holds a list of more than {most} integers at byte {field.start}")
            value, position = self._varint(position, field.end)
            values.append(_signed(value))
        return values

    def _varint(self, position: int, end: int) -> tuple[int, int]:
        value = 0
        for index in range(_MAX_VARINT_BYTES):
            if position >= end:
                raise ModelFileError(f"is truncated or damaged: a number at byte {position} is cut off")
            byte = self._byte(position)
            position += 1
            value |= (byte & 0x7F) << (7 * index)
            if byte < 0x80:
                return value & 0xFFFF_FFFF_FFFF_FFFF, position
        raise ModelFileError(f"is damaged: a number at byte {position} is longer than 64 bits")

    def _byte(self, position: int) -> int:
        offset = position - self._window_start
        if not 0 <= offset < len(self._window):
            length = min(_WINDOW_BYTES, self._source.size - position)
            self._window = self._source.read(position, length, "a field")
            self._window_start, offset = position, 0
        return self._window[offset]


def _signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value
