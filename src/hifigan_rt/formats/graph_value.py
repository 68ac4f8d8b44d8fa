"""An input or output of a converted model, whatever the format of its file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class GraphValue:
    """An input or output of the graph."""

    name: str
    dtype: str
    """NumPy's name of it, for example "float32"."""
    shape: tuple[int | None, ...] | None
    """None for a dimension that is dynamic; None as a whole if the file does not even tell the rank."""

    def __str__(self) -> str:
        shape = "?" if self.shape is None else ", ".join("?" if size is None else str(size) for size in self.shape)
        return f"{self.name} {self.dtype} [{shape}]"


def listed(values: Sequence[GraphValue]) -> str:
    """Values for a text, the first eight of them."""
    return "; ".join(str(value) for value in values[:8]) or "none"
