"""STOI and ESTOI, by pystoi."""

from __future__ import annotations

import math
import warnings
from collections.abc import Collection

from hifigan_rt.tools.evaluation.metrics.results import MetricResult, undefined
from hifigan_rt.tools.evaluation.metrics.signals import SignalPair

MINIMUM_SECONDS = (30 * 128 + 256) / 10000
"""30 frames of 256 samples every 128 at 10 kHz: the stretch that the measure correlates."""

_TOO_FEW_FRAMES = 1e-5
"""What pystoi returns, with a warning, if fewer frames remain after it has left out silence."""


def measure(pair: SignalPair, keys: Collection[str]) -> dict[str, MetricResult]:
    """`stoi` and `estoi`."""
    import pystoi

    reference, generated = pair.samples
    if not reference.any():
        return undefined(keys, "the reference is digital silence")
    if pair.seconds <= MINIMUM_SECONDS:
        return undefined(keys, f"the clip is shorter than {MINIMUM_SECONDS:.2f} s")
    results = {}
    for key in keys:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            value = float(pystoi.stoi(reference, generated, pair.sample_rate, extended=key == "estoi"))
        if value == _TOO_FEW_FRAMES:
            results[key] = MetricResult(math.nan, f"less than {MINIMUM_SECONDS:.2f} s of the reference is not silent")
        else:
            results[key] = MetricResult(value)
    return results
