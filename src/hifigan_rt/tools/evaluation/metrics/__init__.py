"""Objective metrics of generated speech, each one row of `METRICS`; a family is one module and shares its work."""

from __future__ import annotations

import importlib
import math
from collections.abc import Iterable

from hifigan_rt.config import MelConfig
from hifigan_rt.tools.evaluation.metrics.registry import (
    METRICS,
    Direction,
    MetricEntry,
    check_metrics,
    leading,
    why_unavailable,
)
from hifigan_rt.tools.evaluation.metrics.results import IDENTICAL, MetricResult, Scores
from hifigan_rt.tools.evaluation.metrics.signals import Signal, SignalPair

__all__ = [
    "IDENTICAL",
    "METRICS",
    "Direction",
    "MetricEntry",
    "MetricResult",
    "Scores",
    "Signal",
    "available_metrics",
    "check_metrics",
    "compute",
    "leading",
    "why_unavailable",
]


def available_metrics(with_reference: bool = True) -> tuple[str, ...]:
    """Keys of the metrics whose packages are here, without those that need a reference if there is none."""
    return tuple(
        key
        for key, entry in METRICS.items()
        if why_unavailable(key) is None and (with_reference or not entry.needs_reference)
    )


def compute(keys: Iterable[str], reference: Signal | None, generated: Signal, mel: MelConfig | None = None) -> Scores:
    """Compute metrics of one clip; signals of different lengths are cropped to the shorter, never shifted in time.

    What is analysed stays with the signals, so that a reference is analysed once for all systems that it is compared
    with.

    Args:
        keys: of `METRICS`.
        reference: float `[N]`, nominally in [-1, 1], or None, which leaves metrics that need it without a value.
        generated: float `[N]`, nominally in [-1, 1], at the same sample rate.
        mel: the model's settings; None leaves the mel distances without a value.

    Returns:
        One result per key, in the order of `keys`, NaN with a reason where a metric is not defined for the clip; and
        notes on what was cropped.

    Raises:
        AudioError: a signal is empty, not mono, not float, or holds NaN or infinity; or the sample rates differ, or are
            below 4,000 Hz.
        EvaluationError, MetricUnavailable: see `check_metrics`.
    """
    keys = tuple(keys)
    check_metrics(keys)
    pair = SignalPair(reference, generated, mel)
    families: dict[str, list[str]] = {}
    results: dict[str, MetricResult] = {}
    for key in keys:
        if METRICS[key].needs_reference and pair.reference is None:
            results[key] = MetricResult(math.nan, "there is no reference")
        else:
            families.setdefault(METRICS[key].family, []).append(key)
    for family, members in families.items():
        module = importlib.import_module(f"hifigan_rt.tools.evaluation.metrics.{family}")
        results |= module.measure(pair, members)
    return Scores({key: results[key] for key in keys}, pair.notes)
