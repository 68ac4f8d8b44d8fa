"""What is done with each clip of a run, in three stages."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from hifigan_rt.engines.base import EngineInfo

R = TypeVar("R")
C = TypeVar("C")


@dataclass(frozen=True)
class ClipFacts:
    """What is known about a finished clip; the fields are those of `ClipRecord`."""

    input_samples: int | None = None
    frames: int | None = None
    output_samples: int | None = None
    samples_dropped: int | None = None
    clipped_samples: int | None = None
    audio_seconds: float | None = None
    mel_l1: float | None = None
    inexact_tail_frames: int | None = None
    notes: tuple[str, ...] = ()
    conversions: tuple[str, ...] = ()
    compute_seconds: float = 0.0
    """Time that the engine took while the clip was written, of long ones."""


class Work(ABC, Generic[R, C]):
    """What a run does with each clip, in three stages that run in three threads."""

    engine: EngineInfo | None = None
    """What runs the model; None where there is none."""
    timed = True
    """Whether `compute` does what takes long, so that its time tells something."""
    stopped = threading.Event()
    """Set when the run ends early; what takes long looks at it."""

    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """Everything that changes a result, JSON-able: a clip is done again when it changes."""

    @abstractmethod
    def read(self, source: Path) -> R:
        """Read and prepare one input."""

    @abstractmethod
    def compute(self, data: R) -> C:
        """The engine's part."""

    @abstractmethod
    def write(self, data: C, output: Path) -> ClipFacts:
        """Encode and write one output, whole or not at all."""
