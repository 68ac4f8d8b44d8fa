"""What a metric returns."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

IDENTICAL = "identical"
RESCALED = "identical but for level and offset"

GENERATED = "the generated signal"
"""How a reason begins for which the generated signal is the cause, and not the recording."""


@dataclass(frozen=True)
class MetricResult:
    """The value of one metric for one clip."""

    value: float
    """NaN where the metric is not defined for the clip; infinity for SNR and SI-SDR of identical signals,
    minus infinity for SI-SDR if nothing of the reference is left."""
    reason: str = ""
    """Why there is no value, or what it stands for ("identical"); empty for plain values."""

    @property
    def defined(self) -> bool:
        return not math.isnan(self.value)


@dataclass(frozen=True)
class Scores:
    """Every metric asked for, of one clip."""

    results: dict[str, MetricResult]
    notes: tuple[str, ...] = ()
    """What was changed before measuring: the crop to one length."""


def undefined(keys: Iterable[str], reason: str) -> dict[str, MetricResult]:
    """All of `keys` without a value, for one reason."""
    return {key: MetricResult(math.nan, reason) for key in keys}
