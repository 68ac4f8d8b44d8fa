"""What a benchmark found, as plain records that go to JSON and back; every table and picture is made from these."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from hifigan_rt.errors import DatasetError
from hifigan_rt.files import atomic_writer

FORMAT = 1

SIMULATED = "simulated on CPU; not Ascend performance"
"""Stands wherever a figure of the simulator is printed or saved."""


@dataclass(frozen=True)
class Ratio:
    """Time of a candidate over the time of the baseline, taken in the same rounds; below 1 is faster."""

    median: float
    low: float
    """Lower end of the 95 % bootstrap interval."""
    high: float
    rounds: int
    resolved: bool


@dataclass(frozen=True)
class Latency:
    """Of one call on a whole batch, in ms."""

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
    failed: str | None = None
    """Why there are no figures, the way out included; None if there are."""
    runtime: str = ""
    """For example "openvino 2026.4.1"."""
    device: str = ""
    precision: str = ""
    """As executed, read back from the runtime."""
    executed_threads: int | None = None
    simulated: bool = False
    source: str = "measured"
    """"measured" here, or "ais_bench": read from a summary of another machine."""
    load_seconds: float | None = None
    first_seconds: float | None = None
    """The first inference, compilation included."""
    peak_memory_mib: float | None = None
    snr_db: float | None = None
    """Against the float64 reference; None if it was not computed."""
    seconds: tuple[float, ...] = ()
    """Of every measured call, warm-up excluded, in the order of the rounds."""
    latency_summary: Latency | None = None
    """For figures whose single calls are not known, as in a summary of ais_bench; None where `seconds` is there."""
    ratio: Ratio | None = None
    """To the baseline of the case; None for a failed candidate and for foreign figures."""

    @property
    def latency(self) -> Latency | None:
        """From the single calls where they are known."""
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

    fps: float
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
    """Of the whole batch."""
    macs: int | None
    """Of the whole batch, counted as direct convolution."""
    baseline: str
    others: tuple[float | None, ...] = ()
    """Share of the processors that others used, per round; None where the system does not tell."""
    measurements: tuple[Measurement, ...] = ()

    def figures(self, measurement: Measurement) -> Figures | None:
        """Derive the table's figures from the mean latency; None if there is none."""
        latency = measurement.latency
        if latency is None:
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
    """From an evaluation report, for the column of that name; None leaves the SNR there."""
    cases: tuple[Case, ...] = ()
    notes: tuple[str, ...] = field(default=())

    @property
    def simulated(self) -> bool:
        """Whether any figure comes from the Ascend simulator."""
        return any(entry.simulated for case in self.cases for entry in case.measurements)


def median_others(case: Case) -> float | None:
    """Share of the processors that others used in the median round; None where unknown."""
    known = [share for share in case.others if share is not None]
    return statistics.median(known) if known else None


def write_json(result: BenchmarkResult, path: Path) -> None:
    """Write a result; a figure that is not finite stands as null.

    Raises:
        OutputError: the file could not be written.
    """
    with atomic_writer(path) as file:
        file.write(json.dumps(_finite({"format": FORMAT} | asdict(result)), indent=1, allow_nan=False).encode() + b"\n")


def read_json(path: Path) -> BenchmarkResult:
    """Read what `write_json` wrote.

    Raises:
        DatasetError: the file is not there, or is something else.
    """
    try:
        content = json.loads(path.read_bytes())
        if content.pop("format") != FORMAT:
            raise ValueError("another format")
        cases = tuple(_case(entry) for entry in content.pop("cases"))
        ceilings = tuple(Ceiling(**entry) for entry in content.pop("ceilings"))
        notes = tuple(content.pop("notes"))
        return BenchmarkResult(**content, cases=cases, ceilings=ceilings, notes=notes)
    except OSError as error:
        raise DatasetError(f"benchmark result {str(path)!r} cannot be read: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DatasetError(
            f"{str(path)!r} is no result of 'hifigan bench' in format {FORMAT}: give the JSON that -o wrote"
        ) from error


def _case(content: dict[str, Any]) -> Case:
    measurements = tuple(_measurement(entry) for entry in content.pop("measurements"))
    others = tuple(content.pop("others"))
    return Case(**content, others=others, measurements=measurements)


def _measurement(content: dict[str, Any]) -> Measurement:
    ratio, latency = content.pop("ratio"), content.pop("latency_summary")
    seconds: Sequence[float] = content.pop("seconds")
    return Measurement(
        **content,
        seconds=tuple(seconds),
        ratio=None if ratio is None else Ratio(**ratio),
        latency_summary=None if latency is None else Latency(**latency),
    )


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if np.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _finite(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(entry) for entry in value]
    return value
