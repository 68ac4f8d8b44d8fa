"""What an evaluation found, as plain records that go to JSON and back; report, tables and listening tests read these.

Paths of audio are relative to the folder of the record, with `/`: the folder can be moved, and names nobody's machine.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from hifigan_rt.config import MelConfig
from hifigan_rt.errors import DatasetError
from hifigan_rt.tools import records
from hifigan_rt.tools.evaluation.metrics.results import MetricResult
from hifigan_rt.tools.evaluation.statistics import Interval, Summary

FORMAT = 2

JSON_NAME = "report.json"


@dataclass(frozen=True)
class Metric:
    """One column, as it was defined when the figures were made."""

    key: str
    title: str
    unit: str
    """Empty for plain numbers."""
    direction: Literal["higher", "lower", "neither"]
    """Which way is better."""
    definition: str
    source: str
    identity: float | None
    """The value of a signal against itself; None if it depends on the signal."""
    needs_reference: bool


@dataclass(frozen=True)
class System:
    """What was evaluated: a model on an engine, or a folder of audio that something else made."""

    name: str
    """Unique; the first system of a result is the one that the others are compared with."""
    kind: Literal["model", "folder"]
    model: str = ""
    """Model as it was named, of a path only the last part; name of a folder of audio."""
    model_sha256: str = ""
    engine: str = ""
    runtime: str = ""
    """Engine with its version, for example "openvino 2026.4.1"."""
    device: str = ""
    precision: str = ""
    """Precision as executed."""
    settings: Mapping[str, str] = field(default_factory=dict)
    """The engine's own, as given."""
    mels: str = ""
    """The folder of predicted mels; empty where the mels are those of the recordings."""
    caveat: str = ""
    """What the device says against its figures; mostly empty."""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Clip:
    """One clip of the data set."""

    name: str
    """Unique: its place in the data set, with `/`, without suffix."""
    reference: str | None = None
    """Path of the recording as it was measured: mono, WAV; None if there is none or it could not be read."""
    seconds: float | None = None
    problem: str | None = None
    """Why the recording cannot be used."""
    notes: tuple[str, ...] = ()
    """What is odd about the recording or was changed: silence, clipped samples, an offset, another rate."""


@dataclass(frozen=True)
class ClipScores:
    """One system on one clip."""

    system: str
    clip: str
    audio: str | None = None
    """Path of the generated audio: mono, WAV, at the result's sample rate; None if there is none."""
    seconds: float | None = None
    failed: str | None = None
    """Why there are no scores."""
    scores: Mapping[str, MetricResult] = field(default_factory=dict)
    """Scores by metric; all metrics of the result unless it failed."""
    notes: tuple[str, ...] = ()
    """What was changed or is odd: cropped to one length, clipped, resampled."""


@dataclass(frozen=True)
class WorstClip:
    clip: str
    value: float


@dataclass(frozen=True)
class MetricSummary:
    """One metric of one system over all clips."""

    system: str
    metric: str
    summary: Summary
    worst: tuple[WorstClip, ...] = ()
    """The worst first; none where a metric has no worse side or all clips are equal."""
    silent: int = 0
    """Clips without a value because the generated audio, and not the recording, is silent."""


@dataclass(frozen=True)
class Difference:
    """One metric of a system minus that of the baseline, over the clips that both have."""

    metric: str
    interval: Interval
    moved: bool
    """Whether the 95 % interval excludes 0 and the mean is not 0 in the decimals that the metric is shown with."""
    verdict: Literal["better", "worse", "changed", "same", "unknown"]
    """changed: moved, in a metric that has no better side. unknown: fewer than two clips tell, or all tell the same."""


@dataclass(frozen=True)
class Comparison:
    """A system beside the baseline, the first system."""

    baseline: str
    system: str
    clips: int
    """That both have."""
    identical: int
    """Clips whose audio is the same sample by sample."""
    snr_db: float
    """SNR of the system's audio against the baseline's, median over the clips that differ; NaN if not known."""
    si_sdr_db: float
    """The same whatever the level."""
    differences: tuple[Difference, ...]
    sentence: str
    """All of it in plain words."""
    snr_clips: int = 0
    """Clips that the two medians are of."""


@dataclass(frozen=True)
class LimitCheck:
    """A limit that the user set for the mean of a metric."""

    system: str
    metric: str
    kind: Literal["min", "max"]
    limit: float
    value: float
    """The mean; NaN if there is none, which fails."""
    passed: bool
    clips: int = 0
    """Clips that the mean is of."""
    of_clips: int = 0
    """All clips."""
    silent: int = 0
    """Clips as in `MetricSummary`; any fails."""


@dataclass(frozen=True)
class EvaluationResult:
    """A whole run of `hifigan eval`."""

    date: str
    command: str
    data_set: str
    """Which clips, in words: name, split, how many of how many, seed."""
    sample_rate: int
    """Sample rate of all audio, in Hz."""
    mel: MelConfig | None
    """The settings behind the mel distances; None if nothing tells them."""
    metrics: tuple[Metric, ...]
    """The columns, in the order of tables."""
    left_out: Mapping[str, str]
    """Metrics that were asked for and are not there, with the reason."""
    systems: tuple[System, ...]
    clips: tuple[Clip, ...]
    scores: tuple[ClipScores, ...]
    """One per system and clip, in the order of the systems, then of the clips."""
    summaries: tuple[MetricSummary, ...]
    """One per system and metric, in that order."""
    comparisons: tuple[Comparison, ...] = ()
    limits: tuple[LimitCheck, ...] = ()
    accuracy: str = ""
    """One line for the table of a benchmark."""
    packages: Mapping[str, str] = field(default_factory=dict)
    """Versions of what computed the metrics."""
    notes: tuple[str, ...] = ()
    listening: Mapping[str, Any] | None = None
    """What `hifigan listen score` added."""

    def scores_of(self, system: str) -> tuple[ClipScores, ...]:
        """The rows of one system, in the order of the clips."""
        return tuple(row for row in self.scores if row.system == system)

    def summary_of(self, system: str, metric: str) -> MetricSummary | None:
        """None for a metric that was not computed."""
        found = (entry for entry in self.summaries if (entry.system, entry.metric) == (system, metric))
        return next(found, None)

    @property
    def passed(self) -> bool:
        """Whether every limit was kept; true without any."""
        return all(check.passed for check in self.limits)

    @property
    def complete(self) -> bool:
        """Whether every clip could be used, of every system."""
        return all(clip.problem is None for clip in self.clips) and all(row.failed is None for row in self.scores)


_FILE = records.RecordFile(EvaluationResult, FORMAT, "evaluation report", "hifigan eval", keep_infinite=True)
to_json, write_json = _FILE.to_json, _FILE.write_json


def read_json(path: Path) -> EvaluationResult:
    """Read what `write_json` wrote.

    Raises:
        DatasetError: the file is not there, or is something else.
    """
    result = _FILE.read_json(path)
    rows = [(system.name, clip.name) for system in result.systems for clip in result.clips]
    if [(row.system, row.clip) for row in result.scores] != rows:
        raise DatasetError(f"{str(path)!r} has other scores than its own systems and clips: it was changed by hand")
    return result
