"""What a family of checkpoints has to tell."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

from hifigan_rt.config import ModelConfig


@dataclass(frozen=True)
class Family:
    """How one project writes a generator, as functions that bring it to the original's form."""

    name: str
    """The project, for texts."""
    layers: str
    """Names of its layers, for texts."""
    places: str
    """Where a file holds its weights, for texts."""
    find_state: Callable[[dict[object, object]], dict[object, object] | None]
    """Finds the state dict in what a file holds; None if it is not where this family has it.

    It may leave tensors of other parts out: what it does not give is never loaded.

    Raises CheckpointError for files of the family that hold no generator.
    """
    recognises: Callable[[Collection[str]], bool]
    """Tells whether tensors of such names are of this family, whether weight norm is folded or not."""
    rename: Callable[[str], str]
    """Gives the original's name of a parameter."""
    parse_config: Callable[[object], ModelConfig]
    """Reads the family's decoded config: the architecture, and the mel convention where it tells.

    Raises ConfigError for a field that is missing, mistyped, out of range or contradicts another.
    """
