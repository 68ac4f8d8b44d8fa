"""Integrated loudness of one channel after ITU-R BS.1770-4."""

from __future__ import annotations

import functools
import math
from collections.abc import Collection

import numpy as np

from hifigan_rt.tools.evaluation.metrics.results import GENERATED, MetricResult, undefined
from hifigan_rt.tools.evaluation.metrics.signals import Signal, SignalPair

BLOCK_SECONDS = 0.4
STEP_SECONDS = 0.1
ABSOLUTE_GATE_LUFS = -70.0
RELATIVE_GATE_LU = -10.0


def measure(pair: SignalPair, keys: Collection[str]) -> dict[str, MetricResult]:
    """`loudness_lufs` of the generated signal and `loudness_difference`, generated minus reference."""
    if pair.seconds < BLOCK_SECONDS:
        return undefined(keys, f"the clip is shorter than {BLOCK_SECONDS:g} s")
    generated = _loudness(pair.generated)
    reference = math.nan if pair.reference is None else _loudness(pair.reference)
    role = "the reference" if pair.reference is not None and math.isnan(reference) else GENERATED
    values = {"loudness_lufs": generated, "loudness_difference": generated - reference}
    return {key: _result(values[key], role) for key in keys}


def integrated_loudness_lufs(samples: np.ndarray, sample_rate: int) -> float:
    """Integrated loudness of float64 `[N]` in LUFS; NaN if no block of 400 ms passes the absolute gate."""
    import scipy.signal

    weighted = scipy.signal.sosfilt(k_weighting(sample_rate), samples)
    block, step = round(BLOCK_SECONDS * sample_rate), round(STEP_SECONDS * sample_rate)
    running = np.cumsum(np.concatenate([[0.0], weighted**2]))
    power = (running[block:] - running[:-block])[::step] / block if len(samples) >= block else np.empty(0)
    power = power[power > _power(ABSOLUTE_GATE_LUFS)]
    if len(power) == 0:
        return math.nan
    power = power[power > _power(_lufs(float(power.mean())) + RELATIVE_GATE_LU)]
    return _lufs(float(power.mean()))


@functools.lru_cache(maxsize=8)
def k_weighting(sample_rate: int) -> np.ndarray:
    """The K filter as two second-order sections `[2, 6]`: a shelf for the head, then a high-pass.

    The standard tabulates 48 kHz only; these are the analogue prototypes behind that table (B. De Man: Evaluation of
    implementations of the EBU R128 loudness measurement, 2018), transformed to any sample rate.
    """
    tangent = math.tan(math.pi * 1681.9744509555319 / sample_rate)
    quality, gain = 0.7071752369554193, 10 ** (3.99984385397 / 20)
    shelf_gain = gain**0.4996667741545416
    scale = 1 + tangent / quality + tangent**2
    poles = [1.0, 2 * (tangent**2 - 1) / scale, (1 - tangent / quality + tangent**2) / scale]
    shelf = [
        (gain + shelf_gain * tangent / quality + tangent**2) / scale,
        2 * (tangent**2 - gain) / scale,
        (gain - shelf_gain * tangent / quality + tangent**2) / scale,
    ]
    tangent, quality = math.tan(math.pi * 38.13547087613982 / sample_rate), 0.5003270373253953
    scale = 1 + tangent / quality + tangent**2
    high_pass = [1.0, -2.0, 1.0, 1.0, 2 * (tangent**2 - 1) / scale, (1 - tangent / quality + tangent**2) / scale]
    return np.array([[*shelf, *poles], high_pass])


def _loudness(signal: Signal) -> float:
    return signal.analysed("loudness", lambda: integrated_loudness_lufs(signal.samples, signal.sample_rate))


def _result(value: float, role: str) -> MetricResult:
    return MetricResult(value, f"{role} is below {ABSOLUTE_GATE_LUFS:g} LUFS throughout" if math.isnan(value) else "")


def _lufs(power: float) -> float:
    return -0.691 + 10 * math.log10(power)


def _power(lufs: float) -> float:
    return float(10 ** ((lufs + 0.691) / 10))
