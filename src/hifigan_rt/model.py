"""Finds what a user names as a model: a known name, a checkpoint, a folder or an ONNX file, with its config."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from hifigan_rt.config import MelConfig
from hifigan_rt.graph import Generator


@dataclass(frozen=True)
class Model:
    """A model ready for an engine: weights bound to a graph, or a foreign ONNX file.

    Exactly one of `generator` and `onnx_path` is set.
    """

    name: str
    """As the user named it, for texts."""
    path: Path
    """The file that was read."""
    generator: Generator | None
    onnx_path: Path | None
    mel: MelConfig | None
    """None if neither a config nor the file's metadata tells."""
    notes: tuple[str, ...] = ()
    """What was assumed or corrected on the way, one sentence each, for the user to see."""
