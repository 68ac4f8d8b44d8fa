"""STOI and ESTOI, by pystoi."""

from __future__ import annotations

import math
import threading
import warnings
from collections.abc import Collection

import numpy as np

from hifigan_rt.tools.evaluation.metrics.results import MetricResult, undefined
from hifigan_rt.tools.evaluation.metrics.signals import SignalPair

MINIMUM_SECONDS = (30 * 128 + 256) / 10000
"""30 frames of 256 samples every 128 at 10 kHz: the stretch that the measure correlates."""

_TOO_FEW_FRAMES = 1e-5
"""What pystoi returns, with a warning, if fewer frames remain after it has left out silence."""

_NUMPY_RANDOM = threading.Lock()


def measure(pair: SignalPair, keys: Collection[str]) -> dict[str, MetricResult]:
    """`stoi` and `estoi`."""
    reference, generated = pair.samples
    if not reference.any():
        return undefined(keys, "the reference is digital silence")
    if pair.seconds <= MINIMUM_SECONDS:
        return undefined(keys, f"the clip is shorter than {MINIMUM_SECONDS:.2f} s")
    results = {}
    for key in keys:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            value = _measured(reference, generated, pair.sample_rate, extended=key == "estoi")
        if value == _TOO_FEW_FRAMES:
            results[key] = MetricResult(math.nan, f"less than {MINIMUM_SECONDS:.2f} s of the reference is not silent")
        else:
            results[key] = MetricResult(value)
    return results


def _measured(reference: np.ndarray, generated: np.ndarray, sample_rate: int, *, extended: bool) -> float:
    """STOI or ESTOI, the same whenever it is asked for.

    ESTOI adds noise to spectra, from NumPy's global generator: where one signal is silent it is all that there is.
    """
    import pystoi

    with _NUMPY_RANDOM:
        state = np.random.get_state()
        np.random.seed(0)
        try:
            return float(pystoi.stoi(reference, generated, sample_rate, extended=extended))
        finally:
            np.random.set_state(state)
