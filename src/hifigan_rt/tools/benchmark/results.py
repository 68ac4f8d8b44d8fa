"""What a benchmark found, as plain records that go to JSON and back; every table and picture is made from these."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from hifigan_rt.tools import records

FORMAT = 2


@dataclass(frozen=True)
class Ratio:
    """Time of a candidate over the time of the baseline, taken in the same rounds; below 1 is faster."""

    median: float
    low: float
    """Lower end of the 95 % bootstrap interval."""
    high: float
    rounds: int
    resolved: bool

    def __str__(self) -> str:
        interval = f"[{self.low:.2f}, {self.high:.2f}]"
        return f"{self.median:.2f} {interval}" if self.resolved else f"not resolved {interval}"


@dataclass(frozen=True)
class Latency:
    """Times of one call on a whole batch, in ms; NaN where a foreign summary does not tell."""

    mean: float
    median: float
    p90: float
    p99: float
    min: float
    max: float
    calls: int


@dataclass(frozen=True)
class Measurement:
    """One candidate in one case."""

    candidate: str
    """Unique within a case: "openvino", "openvino bfloat16", "native#2", "torch:mode=compiled"."""
    engine: str
    requested_precision: str
    """Empty where nothing was asked for: it was settled when the file was converted, or is foreign."""
    failed: str | None = None
    """Why there are no figures, the way out included; None if there are."""
    runtime: str = ""
    """Name and version, for example "openvino 2026.4.1"."""
    device: str = ""
    precision: str = ""
    """The precision that is executed, read back from the runtime."""
    executed_threads: int | None = None
    caveat: str = ""
    """What the device says against its figures; mostly empty. Every table, picture and file shows it beside them."""
    source: str = "measured"
    """"measured" here, or "ais_bench": read from a summary of another machine."""
    load_seconds: float | None = None
    first_seconds: float | None = None
    """The first inference, compilation included."""
    peak_memory_mib: float | None = None
    snr_db: float | None = None
    """Against the float64 reference; None if it was not computed."""
    seconds: tuple[float, ...] = ()
    """Time of every measured call, warm-up excluded, in the order of the rounds."""
    processor_seconds: tuple[float, ...] = ()
    """What each of these calls took of the processors, all threads together."""
    products: float | None = None
    """Multiply-adds that a call really does; None where the runtime does not tell."""
    latency_summary: Latency | None = None
    """Figures whose single calls are not known, as in a summary of ais_bench; None where `seconds` is there."""
    ratio: Ratio | None = None
    """Ratio to the baseline of the case; None for a failed candidate and for foreign figures."""

    @property
    def latency(self) -> Latency | None:
        """Computed from the single calls where they are known."""
        if not self.seconds:
            return self.latency_summary
        ms = 1000 * np.asarray(self.seconds)
        return Latency(
            float(ms.mean()), float(np.median(ms)), float(np.percentile(ms, 90)), float(np.percentile(ms, 99)),
            float(ms.min()), float(ms.max()), len(ms),
        )  # fmt: skip


@dataclass(frozen=True)
class Figures:
    """What a row of the table shows beside the latency."""

    clips_per_second: float
    """Clips of mel_len frames per second, as ais_bench defines throughput: 1000 * batch / mean ms."""
    x_real_time: float
    """Audio seconds per second."""
    rtf: float
    """Seconds per audio second."""
    mel_frames_per_second: float
    effective_gflops: float | None
    """Two operations per multiply-add of direct convolution, whatever the engine really does; None if unknown."""


@dataclass(frozen=True)
class Case:
    """One cell: all candidates on the same mels, interleaved in one run."""

    batch: int
    mel_len: int
    threads: int | None
    audio_seconds: float
    """Length of the whole batch."""
    macs: int | None
    """Multiply-adds of the whole batch, counted as direct convolution."""
    baseline: str
    others: tuple[float | None, ...] = ()
    """Share of the processors that others used, per round; None where the system does not tell."""
    measurements: tuple[Measurement, ...] = ()

    def __post_init__(self) -> None:
        if min(self.batch, self.mel_len) < 1 or not self.audio_seconds > 0:
            raise ValueError(
                f"batch={self.batch}, mel_len={self.mel_len}, audio_seconds={self.audio_seconds}: "
                "a case has one clip, one frame and some audio at least"
            )

    @property
    def shown_threads(self) -> int | None:
        """Threads that were asked for; None where all that was measured ran on devices without such."""
        measured = [entry for entry in self.measurements if entry.latency is not None]
        return None if measured and all(entry.executed_threads is None for entry in measured) else self.threads

    def figures(self, measurement: Measurement) -> Figures | None:
        """Derive the table's figures from the mean latency; None if there is none."""
        latency = measurement.latency
        if latency is None or not latency.mean > 0:
            return None
        seconds = latency.mean / 1000
        return Figures(
            self.batch / seconds,
            self.audio_seconds / seconds,
            seconds / self.audio_seconds,
            self.batch * self.mel_len / seconds,
            None if self.macs is None else 2 * self.macs / seconds / 1e9,
        )


@dataclass(frozen=True)
class Ceiling:
    """A limit of the machine, measured in the same session."""

    name: str
    """"multiply-adds" or "memory"."""
    method: str
    threads: int
    median: float
    best: float
    unit: str
    """"GFLOPS" or "GB/s"."""


def share_of_ceiling(measurement: Measurement, ceilings: Iterable[Ceiling]) -> float | None:
    """Products done per second of processor time over those that the processor can do; None where one is unknown.

    A low share tells that the time goes elsewhere: to the caches, to transforms, to waiting. The ceiling is of float32:
    a tile unit does several times as many products in its own precisions.
    """
    if measurement.precision != "float32":
        return None
    speeds = [
        ceiling.best / 2 * 1e9 / ceiling.threads
        for ceiling in ceilings
        if ceiling.name == "multiply-adds" and ceiling.threads == measurement.executed_threads
    ]
    if measurement.products is None or not measurement.processor_seconds or not speeds:
        return None
    used = speeds[0] * statistics.median(measurement.processor_seconds)
    return measurement.products / used if used > 0 else None


@dataclass(frozen=True)
class BenchmarkResult:
    """A whole run of `hifigan bench`."""

    date: str
    command: str
    model: str
    weights: str
    """What they are, for example "ljspeech-v1 (real)"; random weights are labelled so."""
    data_set: str
    """Where the mels come from."""
    sample_rate: int
    hop_length: int
    machine: Mapping[str, Any]
    ceilings: tuple[Ceiling, ...] = ()
    accuracy: str | None = None
    """Text from an evaluation report for the column of that name; None leaves the SNR there."""
    cases: tuple[Case, ...] = ()
    notes: tuple[str, ...] = field(default=())
    accuracy_engine: str = ""
    accuracy_precision: str = ""
    """What was evaluated, and whose rows have that text; all of them where the report does not tell."""
    interrupted: bool = False
    """Whether cases or rounds that were asked for are missing."""

    def accuracy_of(self, entry: Measurement) -> str | None:
        """Give the text of an evaluation for a row, if the row is of what was evaluated."""
        same = entry.engine == self.accuracy_engine and entry.precision in ("", self.accuracy_precision)
        return self.accuracy if same or not self.accuracy_engine else None

    @property
    def caveat(self) -> str:
        """What the devices say against their figures; empty if none does."""
        return "; ".join(
            dict.fromkeys(entry.caveat for case in self.cases for entry in case.measurements if entry.caveat)
        )


def median_others(case: Case) -> float | None:
    """Share of the processors that others used in the median round; None where unknown."""
    known = [share for share in case.others if share is not None]
    return statistics.median(known) if known else None


_FILE = records.RecordFile(BenchmarkResult, FORMAT, "benchmark result", "hifigan bench")
to_json, write_json, read_json = _FILE.to_json, _FILE.write_json, _FILE.read_json
