"""Takes fields of another project's config under our names, and follows references between them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from hifigan_rt.errors import ConfigError

_INTERPOLATION = re.compile(r"\$\{(\.*)([A-Za-z_]\w*(?:\.\w+)*)\}")
_MAX_STEPS = 32
"""References to references that are followed."""


def take_fields(values: Mapping[str, Any], names: Mapping[str, str], *, needed: tuple[str, ...] = ()) -> dict[str, Any]:
    """Take what a mapping states.

    Args:
        values: the project's fields.
        names: its names, by ours.
        needed: of ours, those that must be there.

    Raises:
        ConfigError: one of `needed` is missing; the text has the project's name of it.
    """
    for ours in needed:
        if values.get(names[ours]) is None:
            raise ConfigError(f"{names[ours]} is missing")
    return {ours: values[theirs] for ours, theirs in names.items() if values.get(theirs) is not None}


def as_mapping(values: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Take a mapping out of another.

    Raises:
        ConfigError: there is none of that name.
    """
    inner = values.get(name)
    if not isinstance(inner, dict):
        raise ConfigError(f"{name} is missing, or no mapping")
    return inner


def resolve_interpolations(value: object, *around: Mapping[str, Any]) -> Any:
    """Follow OmegaConf's `${a.b}` and `${.a}` in a value, and in the mappings and lists within it.

    Args:
        value: any part of a config.
        around: the mappings around it from the whole config inwards: one dot looks into the innermost, two into the
            next one out.

    Raises:
        ConfigError: a reference leads nowhere or in a circle, or asks for more than another value (`${oc.env:HOME}`).
    """
    return _resolve(value, around)


def _resolve(value: object, around: tuple[Any, ...]) -> Any:
    if isinstance(value, dict):
        return {name: _resolve(item, (*around, value)) for name, item in value.items()}
    if isinstance(value, list):
        return [_resolve(item, (*around, value)) for item in value]
    for _ in range(_MAX_STEPS):
        if not isinstance(value, str) or "${" not in value:
            return value
        match = _INTERPOLATION.fullmatch(value.strip())
        if match is None:
            raise ConfigError(f"{value[:100]!r} is an interpolation that is not resolved here: write its value instead")
        dots = len(match[1])
        if dots > len(around):
            raise ConfigError(f"{value[:100]!r} leads out of this config")
        around = around[: 1 - dots or None] if dots else around[:1]
        value, around = _look_up(around, match[2].split("."), value)
    raise ConfigError(f"interpolations lead in a circle at {str(value)[:100]!r}")


def _look_up(around: tuple[Any, ...], way: list[str], text: str) -> tuple[object, tuple[Any, ...]]:
    """Give what lies on a way from the innermost of some mappings, with all that is around it."""
    *_, found = around
    for index, key in enumerate(way):
        if isinstance(found, dict) and key in found:
            found = found[key]
        elif isinstance(found, list) and key in map(str, range(len(found))):
            found = found[int(key)]
        else:
            raise ConfigError(f"{text[:100]!r} leads to nothing in this config")
        if index < len(way) - 1:
            around = (*around, found)
    if isinstance(found, (dict, list)) and "${" in str(found):
        raise ConfigError(f"{text[:100]!r} leads to interpolations that are not resolved here: write its value instead")
    return found, around
