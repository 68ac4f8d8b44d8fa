"""Metrics of plain arrays, as most tests of metrics want them."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from hifigan_rt.config import MelConfig
from hifigan_rt.tools.evaluation import metrics
from hifigan_rt.tools.evaluation.metrics import Scores, Signal


def compute(
    keys: Iterable[str],
    reference: np.ndarray | None,
    generated: np.ndarray,
    sample_rate: int,
    mel: MelConfig | None = None,
) -> Scores:
    """What `metrics.compute` says of float `[N]` at `sample_rate`."""
    signals = [None if samples is None else Signal(samples, sample_rate) for samples in (reference, generated)]
    return metrics.compute(keys, signals[0], signals[1], mel)
