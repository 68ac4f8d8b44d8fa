"""Results as plain dataclasses that go to JSON and back; what is read is held against the annotations."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from pathlib import Path
from types import UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from hifigan_rt.errors import DatasetError
from hifigan_rt.system.files import atomic_writer

T = TypeVar("T")

_INFINITIES = {"Infinity": math.inf, "-Infinity": -math.inf}


def to_json(record: Any, format_number: int, *, keep_infinite: bool = False) -> dict[str, Any]:
    """A dataclass as JSON has it, which knows no NaN: that stands as null.

    Args:
        record: of dataclasses, tuples, mappings, texts, numbers and None.
        format_number: goes first, so that later readers know what they have.
        keep_infinite: infinity becomes the text "Infinity"; otherwise null as well.
    """
    content: dict[str, Any] = encoded({"format": format_number} | asdict(record), keep_infinite=keep_infinite)
    return content


def write_json(content: Mapping[str, Any], path: Path) -> None:
    """Write what `to_json` gave.

    Raises:
        OutputError: the file could not be written.
    """
    with atomic_writer(path) as file:
        file.write(json.dumps(content, indent=1, allow_nan=False).encode() + b"\n")


def read_json(kind: type[T], path: Path, format_number: int, *, title: str, command: str) -> T:
    """Read what `write_json` wrote.

    Args:
        kind: the dataclass.
        path: the file.
        format_number: what `to_json` was given.
        title: of the kind of file, for errors: "benchmark result".
        command: that writes such files.

    Raises:
        DatasetError: the file is not there, or is something else.
    """
    text = f"{str(path)!r} is no result of '{command}' in format {format_number}: give the JSON that -o wrote"
    try:
        content = json.loads(path.read_bytes())
        if content.pop("format") == format_number:
            record: T = decoded(kind, content)
            return record
    except OSError as error:
        raise DatasetError(f"{title} {str(path)!r} cannot be read: {error.strerror}") from error
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
    """Mappings, lists and tuples, texts and numbers as JSON has them; see `to_json`."""
    if isinstance(value, float):
        if math.isinf(value) and keep_infinite:
            return "Infinity" if value > 0 else "-Infinity"
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: encoded(entry, keep_infinite=keep_infinite) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [encoded(entry, keep_infinite=keep_infinite) for entry in value]
    return value
