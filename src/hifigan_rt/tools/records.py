"""Results as plain dataclasses that go to JSON and back; what is read is held against the annotations."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, is_dataclass
from pathlib import Path
from types import UnionType
from typing import Any, Generic, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from hifigan_rt.errors import DatasetError
from hifigan_rt.system.files import atomic_writer

T = TypeVar("T")

_INFINITIES = {"Infinity": math.inf, "-Infinity": -math.inf}


def write_json(content: Mapping[str, Any], path: Path) -> None:
    """Write what `RecordFile.to_json` or `encoded` gave.

    Raises:
        OutputError: the file could not be written.
    """
    with atomic_writer(path) as file:
        file.write(json.dumps(content, indent=1, allow_nan=False).encode() + b"\n")


@dataclass(frozen=True)
class RecordFile(Generic[T]):
    """A kind of file that holds one dataclass: of dataclasses, tuples, mappings, texts, numbers and None."""

    kind: type[T]
    """The dataclass."""
    format_number: int
    """Goes first, so that later readers know what they have."""
    title: str
    """Title of the kind of file, for errors: "benchmark result"."""
    command: str
    """Command that writes such files."""
    keep_infinite: bool = False
    """Infinity becomes the text "Infinity"; otherwise null, as NaN does, which JSON does not know."""

    def to_json(self, record: T) -> dict[str, Any]:
        """A record as JSON has it."""
        fields = {"format": self.format_number} | asdict(record)  # type: ignore[call-overload]
        content: dict[str, Any] = encoded(fields, keep_infinite=self.keep_infinite)
        return content

    def write_json(self, record: T, path: Path) -> None:
        """Write a record as `to_json` gives it.

        Raises:
            OutputError: the file could not be written.
        """
        write_json(self.to_json(record), path)

    def read_json(self, path: Path) -> T:
        """Read what `write_json` wrote.

        Raises:
            DatasetError: the file is not there, or is something else.
        """
        asked = f"'{self.command}' in format {self.format_number}"
        text = f"{str(path)!r} is no result of {asked}: give the JSON that -o wrote"
        try:
            content = json.loads(path.read_bytes())
            if content.pop("format") == self.format_number:
                record: T = decoded(self.kind, content)
                return record
        except OSError as error:
            raise DatasetError(f"{self.title} {str(path)!r} cannot be read: {error.strerror}") from error
        except (ValueError, KeyError, TypeError, AttributeError, ArithmeticError, RecursionError) as error:
            raise DatasetError(text) from error
        raise DatasetError(text)


def decoded(kind: Any, value: Any) -> Any:
    """Build a value of the annotated type from JSON; null where a number is meant is NaN.

    Raises:
        TypeError, ValueError: the value is of another type.
    """
    if kind is Any:
        return value
    if isinstance(kind, type) and is_dataclass(kind):
        hints, entries = get_type_hints(kind), dict(value)
        if unknown := [name for name in entries if name not in hints]:
            raise TypeError(f"{kind.__name__} has no {unknown[0]!r}")
        return kind(**{name: decoded(hints[name], entry) for name, entry in entries.items()})
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        return None if value is None else decoded(arguments[0], value)
    if origin is tuple and isinstance(value, list):
        return tuple(decoded(arguments[0], entry) for entry in value)
    if origin is Mapping and isinstance(value, dict):
        return {name: decoded(arguments[1], entry) for name, entry in value.items()}
    if origin is Literal and value in arguments:
        return value
    if kind is float and not isinstance(value, bool) and (value in _INFINITIES or not isinstance(value, str)):
        return math.nan if value is None else float(_INFINITIES.get(value, value))
    if isinstance(kind, type) and isinstance(value, kind) and not (kind is int and isinstance(value, bool)):
        return value
    raise TypeError(f"{value!r} is no {kind}")


def encoded(value: Any, *, keep_infinite: bool = False) -> Any:
    """Mappings, lists and tuples, texts and numbers as JSON has them; see `RecordFile`."""
    if isinstance(value, float):
        if math.isinf(value) and keep_infinite:
            return "Infinity" if value > 0 else "-Infinity"
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: encoded(entry, keep_infinite=keep_infinite) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [encoded(entry, keep_infinite=keep_infinite) for entry in value]
    return value
