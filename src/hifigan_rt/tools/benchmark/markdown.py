"""A benchmark's result as Markdown: the original guide's table, and all else beneath it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from hifigan_rt.tools.benchmark.compare import ResultComparison, compare
from hifigan_rt.tools.benchmark.device_peak import NOT_BELIEVABLE, Achieved, achieved
from hifigan_rt.tools.benchmark.guide_figures import published_rows
from hifigan_rt.tools.benchmark.results import (
    BenchmarkResult,
    Case,
    Ceiling,
    Figures,
    Latency,
    Measurement,
    median_others,
    share_of_ceiling,
)
from hifigan_rt.tools.benchmark.table_text import label, milliseconds, number, share, threads_text
from hifigan_rt.tools.tables import UNKNOWN, counted
from hifigan_rt.tools.tables import markdown as table

_DEFINITIONS = (
    "fps: clips of mel_len frames per second, 1000 * batch / mean ms, as ais_bench defines throughput; x real time: "
    "audio seconds per second, RTF its inverse; frames/s: mel frames; SNR: against the float64 reference; load: "
    "without importing; first: the first inference, compilation included.",
    "GFLOPS eff.: two operations per multiply-add of direct convolution, whatever the engine really does; share: "
    "multiply-adds that it really does in float32 per second of processor time, over the ceiling. The ratio is the "
    'median of time / the baseline\'s time in the same rounds with its 95 % interval; "not resolved": wider than 5 % '
    "to either side, under six rounds, or others used more than a quarter of the processors.",
)


_PUBLISHED = (
    "Its table stands beside commands for generator_v1; a later edition has commands for generator_v2 and figures 4 to "
    "10 % lower. They are V2's: compare them with a benchmark of V2, and with none of V1."
)


def to_markdown(result: BenchmarkResult, earlier: BenchmarkResult | None = None) -> str:
    """Write a result as Markdown.

    Args:
        result: what was measured.
        earlier: another result to compare with, candidate by candidate.

    Returns:
        The text, which ends with a line break.
    """
    parts = [
        f"# Benchmark of {result.model}",
        *([f"**The figures marked so are {result.caveat}.**"] if result.caveat else []),
        f"{result.date}. Weights: {result.weights}. Mels: {result.data_set}.\n\n    {result.command}",
        *(f"**{line}**" for line in _unbelievable(result)),
        _guide_table(result),
        *(_case(case, result.ceilings) for case in result.cases),
        *_peaks(result),
        *_published(result),
        *([] if earlier is None else [_comparison(compare(earlier, result), earlier)]),
        "## Machine\n\n" + _machine(result.machine),
        *([_ceilings(result.ceilings)] if result.ceilings else []),
        *(["## Notes\n\n" + "\n".join(f"- {note}" for note in result.notes)] if result.notes else []),
        "## What the columns mean\n\n" + "\n\n".join(_DEFINITIONS),
    ]
    return "\n\n".join(parts) + "\n"


def _measured(case: Case) -> Iterator[tuple[Measurement, Figures, Latency]]:
    """The measurements with figures, the fastest first."""
    known = []
    for entry in case.measurements:
        figures, latency = case.figures(entry), entry.latency
        if figures is not None and latency is not None:
            known.append((entry, figures, latency))
    yield from sorted(known, key=lambda row: row[2].mean)


def _guide_table(result: BenchmarkResult) -> str:
    """The guide's columns; a column for the candidate only where there is more than one."""
    rows = []
    for case in result.cases:
        for entry, figures, _ in _measured(case):
            own_threads = None not in (case.threads, entry.executed_threads) and entry.source == "measured"
            name = f"{label(entry)}, {threads_text(case.threads)}" if own_threads else label(entry)
            data_set = result.data_set if entry.source == "measured" else UNKNOWN
            rows.append(
                [_device(entry), name, str(case.batch), str(case.mel_len), data_set, _accuracy(result, entry),
                 number(figures.clips_per_second, 2)]
            )  # fmt: skip
    header = ["device", "candidate", "batch size", "mel_len", "data set", "accuracy", "fps"]
    if len({row[1] for row in rows}) == 1 and not result.caveat:
        header, rows = header[:1] + header[2:], [row[:1] + row[2:] for row in rows]
    return table(header, rows) if rows else "No candidate gave figures."


def _accuracy(result: BenchmarkResult, entry: Measurement) -> str:
    accuracy = result.accuracy_of(entry)
    if accuracy is not None or entry.snr_db is None:
        return accuracy or UNKNOWN
    return f"SNR {number(entry.snr_db, 1)} dB"


def _device(entry: Measurement) -> str:
    return entry.device or entry.engine


def _case(case: Case, ceilings: Iterable[Ceiling]) -> str:
    title = f"## Batch {case.batch}, mel_len {case.mel_len}, {threads_text(case.shown_threads)}"
    others = median_others(case)
    disturbance = "" if others is None else f" Others used {others:.0%} of the processors in the median round."
    facts = f"{case.audio_seconds:.2f} s of audio per call.{disturbance}"
    rows = [_row(case, *measured, ceilings) for measured in _measured(case)]
    header = [
        "candidate", "engine", "executed", "threads", "mean ms", "median ms", "p90 ms", "p99 ms", "min ms",
        "x real time", "RTF", "frames/s", "GFLOPS eff.", "share", "load s", "first s", "peak MiB", "SNR dB",
        f"time / {case.baseline}",
    ]  # fmt: skip
    failures = [
        f"- {label(entry)} failed: {' '.join(entry.failed.split())}"
        for entry in case.measurements
        if entry.failed is not None
    ]
    return "\n\n".join(
        [title, facts, *([table(header, rows)] if rows else []), *(["\n".join(failures)] * bool(failures))]
    )


def _row(case: Case, entry: Measurement, figures: Figures, latency: Latency, ceilings: Iterable[Ceiling]) -> list[str]:
    precision = entry.precision or UNKNOWN
    if entry.precision and entry.requested_precision not in ("", entry.precision):
        precision += f" ({entry.requested_precision} asked)"
    threads = entry.executed_threads
    return [
        label(entry),
        entry.runtime or entry.engine,
        precision,
        UNKNOWN if threads is None else str(threads),
        *map(milliseconds, (latency.mean, latency.median, latency.p90, latency.p99, latency.min)),
        number(figures.x_real_time, 2 if figures.x_real_time < 100 else 0),
        number(figures.rtf, 4),
        number(figures.mel_frames_per_second, 0),
        number(figures.effective_gflops, 0 if (figures.effective_gflops or 0) >= 10 else 2),
        share(share_of_ceiling(entry, ceilings)),
        number(entry.load_seconds, 2),
        number(entry.first_seconds, 2),
        number(entry.peak_memory_mib, 0),
        number(entry.snr_db, 1),
        "1" if entry.candidate == case.baseline else str(entry.ratio or UNKNOWN),
    ]


def _of_devices(result: BenchmarkResult) -> Iterator[tuple[Case, Measurement, Figures, Achieved]]:
    """The measurements whose operations per second compare with a device's peak."""
    for case in result.cases:
        for entry, figures, _ in _measured(case):
            reached = achieved(case, entry)
            if reached is not None:
                yield case, entry, figures, reached


def _peaks(result: BenchmarkResult) -> list[str]:
    rows = [
        [label(entry), _device(entry), str(case.batch), str(case.mel_len), number(figures.clips_per_second, 2),
         number(reached.tflops, 1), number(reached.peak_tflops, 0), share(reached.share),
         f"**{reached.verdict}**" if reached.verdict == NOT_BELIEVABLE else reached.verdict]
        for case, entry, figures, reached in _of_devices(result)
    ]  # fmt: skip
    header = ["candidate", "device", "batch size", "mel_len", "fps", "TFLOPS", "peak of one chip", "of peak", "verdict"]
    return ["## Against the device's peak\n\n" + table(header, rows)] if rows else []


def _published(result: BenchmarkResult) -> list[str]:
    rows = [
        [row.network, str(row.batch), str(row.mel_len), number(row.clips_per_second, 2), number(row.reached.tflops, 1),
         share(row.reached.share), row.reached.verdict]
        for row in published_rows(result)
    ]  # fmt: skip
    header = ["if of", "batch size", "mel_len", "fps", "TFLOPS", "of peak", "verdict"]
    title = "## What the guide publishes for one Ascend 310P3"
    return [f"{title}\n\n{_PUBLISHED}", table(header, rows)] if rows else []


def _unbelievable(result: BenchmarkResult) -> Iterator[str]:
    for case, entry, _, reached in _of_devices(result):
        if reached.verdict == NOT_BELIEVABLE:
            yield (
                f"{label(entry)}, batch {case.batch}, mel_len {case.mel_len}: {reached.tflops:.1f} TFLOPS are "
                f"{share(reached.share)} of one chip's peak, {NOT_BELIEVABLE}."
            )


def _comparison(comparison: ResultComparison, earlier: BenchmarkResult) -> str:
    rows = [
        [label(change.later), str(change.batch), str(change.mel_len),
         UNKNOWN if change.threads is None else str(change.threads), number(change.mean_ratio, 2),
         str(change.ratio or UNKNOWN), number(change.earlier.snr_db, 1),
         number(change.later.snr_db, 1)]
        for change in comparison.changes
    ]  # fmt: skip
    header = [
        "candidate",
        "batch size",
        "mel_len",
        "threads",
        "mean now / then",
        "median now / then",
        "SNR then dB",
        "SNR now dB",
    ]
    lines = [
        f"## Against the result of {earlier.date}",
        "Below 1 is faster now. The two were not interleaved: an interval covers the spread within each run, not what "
        "the machine did between them; candidates that did not change tell how much that was.",
        *(f"**Warning: {warning}.**" for warning in comparison.warnings),
        table(header, rows) if rows else "No candidate is in both results.",
        *([f"Only then: {', '.join(comparison.only_earlier)}."] if comparison.only_earlier else []),
        *([f"Only now: {', '.join(comparison.only_later)}."] if comparison.only_later else []),
    ]
    return "\n\n".join(lines)


def _machine(machine: Mapping[str, Any]) -> str:
    return "\n".join(f"- {key.replace('_', ' ')}: {text}" for key, value in machine.items() if (text := _value(value)))


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {entry}" for key, entry in value.items())
    if isinstance(value, (list, tuple)):
        return " ".join(map(str, value))
    return "" if value is None else str(value)


def _ceilings(ceilings: Iterable[Ceiling]) -> str:
    rows = [
        [ceiling.name, ceiling.method, counted(ceiling.threads, "thread"), number(ceiling.median, 1),
         number(ceiling.best, 1), ceiling.unit]
        for ceiling in ceilings
    ]  # fmt: skip
    return "## Ceilings measured beside it\n\n" + table(["ceiling", "method", "with", "median", "best", "unit"], rows)
