"""Values of decoded configs, by type: what is none of a type is refused by name and value."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from hifigan_rt.errors import ConfigError

T = TypeVar("T")


def describe(value: object) -> str:
    """A value with its type, shortened, for texts."""
    text = repr(value)
    return f"{type(value).__name__} {text if len(text) <= 60 else text[:57] + '...'}"


def put_once(members: dict[Any, Any], name: Any, value: object) -> None:
    """Put a member into an object that is being read; once more where it is equal, or where its name says comment.

    Raises:
        ConfigError: it stands there with another value, of which readers of JSON and YAML take the last in silence.
    """
    doubled = name in members and (type(members[name]), members[name]) != (type(value), value)
    if doubled and name != "//" and str(name).strip("_/#").lower() != "comment":
        raise ConfigError(
            f"{str(name)[:60]!r} stands twice, as {describe(members[name])} and as {describe(value)}: remove the one "
            "that is not meant"
        )
    members[name] = value


def each_once(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """Take the members of a JSON object, as `object_pairs_hook` of `json.loads`.

    Raises:
        ConfigError: a name stands twice, with different values.
    """
    members: dict[str, Any] = {}
    for name, value in pairs:
        put_once(members, name, value)
    return members


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
