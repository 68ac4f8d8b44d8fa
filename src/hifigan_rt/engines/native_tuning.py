"""The way through the caches that the native engine takes: by HIFIGAN_RT_TUNING, else by a short calibration.

Which of the core's tunings is fastest differs from machine to machine, and the maker does not tell: a way that gained
8 to 28 % on one server made another three times slower (native/NOTES.md). None changes a bit of the result.
"""

from __future__ import annotations

import os
import statistics
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import hifigan_rt._native as _native
from hifigan_rt.errors import EngineUnavailable, SlowEngineWarning, did_you_mean
from hifigan_rt.system.callers import warn_caller

TUNING_VARIABLE = "HIFIGAN_RT_TUNING"

CALIBRATION_SECONDS = 0.07
"""Length of a calibration, a round or two aside: 0.1 seconds in all."""

LEAST_GAIN = 1.1
"""How many times as fast as the default a tuning must be, by least and by median time; less is noise."""

_NOT_CALIBRATED = frozenset({"generic", "amx-software"})
_lock = threading.Lock()
_measured: dict[str, TuningChoice] = {}


def _renew_lock() -> None:
    """Make a lock for a child process, where the thread that may hold the parent's is not."""
    global _lock
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_lock)


@dataclass(frozen=True)
class TuningChoice:
    """A tuning and why it was taken."""

    name: str
    reason: str
    seconds: Mapping[str, float] = field(default_factory=dict)
    """Least processor time of one layer by tuning, as far as it was measured."""
    direct_seconds: float | None = None
    """The same by direct convolution, which does four times the products."""

    @property
    def slow(self) -> bool:
        """Whether no tuning computes the layer faster than direct convolution does."""
        return self.direct_seconds is not None and min(self.seconds.values()) >= self.direct_seconds


def choose_tuning(isa: str, lender: _native.LoadedGenerator | None = None) -> TuningChoice:
    """The tuning for an instruction set: measured once per process, when it is asked for first.

    Args:
        isa: one of `_native.supported_isas()`, or `native.SOFTWARE_TILES`.
        lender: whose packed weights a measurement may read, in place of 39 MB of its own.

    Raises:
        EngineUnavailable: HIFIGAN_RT_TUNING names no tuning.

    Warns:
        SlowEngineWarning: once, if no tuning is faster than direct convolution.
    """
    names: list[str] = _native.tunings()
    named = os.environ.get(TUNING_VARIABLE)
    if named:
        if named not in names:
            raise EngineUnavailable(
                f"{TUNING_VARIABLE}={named!r} is not a tuning: unset it or choose {', '.join(names)}"
                f"{did_you_mean(named, names)}"
            )
        return TuningChoice(named, f"named by {TUNING_VARIABLE}")
    if isa in _NOT_CALIBRATED:
        return TuningChoice(names[0], "the default; this instruction set is not calibrated")
    with _lock:
        if isa not in _measured:
            _measured[isa] = decide(names, _native.measure_tunings(isa, CALIBRATION_SECONDS, lender))
            if _measured[isa].slow:
                warn_caller(slow_text(isa, _measured[isa]), SlowEngineWarning)
        return _measured[isa]


def decide(names: Sequence[str], rounds: Sequence[Sequence[float]]) -> TuningChoice:
    """The tuning that a calibration speaks for.

    Args:
        names: of the tunings, the default first.
        rounds: seconds by tuning, with direct convolution last, in each round.
    """
    *columns, direct = zip(*rounds, strict=True)
    least = {name: min(column) for name, column in zip(names, columns, strict=True)}
    median = {name: statistics.median(column) for name, column in zip(names, columns, strict=True)}
    default, best = names[0], min(least, key=lambda name: least[name])
    # A neighbour at work disturbs single rounds: then the two do not agree, and the default stays.
    clear = all(seconds[default] >= LEAST_GAIN * seconds[best] for seconds in (least, median))
    if best == default or not clear:
        return TuningChoice(default, "the default; none is clearly faster here", least, min(direct))
    return TuningChoice(best, f"{least[default] / least[best]:.2f} times as fast as the default", least, min(direct))


def slow_text(isa: str, choice: TuningChoice) -> str:
    """What is said of a machine on which the engine's transforms gain nothing."""
    best = min(choice.seconds.values())
    return (
        f"the native engine is slow on this machine ({isa}): a layer took {1e3 * best:.1f} ms by its transforms and "
        f"{1e3 * (choice.direct_seconds or 0):.1f} ms by direct convolution, which does four times the work; compare "
        "engines with 'hifigan bench --model MODEL --engines all', and please report the processor"
    )
