"""Peak and clipping of the generated signal."""

from __future__ import annotations

import math
from collections.abc import Collection

import numpy as np

from hifigan_rt.tools.evaluation.metrics.results import MetricResult
from hifigan_rt.tools.evaluation.metrics.signals import SignalPair

FULL_SCALE = 32767 / 32768
"""The largest positive 16-bit sample; whatever is louder was clipped on its way to a file, or will be."""


def measure(pair: SignalPair, keys: Collection[str]) -> dict[str, MetricResult]:
    """`peak` in dB of full scale and `clipped_samples`."""
    magnitude = np.abs(pair.generated.samples)
    results = {}
    if "peak" in keys:
        silence = pair.silence
        peak = math.nan if silence is not None else 20 * math.log10(float(magnitude.max()))
        results["peak"] = MetricResult(peak, silence or "")
    if "clipped_samples" in keys:
        results["clipped_samples"] = MetricResult(float(np.count_nonzero(magnitude >= FULL_SCALE)))
    return results


def overshoot(samples: np.ndarray) -> tuple[str, ...]:
    """What is to be told of samples beyond full scale, float `[N]`; nothing if there are none."""
    magnitude = np.abs(samples)
    count = int(np.count_nonzero(magnitude > 1))
    if count == 0:
        return ()
    return (
        f"{count} sample{'s' if count > 1 else ''} beyond full scale, up to {float(magnitude.max()):.2f}: measured so, "
        "clipped in the sound of the report",
    )
