"""What a run over many clips has come to."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hifigan_rt.tools.bulk.manifest import ClipRecord
from hifigan_rt.tools.datasets import LeftOut

_NUMBER = re.compile(r"[-+]?\d[\d.]*(?:e[-+]?\d+)?")


@dataclass
class RunSummary:
    """Counts, sums and everything that a user must be told, without one entry per finished clip."""

    clips: int
    """All that were asked for."""
    skipped: int = 0
    """Finished by an earlier run."""
    done: int = 0
    failed: list[tuple[str, str]] = field(default_factory=list)
    """Input and reason of each."""
    audio_seconds: float = 0.0
    compute_seconds: float = 0.0
    """Time spent in the engine; 0 where there is none, as for mels of recordings."""
    wall_seconds: float = 0.0
    """Time from the first read to the last write; loading the model is not in it."""
    clipped_samples: int = 0
    clipped_clips: int = 0
    samples_dropped: int = 0
    """Input samples after the last whole frame of each recording, all together."""
    warnings: dict[str, tuple[str, int]] = field(default_factory=dict)
    """The first text of each kind, and how many clips it came up for; texts of a kind differ only in numbers."""
    conversions: dict[str, int] = field(default_factory=dict)
    """What recordings went through before their mel, and how many did."""
    stopped: str | None = None
    """Why the run ended before its last clip, if it did."""
    interrupted: bool = False
    """Whether that was a signal, such as Ctrl-C."""
    manifest: Path | str | None = None
    """Its file, or its URL."""
    left_out: LeftOut = field(default_factory=LeftOut)
    """Count of what the named folders hold beside the clips."""
    notes: tuple[str, ...] = ()
    """What the run did otherwise than one might expect, one sentence each."""
    caveat: str = ""
    """What the device says against its times; mostly empty."""

    def add(self, record: ClipRecord) -> None:
        """Count one clip."""
        for text in (*record.warnings, *record.notes):
            kind = _NUMBER.sub("#", text)
            first, count = self.warnings.get(kind, (text, 0))
            self.warnings[kind] = first, count + 1
        if record.status == "failed":
            self.failed.append((record.input, record.error or "unknown"))
            return
        self.done += 1
        for text in record.conversions:
            self.conversions[text] = self.conversions.get(text, 0) + 1
        self.audio_seconds += record.audio_seconds or 0.0
        self.compute_seconds += record.compute_seconds or 0.0
        self.clipped_samples += record.clipped_samples or 0
        self.clipped_clips += bool(record.clipped_samples)
        self.samples_dropped += record.samples_dropped or 0

    @property
    def complete(self) -> bool:
        """Whether everything that was asked for is there."""
        return self.done + self.skipped == self.clips and self.stopped is None and not self.interrupted

    @property
    def x_real_time(self) -> float | None:
        """Audio seconds per second in the engine; None if nothing was computed."""
        return self.audio_seconds / self.compute_seconds if self.compute_seconds else None

    @property
    def engine_busy_share(self) -> float | None:
        """Share of the wall time in which the engine ran; None if nothing was computed."""
        return self.compute_seconds / self.wall_seconds if self.compute_seconds and self.wall_seconds else None

    def to_json(self) -> dict[str, Any]:
        """Give the summary to machines."""
        return {
            "clips": self.clips,
            "done": self.done,
            "skipped": self.skipped,
            "failed": [{"input": name, "error": error} for name, error in self.failed],
            "complete": self.complete,
            "left_out": self.left_out.counts,
            "notes": list(self.notes),
            "stopped": self.stopped,
            "interrupted": self.interrupted,
            "audio_seconds": round(self.audio_seconds, 6),
            "compute_seconds": round(self.compute_seconds, 6) if self.compute_seconds or not self.done else None,
            "wall_seconds": round(self.wall_seconds, 6),
            "x_real_time": None if self.x_real_time is None else round(self.x_real_time, 3),
            "caveat": self.caveat,
            "engine_busy_share": None if self.engine_busy_share is None else round(self.engine_busy_share, 4),
            "clipped_samples": self.clipped_samples,
            "clipped_clips": self.clipped_clips,
            "samples_dropped": self.samples_dropped,
            "conversions": [{"text": text, "clips": count} for text, count in self.conversions.items()],
            "warnings": [{"text": text, "clips": count} for text, count in self.warnings.values()],
            "manifest": None if self.manifest is None else str(self.manifest),
        }
