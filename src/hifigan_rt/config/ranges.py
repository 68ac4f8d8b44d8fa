"""Bounds of what configs state, and the texts about what breaks them."""

from __future__ import annotations

import json
from numbers import Integral
from typing import Any

from hifigan_rt.errors import ConfigError

MAX_CHANNELS = 1 << 14
MAX_STAGES = 14
MAX_RATE = 1 << 12
MAX_HOP_LENGTH = 1 << 20
MAX_KERNEL_SIZE = 1 << 10
MAX_DILATION = 1 << 12
MAX_ROWS = 1 << 20
MAX_LAYERS = 1 << 12
MAX_SPEAKERS = 1 << 20
"""Bounds far above any published vocoder, so that a hostile config cannot make us allocate without end."""


def check_range(name: str, value: int, low: int, high: int) -> None:
    """Check a whole number.

    Raises:
        ConfigError: it is none, below low or above high.
    """
    given: object = value
    if isinstance(given, bool) or not isinstance(given, Integral):
        raise ConfigError(f"{name}={value!r} must be a whole number from {low} to {high}")
    if not low <= value <= high:
        raise ConfigError(f"{name}={value} must be from {low} to {high}")


def either(words: tuple[str, ...]) -> str:
    """List words for a text, quoted: 'a', 'b' or 'c'."""
    return f"{', '.join(repr(word) for word in words[:-1])} or {words[-1]!r}"


def check_same_length(name: str, values: tuple[Any, ...], other: str, others: tuple[Any, ...]) -> None:
    """Check that two lists have as many entries.

    Raises:
        ConfigError: they have not.
    """
    if len(values) != len(others):
        raise ConfigError(
            f"{name}={listed(values)} has {len(values)} entries and {other}={listed(others)} has {len(others)}: "
            "they must be as many"
        )


def listed(values: tuple[Any, ...]) -> str:
    """Values for a text, as JSON; the first five of more than 100."""
    return json.dumps(values) if len(values) <= 100 else f"{json.dumps(values[:5])[:-1]}, ...]"
