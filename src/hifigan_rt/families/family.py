"""What a family of checkpoints has to tell."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from hifigan_rt.config import ModelConfig


@dataclass(frozen=True)
class Family:
    """How one project writes a generator, as patterns of names and functions that bring it to the original's form."""

    name: str
    """The project, for texts."""
    layers: str
    """Names of its layers, for texts."""
    parts: frozenset[str]
    """First components of those names."""
    needed: Mapping[str, re.Pattern[str]]
    """Beginnings of tensors' names, each under a name for texts; a generator of the family has all of them.

    The first is that of the layer that tells where a common prefix ends, such as `dec.` in `dec.conv_pre.weight`.
    """
    rename: Callable[[Collection[str]], Mapping[str, str]]
    """Gives the original's name for each parameter of a generator.

    Raises CheckpointError if one does not fit; the text names it.
    """
    parse_config: Callable[[object], ModelConfig]
    """Reads the family's decoded config: the architecture, and the mel convention where it tells.

    Raises ConfigError for a field that is missing, mistyped, out of range or contradicts another.
    """
    ignored: re.Pattern[str] | None = None
    """Beginnings of names that stand among the generator's and are no part of it: those tensors are never loaded."""
    owns_config: Callable[[Mapping[str, object]], bool] | None = None
    """Tells the family's decoded config from the original's; None if it is written in the original's fields."""

    @property
    def first_layer(self) -> re.Pattern[str]:
        """The beginning of a name that tells where a common prefix ends."""
        return next(iter(self.needed.values()))

    def recognises(self, names: Collection[str]) -> bool:
        """Tell whether tensors of such names are of this family, whether weight norm is folded or not."""
        return not self.absent(names)

    def absent(self, names: Collection[str]) -> tuple[str, ...]:
        """List what is needed and has none of the names."""
        return tuple(layer for layer, pattern in self.needed.items() if not any(pattern.match(name) for name in names))
