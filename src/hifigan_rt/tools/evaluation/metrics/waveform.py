"""SNR and SI-SDR: how far two waveforms are from each other, phase and all. For comparing engines, not vocoders."""

from __future__ import annotations

import math
from collections.abc import Collection

import numpy as np

from hifigan_rt.audio.signal_metrics import snr_db
from hifigan_rt.tools.evaluation.metrics.results import IDENTICAL, RESCALED, MetricResult, undefined
from hifigan_rt.tools.evaluation.metrics.signals import SignalPair


def measure(pair: SignalPair, keys: Collection[str]) -> dict[str, MetricResult]:
    """`snr` and `si_sdr`, in dB; infinity with a reason for signals that are equal, or are so to the measure."""
    reference, generated = pair.samples
    if not np.any(reference):
        return undefined(keys, "the reference is digital silence")
    functions = {"snr": snr_db, "si_sdr": si_sdr_db}
    equal = IDENTICAL if np.array_equal(reference, generated) else RESCALED
    results = {}
    for key in keys:
        value = functions[key](reference, generated)
        results[key] = MetricResult(value, equal if value == math.inf else "")
    return results


def si_sdr_db(reference: np.ndarray, generated: np.ndarray) -> float:
    """Scale-invariant signal-to-distortion ratio in dB of two float64 `[N]` (Le Roux et al. 2019).

    The means are taken off first, as the paper assumes. Equal signals give infinity, a silent one minus infinity; a
    merely scaled copy is limited by rounding to about 300 dB, or infinite too (by a power of two).
    """
    centred = reference - reference.mean()
    estimate = generated - generated.mean()
    if np.array_equal(centred, estimate):
        return math.inf
    power = float(np.sum(centred**2))
    if power == 0:
        return -math.inf
    target = float(np.sum(estimate * centred)) / power * centred
    target_power = float(np.sum(target**2))
    rest_power = float(np.sum((estimate - target) ** 2))
    if target_power == 0:
        return -math.inf
    return math.inf if rest_power == 0 else 10 * math.log10(target_power / rest_power)
