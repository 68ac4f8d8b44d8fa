"""JSON of many MB, parsed and written a piece at a time, so that nobody waits for the whole.

`json.loads` and `json.dumps` hold the interpreter's lock from the first byte to the last: for 16 MB of `[[],[],...]`
every other request and stream stands still for 2 s. Here whatever is long is a generator that yields after about a
millisecond; `hifigan_rt.tools.serving.loop_pieces` runs it between the others' work.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Generator
from typing import TypeVar

import numpy as np

from hifigan_rt.tools.serving.errors import BadRequest
from hifigan_rt.tools.serving.json_values import parse_json, said_twice

T = TypeVar("T")
Steps = Generator[None, None, T]
"""Work in pieces: runs to its next `yield` within about a millisecond."""

PIECE_BYTES = 8 << 10
"""Most text that is handed to `json` at once."""

_MAX_VALUES = 1 << 16
"""Most values beside those in lists of numbers, and most lists: 64 mels of 1024 bands."""
_MAX_DEPTH = 32
_STEPS_PER_PIECE = 64
_NUMBERS_AT_ONCE = 512
_COPIED_AT_ONCE = 1 << 16

_SPACE = re.compile(rb"[ \t\n\r]{0,8192}")
_SCALAR = re.compile(rb"[^\s,\[\]{}:\"]{1,8192}")
_SCALARS = re.compile(rb'[^\[\]{}"]*')
_STRING = re.compile(rb'"(?:[^"\\]|\\.){0,8192}"', re.DOTALL)


def parse_json_steps(content: bytes | bytearray, what: str) -> Steps[object]:
    """Parse JSON strictly, as `parse_json` does, in pieces.

    Long lists of numbers become float64 arrays: `[n]`, or of more axes where lists of equal lengths are nested; all
    other values are what `json` makes of them.

    Args:
        content: the text.
        what: what the text is, for the error: "the body".

    Returns:
        The value.

    Raises:
        BadRequest: it is no JSON, is nested too deeply, or holds more than 65536 values or lists beside its numbers.
    """
    encoding = json.detect_encoding(bytes(content[:4]))
    if encoding != "utf-8":
        content = content.decode(encoding, "replace").encode()
    if len(content) <= PIECE_BYTES:
        return parse_json(bytes(content), what)
    return (yield from _Text(content, what).document())


def number_list_steps(values: np.ndarray) -> Steps[list[bytes]]:
    """Write finite float32 `[n]` as a list of JSON, in parts."""
    parts = [b"["]
    for start in range(0, len(values), _NUMBERS_AT_ONCE):
        piece = json.dumps(values[start : start + _NUMBERS_AT_ONCE].tolist(), allow_nan=False, separators=(",", ":"))
        parts.append((("," if start else "") + piece[1:-1]).encode())
        yield
    parts.append(b"]")
    return parts


class _Text:
    def __init__(self, text: bytes | bytearray, what: str) -> None:
        self._text, self._what = text, what
        self._position = 0
        self._values = self._steps = 0
        self._piece_end = PIECE_BYTES

    def document(self) -> Steps[object]:
        value = yield from self._value(0)
        yield from self._skip_space()
        if self._position < len(self._text):
            raise self._no_json("something follows its end")
        return value

    def _value(self, depth: int) -> Steps[object]:
        self._values += 1
        if self._values > _MAX_VALUES:
            raise BadRequest(f"{self._what} has more than {_MAX_VALUES} values or lists beside its numbers")
        if depth > _MAX_DEPTH:
            raise BadRequest(f"{self._what} is no JSON that can be read: it is nested too deeply")
        self._steps += 1
        if self._steps % _STEPS_PER_PIECE == 0 or self._position >= self._piece_end:
            self._piece_end = self._position + PIECE_BYTES
            yield
        yield from self._skip_space()
        beginning = self._next()
        if beginning == b"{":
            return (yield from self._object(depth))
        if beginning == b"[":
            return (yield from self._list(depth))
        return self._token(_STRING if beginning == b'"' else _SCALAR)

    def _object(self, depth: int) -> Steps[object]:
        members: dict[object, object] = {}

        def member() -> Steps[None]:
            yield from self._skip_space()
            name = self._token(_STRING)
            yield from self._skip_space()
            self._take(b":")
            if name in members:
                raise self._no_json(said_twice(name))
            members[name] = yield from self._value(depth + 1)

        yield from self._until(b"}", member)
        return members

    def _list(self, depth: int) -> Steps[object]:
        start = self._position
        self._position += 1
        yield from self._skip_space()
        beginning = self._next()
        if (beginning == b"-" or beginning.isdigit()) and self._scalars_alone():
            return (yield from self._numbers())
        self._position = start
        items: list[object] = []

        def item() -> Steps[None]:
            value = yield from self._value(depth + 1)
            # Numbers in lists of lists are not kept as objects of Python, each of which takes four times as much.
            items.append(_floats(value, self._what) if beginning == b"[" and _is_numbers(value) else value)

        yield from self._until(b"]", item)
        return (yield from _joined(items))

    def _until(self, end: bytes, read: Callable[[], Steps[None]]) -> Steps[None]:
        """Read what is parted by commas, from the opening bracket to the closing one."""
        self._position += 1
        yield from self._skip_space()
        if self._next() == end:
            self._position += 1
            return
        while True:
            yield from read()
            yield from self._skip_space()
            if self._next() == end:
                self._position += 1
                return
            self._take(b",")

    def _scalars_alone(self) -> bool:
        """Tell whether the rest of a list is without strings, lists and objects, as far as a piece tells."""
        most = self._position + PIECE_BYTES
        match = _SCALARS.match(self._text, self._position, most)
        assert match is not None  # noqa: S101 - nothing is enough
        return match.end() == most or self._text[match.end() : match.end() + 1] == b"]"

    def _numbers(self) -> Steps[object]:
        """Read a list whose first value is a number, from that number to the closing bracket."""
        parts: list[np.ndarray] = []
        while True:
            window = self._position + PIECE_BYTES
            end = self._text.find(b"]", self._position, window)
            closed = end >= 0
            if not closed:
                end = self._text.rfind(b",", self._position, window)
            if end < 0:
                values = yield from self._number()
                closed, end = self._next() == b"]", self._position
            else:
                values = parse_json(b"[" + self._text[self._position : end] + b"]", self._what)
            assert isinstance(values, list)  # noqa: S101 - brackets stand around it
            self._position = end + 1
            if closed and not parts:
                return values
            if not _is_numbers(values):
                raise BadRequest(f"{self._what} holds a list of numbers with something else in it")
            parts.append(_floats(values, self._what))
            if closed:
                return (yield from _filled(parts, (sum(map(len, parts)),)))
            yield

    def _number(self) -> Steps[object]:
        """Read one number of a list with much space around it."""
        yield from self._skip_space()
        value = self._token(_SCALAR)
        yield from self._skip_space()
        if self._next() not in (b",", b"]"):
            raise self._no_json("a list of numbers does not end")
        return [value]

    def _skip_space(self) -> Steps[None]:
        while True:
            match = _SPACE.match(self._text, self._position)
            if match is None or match.end() == self._position:
                return
            self._position = match.end()
            if self._next() not in (b" ", b"\t", b"\n", b"\r"):
                return
            yield

    def _next(self) -> bytes:
        return bytes(self._text[self._position : self._position + 1])

    def _take(self, expected: bytes) -> None:
        if self._next() != expected:
            raise self._no_json(f"{expected.decode()!r} is expected")
        self._position += 1

    def _token(self, pattern: re.Pattern[bytes]) -> object:
        match = pattern.match(self._text, self._position)
        if match is None:
            raise self._no_json("a value is expected, or is longer than 8192 bytes")
        self._position = match.end()
        return parse_json(match[0], self._what)

    def _no_json(self, reason: str) -> BadRequest:
        return BadRequest(f"{self._what} is no JSON: {reason}, at byte {self._position}")


def _joined(items: list[object]) -> Steps[object]:
    """Make an array of equally long lists of numbers; any other list stays as it is."""
    arrays = [item for item in items if isinstance(item, np.ndarray)]
    if not arrays or len(arrays) < len(items) or any(item.shape != arrays[0].shape for item in arrays):
        return items
    items.clear()
    return (yield from _filled(arrays, (len(arrays), *arrays[0].shape)))


def _filled(parts: list[np.ndarray], shape: tuple[int, ...]) -> Steps[np.ndarray]:
    """Join arrays, each freed as soon as it is copied, so that there are never two copies."""
    if len(parts) == 1:
        return parts[0].reshape(shape)
    joined = np.empty(shape, np.float64)
    values = joined.reshape(-1)
    end = copied = len(values)
    while parts:
        part = parts.pop().reshape(-1)
        for stop in range(part.size, 0, -_COPIED_AT_ONCE):
            start = max(0, stop - _COPIED_AT_ONCE)
            values[end - (stop - start) : end] = part[start:stop]
            end -= stop - start
            if copied - end >= _COPIED_AT_ONCE:
                copied = end
                yield
    return joined


def _is_numbers(value: object) -> bool:
    # By type, because True is an integer to Python, and NumPy would even convert "1.0".
    return isinstance(value, list) and len(value) > 0 and set(map(type, value)) <= {int, float}


def _floats(values: object, what: str) -> np.ndarray:
    try:
        return np.array(values, np.float64)
    except OverflowError as error:
        raise BadRequest(f"{what} holds a number beyond the range of floats") from error
