"""A result against an earlier one, candidate by candidate."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from hifigan_rt.tools.benchmark.intervals import unpaired_ratio
from hifigan_rt.tools.benchmark.results import BenchmarkResult, Measurement, Ratio

_MACHINE = (
    "cpu", "cpu_family", "cpu_model", "cpus", "usable_cores", "instructions", "system", "isas", "forced_isa", "python",
)  # fmt: skip
"""Fields of a machine's record. Processors of several generations have one name in virtual machines, as "AMD EPYC"."""

_RUN = ("model", "weights", "data_set")

Key = tuple[int, int, int | None, str]


@dataclass(frozen=True)
class Change:
    """One candidate in one case of both results."""

    batch: int
    mel_len: int
    threads: int | None
    candidate: str
    earlier: Measurement
    later: Measurement
    mean_ratio: float
    """Mean time of the later over that of the earlier result; below 1 is faster now."""
    ratio: Ratio | None
    """The same of the medians, with its interval; None where the single calls are not known."""


@dataclass(frozen=True)
class ResultComparison:
    """What two results have in common."""

    changes: tuple[Change, ...]
    warnings: tuple[str, ...]
    """Why the ratios may say something about more than the candidates."""
    only_earlier: tuple[str, ...]
    only_later: tuple[str, ...]


def compare(earlier: BenchmarkResult, later: BenchmarkResult) -> ResultComparison:
    """Pair the candidates of two results by batch, mel_len, threads and name.

    The two were not measured in one run: an interval covers the spread within each, not what the machine did between.
    """
    before, after = dict(_measured(earlier)), dict(_measured(later))
    changes = tuple(_change(key, before[key], after[key]) for key in after if key in before)
    return ResultComparison(
        changes,
        tuple(dict.fromkeys([*_differences(earlier, later), *_other_devices(changes)])),
        tuple(_name(key) for key in before if key not in after),
        tuple(_name(key) for key in after if key not in before),
    )


def _measured(result: BenchmarkResult) -> Iterator[tuple[Key, tuple[float, Measurement]]]:
    for case in result.cases:
        for entry in case.measurements:
            figures = case.figures(entry)
            if figures is not None:
                yield (case.batch, case.mel_len, case.threads, entry.candidate), (figures.clips_per_second, entry)


def _name(key: Key) -> str:
    batch, mel_len, threads, candidate = key
    return f"{candidate} (batch {batch}, mel_len {mel_len}, threads {'–' if threads is None else threads})"


def _change(key: Key, earlier: tuple[float, Measurement], later: tuple[float, Measurement]) -> Change:
    ratio = None
    singles = later[1].seconds, earlier[1].seconds
    if all(times and min(times) > 0 for times in singles):
        ratio = unpaired_ratio(*singles)
    return Change(*key, earlier[1], later[1], earlier[0] / later[0], ratio)


def _differences(earlier: BenchmarkResult, later: BenchmarkResult) -> Iterator[str]:
    yield from _differing(earlier.machine, later.machine, _MACHINE)
    packages = [result.machine.get("packages") for result in (earlier, later)]
    before, after = (entry if isinstance(entry, Mapping) else {} for entry in packages)
    yield from _differing(before, after, sorted({*before, *after}))
    before, after = vars(earlier), vars(later)
    yield from _differing(before, after, _RUN)
    if earlier.caveat != later.caveat:
        yield f"one of the two holds figures marked {later.caveat or earlier.caveat!r}"


def _other_devices(changes: Iterable[Change]) -> Iterator[str]:
    for change in changes:
        then, now = change.earlier.device, change.later.device
        if then != now:
            yield f"device of {change.candidate} differs: {_shown(then or None)} then, {_shown(now or None)} now"


def _differing(before: Mapping[str, Any], after: Mapping[str, Any], keys: Iterable[str]) -> Iterator[str]:
    for key in keys:
        if before.get(key) != after.get(key):
            name = key.replace("_", " ")
            yield f"{name} differs: {_shown(before.get(key))} then, {_shown(after.get(key))} now"


def _shown(value: object) -> str:
    if isinstance(value, (list, tuple)):
        return " ".join(map(str, value))
    return "unknown" if value is None else str(value)
