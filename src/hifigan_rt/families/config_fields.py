"""Takes fields of another project's config under our names, and follows references between them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from hifigan_rt.errors import ConfigError

_INTERPOLATION = re.compile(r"\$\{([A-Za-z_]\w*(?:\.\w+)*)\}")
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


def resolve_interpolations(root: Mapping[str, Any], value: object) -> Any:
    """Follow OmegaConf's `${a.b}` in a value, and in the mappings and lists within it.

    Args:
        root: the whole config, in which references are looked up.
        value: any part of it.

    Raises:
        ConfigError: a reference leads nowhere or in a circle, or asks for more than another value (`${oc.env:HOME}`).
    """
    if isinstance(value, dict):
        return {name: resolve_interpolations(root, item) for name, item in value.items()}
    if isinstance(value, list):
        return [resolve_interpolations(root, item) for item in value]
    for _ in range(_MAX_STEPS):
        if not isinstance(value, str) or "${" not in value:
            return value
        match = _INTERPOLATION.fullmatch(value.strip())
        if match is None:
            raise ConfigError(f"{value[:100]!r} is an interpolation that is not resolved here: write its value instead")
        value = _look_up(root, match[1].split("."), value)
    raise ConfigError(f"interpolations lead in a circle at {str(value)[:100]!r}")


def _look_up(root: Mapping[str, Any], way: list[str], text: str) -> object:
    found: Any = root
    for key in way:
        if isinstance(found, dict) and key in found:
            found = found[key]
        elif isinstance(found, list) and key.isdigit() and int(key) < len(found):
            found = found[int(key)]
        else:
            raise ConfigError(f"{text[:100]!r} leads to nothing in this config")
    if isinstance(found, (dict, list)) and "${" in str(found):
        raise ConfigError(f"{text[:100]!r} leads to interpolations that are not resolved here: write its value instead")
    return found
