"""Values of decoded configs, by type: what is none of a type is refused by name and value."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from hifigan_rt.errors import ConfigError

T = TypeVar("T")


def describe(value: object) -> str:
    """A value with its type, shortened, for texts."""
    text = repr(value)
    return f"{type(value).__name__} {text if len(text) <= 60 else text[:57] + '...'}"


def required(fields: Mapping[str, Any], name: str) -> Any:
    """Look a field up.

    Raises:
        ConfigError: it is missing.
    """
    if name not in fields:
        raise ConfigError(f"{name} is missing")
    return fields[name]


def as_integer(name: str, value: object) -> int:
    """Take a whole number, also one that is written as 2.0.

    Raises:
        ConfigError: it is none.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value != value // 1:
        raise ConfigError(f"{name}={describe(value)} must be a whole number")
    return int(value)


def as_list(name: str, value: object) -> list[Any]:
    """Take a list.

    Raises:
        ConfigError: it is none.
    """
    if not isinstance(value, (list, tuple)):
        raise ConfigError(f"{name}={describe(value)} must be a list")
    return list(value)


def as_number(name: str, value: object) -> float:
    """Take a finite number.

    Raises:
        ConfigError: it is none.
    """
    try:
        if not isinstance(value, bool) and isinstance(value, (int, float)) and math.isfinite(value):
            return float(value)
    except OverflowError:
        pass  # an integer beyond all numbers of 64 bits
    raise ConfigError(f"{name}={describe(value)} must be a finite number")


def list_of(read: Callable[[str, object], T]) -> Callable[[str, object], tuple[T, ...]]:
    """Make what takes a list, and reads each value of it under its name with the index."""
    return lambda name, value: tuple(read(f"{name}[{i}]", item) for i, item in enumerate(as_list(name, value)))
