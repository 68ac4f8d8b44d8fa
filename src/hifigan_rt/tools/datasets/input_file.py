"""One file of those that a user named."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class InputFile:
    """One file to work on."""

    path: Path
    """Absolute, with links left as they are: two links to one recording are two inputs."""
    relative: Path
    """Where its result goes below the output folder; still with the input's own suffix."""
    folder: Path | None = None
    """The folder that the user named and it was found in; None for a file that was named itself."""
    problem: str | None = None
    """Why it cannot be read, if that is known already."""
    beside: Path | None = None
    """The input whose name differs in its suffix alone, and which the plain name is left to."""


def real_place(path: Path) -> Path:
    """One spelling for each place; a link is a place of its own, whatever it leads to."""
    return Path(os.path.realpath(path.parent), path.name)
