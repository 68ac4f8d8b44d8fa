"""Figures that ais_bench took on a real Ascend machine, brought into our tables.

Read are the `*_summary.json` that `--output` leaves (`sumary.json` of the tool of 2022) and the captured text output.
Of the tool of 2022 the JSON lacks the single times; with several threads they are intervals that overlap.
"""

from __future__ import annotations

import itertools
import json
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import isfinite, nan
from pathlib import Path
from typing import Any

import numpy as np

from hifigan_rt.errors import DatasetError
from hifigan_rt.tools.benchmark.results import BenchmarkResult, Case, Latency, Measurement

_TIMES = re.compile(r"NPU_compute_time \(ms\): *(.*)")
_PAIR = re.compile(r"(min|max|mean|median|percentile\(99%\)) = ([-+.\deE]+|nan|inf)")
_GRID_RULE = re.compile(r"[|\u2502\u2551]")
"""What stands between the cells of the table that the tool of 2026 prints."""
_THROUGHPUT = re.compile(
    r"[Tt]hroughput \(?1000\*batchsize(?:\.mean)?(?:\(([\d.]+)\))?/NPU_compute_time.*?: *([-+.\deE]+)"
)
_COMMAND = re.compile(r"^.*\b(?:ais_bench|ais_infer|(?:msit|ait) benchmark)\b.* -(?:-?m|om|-om).*$", re.MULTILINE)
_SHORT = {"-dd": "dymdims", "-ds": "dymshape", "-db": "dymbatch"}
"""Options of `msit benchmark`, which runs ais_bench; its long ones have hyphens, as in --dym-dims."""
_P99 = {"P99": "percentile(99%)"}
"""The newest tool's name of it."""
_CAVEAT = re.compile(r"\bcaveat: (.+)")
"""What a stand-in for the vendor's tool prints below its figures, and has in its JSON."""
_DISAGREES_ABOVE = 0.01
"""Relative; the text of the throughput is that of the mean, so only another batch size explains more."""


@dataclass(frozen=True)
class ForeignFigures:
    """One run of ais_bench."""

    batch: int
    mel_len: int
    measurement: Measurement
    notes: tuple[str, ...] = ()
    """What a reader of the figures must know."""


@dataclass(frozen=True)
class _Summary:
    """What both forms tell."""

    times: Mapping[str, float]
    """Times in ms, by ais_bench's names."""
    singles: tuple[float, ...]
    """Times of the single calls in seconds."""
    calls: int
    overlapping: bool
    throughput: float | None
    arguments: Sequence[str]
    caveat: str
    counted_batch: int | None = None
    """Clips per call that the text's throughput was computed with; None if it does not tell, or no whole number."""


def read_summary(
    path: Path, *, mel_len: int | None = None, batch: int | None = None, device: str = "Ascend"
) -> ForeignFigures:
    """Read one run of ais_bench.

    Args:
        path: its summary as JSON, or its text output.
        mel_len: frames, where the arguments recorded in the file do not tell.
        batch: clips per call, likewise.
        device: the chip, for example "Ascend 310P3"; ais_bench does not record it.

    Returns:
        The figures, with every single time where the file has them.

    Raises:
        DatasetError: the file is not there, is damaged or something else, does not tell a length and none was given, or
            contradicts what was given.
    """
    try:
        text = path.read_bytes().decode(errors="replace")
    except OSError as error:
        raise DatasetError(f"ais_bench summary {str(path)!r} cannot be read: {error.strerror}") from error
    summary = _of_json(text, path) if text.lstrip().startswith("{") else _of_text(text, path)
    _check(summary, path)
    told_batch, told_mel_len = _shape(summary.arguments)
    if batch is None and told_batch is None:
        # What the tool counted with; --batchsize may have been forgotten, so a batch that is given stands above it.
        told_batch = summary.counted_batch
    batch = _agreed("batch", batch, told_batch, path)
    mel_len = _agreed("mel_len", mel_len, told_mel_len, path)
    measurement = Measurement(
        candidate="ais_bench" if device == "Ascend" else f"ais_bench {device}",
        engine="ascend",
        requested_precision="",
        runtime="ais_bench",
        device=device,
        caveat=summary.caveat,
        source="ais_bench",
        seconds=() if summary.overlapping else summary.singles,
        latency_summary=None if summary.singles and not summary.overlapping else _latency(summary),
    )
    return ForeignFigures(batch, mel_len, measurement, tuple(_notes(summary, batch, measurement, path)))


def merge(result: BenchmarkResult, figures: ForeignFigures) -> BenchmarkResult:
    """Place figures into the case of their batch and mel_len, or into a new one.

    A case of its own, without threads, is made where there is none of that size or there are several, with different
    threads. The multiply-adds of a new case are taken from another case of the result: they grow with the frames.
    """
    matching = [
        index
        for index, case in enumerate(result.cases)
        if (case.batch, case.mel_len) == (figures.batch, figures.mel_len)
    ]
    matching = [index for index in matching if result.cases[index].threads is None] or matching
    cases = list(result.cases)
    if len(matching) != 1:
        matching = [len(cases)]
        cases.append(_new_case(result, figures))
    case = cases[matching[0]]
    entry = replace(figures.measurement, candidate=_free_name(figures.measurement.candidate, case))
    cases[matching[0]] = replace(case, measurements=(*case.measurements, entry))
    return replace(result, cases=tuple(cases), notes=(*result.notes, *figures.notes))


def _new_case(result: BenchmarkResult, figures: ForeignFigures) -> Case:
    frames = figures.batch * figures.mel_len
    known = next((case for case in result.cases if case.macs is not None), None)
    macs = None if known is None or known.macs is None else known.macs * frames // (known.batch * known.mel_len)
    audio_seconds = frames * result.hop_length / result.sample_rate
    return Case(figures.batch, figures.mel_len, None, audio_seconds, macs, figures.measurement.candidate)


def _free_name(name: str, case: Case) -> str:
    taken = {entry.candidate for entry in case.measurements}
    numbered = (f"{name}#{count}" for count in range(2, len(taken) + 3))
    return name if name not in taken else next(entry for entry in numbered if entry not in taken)


def _of_json(text: str, path: Path) -> _Summary:
    try:
        content = json.loads(text)
        compute: dict[str, Any] = content["NPU_compute_time"]
        listed = content.get("npu_compute_time_list", [])
        overlapping = any(isinstance(entry, list) for entry in listed)
        singles = tuple((entry[1] - entry[0] if isinstance(entry, list) else entry) / 1000 for entry in listed)
        arguments = content.get("args", [])
        return _Summary(
            {_P99.get(key, key): float(value) for key, value in compute.items() if key != "count"},
            singles,
            int(compute.get("count", len(singles))),
            overlapping,
            float(content["throughput"]) if "throughput" in content else None,
            # The tool of 2024 records sys.argv; its tests put a mapping there.
            [str(entry) for pair in arguments.items() for entry in pair]
            if isinstance(arguments, dict)
            else [str(entry) for entry in arguments],
            str(content.get("caveat", "")),
        )
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, ArithmeticError, RecursionError) as error:
        raise DatasetError(
            f"{str(path)!r} is no summary of ais_bench, or a damaged one: it needs NPU_compute_time with a mean; give "
            "the *_summary.json that its --output left, or its captured text output"
        ) from error


def _of_text(text: str, path: Path) -> _Summary:
    blocks = [dict(_PAIR.findall(block)) for block in _TIMES.findall(text)] + _grid_rows(text)
    if len(blocks) != 1:
        raise DatasetError(
            f"{str(path)!r} holds {len(blocks)} lines 'NPU_compute_time (ms)' where ais_bench prints one per run "
            "and device: give the output of one run on one device"
        )
    throughput = _THROUGHPUT.search(text)
    arguments: list[str] = []
    for line in _COMMAND.findall(text):
        arguments += _split(line)
    return _Summary(
        times={key: _float(value) for key, value in blocks[0].items()},
        singles=(),
        calls=0,
        overlapping=False,
        throughput=None if throughput is None else _float(throughput[2]),
        arguments=arguments,
        caveat="" if (caveat := _CAVEAT.search(text)) is None else caveat[1].strip(),
        counted_batch=None if throughput is None else _whole(throughput[1]),
    )


def _grid_rows(text: str) -> list[dict[str, str]]:
    """The rows of NPU_compute_time in tables, by heading."""
    rows, headings = [], list[str]()
    for line in text.splitlines():
        cells = [cell.strip() for cell in _GRID_RULE.split(line)[1:-1]]
        if cells[:1] == ["Metric"]:
            headings = [_P99.get(heading, heading) for heading in cells]
        elif cells[:1] == ["NPU_compute_time (ms)"] and len(cells) == len(headings):
            rows.append(dict(zip(headings[1:], cells[1:], strict=True)))
    return rows


def _whole(text: str | None) -> int | None:
    value = _float(text or "")
    return int(value) if value >= 1 and value.is_integer() else None


def _float(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return nan


def _split(line: str) -> list[str]:
    try:
        return shlex.split(line)
    except ValueError:
        return line.split()


def _check(summary: _Summary, path: Path) -> None:
    mean = summary.times.get("mean", nan)
    if not (isfinite(mean) and mean > 0) or not all(isfinite(time) and time > 0 for time in summary.singles):
        raise DatasetError(
            f"{str(path)!r} has a time that is not above zero (NPU_compute_time.mean is {mean} ms): the run failed, or "
            "the file is cut off; run ais_bench again"
        )


def _shape(arguments: Sequence[str]) -> tuple[int | None, int | None]:
    """Batch and mel_len as told by --dymDims or --dymShape ("mel_spec:1,80,250", 4-D too), else the batch alone."""
    words = [word for argument in arguments for word in argument.split("=", 1)]
    told = {_SHORT.get(name, name.replace("-", "").lower()): value for name, value in itertools.pairwise(words)}
    for name in ("dymdims", "dymshape"):
        found = re.fullmatch(r"[^:;]+:(\d{1,9}),\d+,(?:1,)?(\d{1,9})", told.get(name, ""))
        if found:
            return int(found[1]), int(found[2])
    sizes = [told[name] for name in ("batchsize", "dymbatch") if re.fullmatch(r"\d{1,9}", told.get(name, ""))]
    return (int(sizes[0]) or None if sizes else None), None


def _agreed(name: str, given: int | None, told: int | None, path: Path) -> int:
    if given is None and told is None:
        raise DatasetError(
            f"{str(path)!r} does not tell {name}: give it with --ais-bench FILE:mel_len=T:batch=B, for example "
            f"{path.name}:{name}={1 if name == 'batch' else 250}"
        )
    if given is not None and told is not None and given != told:
        raise DatasetError(f"{name}={given} was given, but {str(path)!r} was taken with {told}: leave it out")
    value = given if told is None else told
    if value is None or value < 1:
        raise DatasetError(f"{name}={value} in {str(path)!r}: it is one at least")
    return value


def _latency(summary: _Summary) -> Latency:
    singles = 1000 * np.asarray(summary.singles)
    p90 = float(np.percentile(singles, 90)) if len(singles) else nan
    low, high, median, p99 = (summary.times.get(key, nan) for key in ("min", "max", "median", "percentile(99%)"))
    return Latency(summary.times["mean"], median, p90, p99, low, high, summary.calls)


def _notes(summary: _Summary, batch: int, measurement: Measurement, path: Path) -> list[str]:
    latency = measurement.latency
    notes = [f"{path.name}: read from ais_bench, taken elsewhere and not in rotation with the other candidates."]
    if summary.overlapping or set(summary.times) == {"mean"}:
        notes.append(
            f"{path.name}: several threads of ais_bench overlapped; its mean is the time they filled together over the "
            "number of calls, and compares with no single-threaded figure."
        )
    if latency is not None and summary.throughput is not None:
        expected = 1000 * batch / latency.mean
        if not abs(summary.throughput - expected) <= _DISAGREES_ABOVE * expected:
            notes.append(
                f"{path.name}: ais_bench says throughput {summary.throughput:.2f}, but {batch} / {latency.mean:.4g} ms "
                f"is {expected:.2f} clips per second, which the table shows; was --batchsize forgotten?"
            )
    return notes
