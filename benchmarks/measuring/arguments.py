"""Lists in the arguments of the programs."""

from __future__ import annotations


def integers(text: str) -> list[int]:
    """Numbers with commas between them."""
    return [int(part) for part in text.split(",")]


def names(text: str) -> list[str]:
    """Names with commas between them."""
    return text.split(",")
