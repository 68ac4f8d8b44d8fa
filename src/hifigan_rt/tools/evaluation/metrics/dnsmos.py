"""DNSMOS P.835 and P.808: predicted mean opinion scores without a reference.

Reddy, Gopal, Cutler: DNSMOS P.835 (2022) and DNSMOS (2021). Only the model files of the package speechmos are used: its
code needs librosa, which it does not declare. What it does around the models is done here the same way: windows of
9.01 s every second, the clip repeated until one fits, and the published polynomials on top.
"""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hifigan_rt.config import MelConfig
from hifigan_rt.errors import MetricUnavailable
from hifigan_rt.mel.analysis import hann_window, mel_filterbank
from hifigan_rt.tools.evaluation.metrics.results import MetricResult, undefined
from hifigan_rt.tools.evaluation.metrics.signals import SignalPair

if TYPE_CHECKING:
    import onnxruntime

SAMPLE_RATE = 16000
WINDOW_SECONDS = 9.01
WINDOW = int(WINDOW_SECONDS * SAMPLE_RATE)
MINIMUM_SECONDS = 1.0
"""A clip is repeated up to nine times and more; below this, the score is of the repetition rather than of the clip."""

_P835_MODEL = "sig_bak_ovr.onnx"
_P808_MODEL = "model_v8.onnx"

# Highest power first: the mapping of raw outputs to ratings (microsoft/DNS-Challenge, DNSMOS/dnsmos_local.py).
_POLYNOMIALS = {
    "dnsmos_sig": (-0.08397278, 1.22083953, 0.0052439),
    "dnsmos_bak": (-0.13166888, 1.60915514, -0.39604546),
    "dnsmos_ovrl": (-0.06766283, 1.11546468, 0.04602535),
}

# n_fft is odd in the original (frame size + 1), and its mel is of power, not of magnitude.
_MEL = MelConfig(SAMPLE_RATE, 321, 321, 160, 120)


def measure(pair: SignalPair, keys: Collection[str]) -> dict[str, MetricResult]:
    """`dnsmos_sig`, `dnsmos_bak`, `dnsmos_ovrl` (one model) and `dnsmos_p808` (another) of the generated signal."""
    if pair.seconds < MINIMUM_SECONDS:
        return undefined(keys, f"the clip is shorter than {MINIMUM_SECONDS:g} s")
    if pair.silence is not None:
        return undefined(keys, pair.silence)
    # Overshoot is clipped, as it would be in the 16-bit file that the models were trained on.
    windows = _windows(np.clip(pair.generated.at(SAMPLE_RATE), -1, 1))
    values: dict[str, float] = {}
    if any(key in _POLYNOMIALS for key in keys):
        raw = np.array([_run(_P835_MODEL, window) for window in windows], np.float64)
        for column, (key, coefficients) in enumerate(_POLYNOMIALS.items()):
            values[key] = float(np.mean(np.polyval(coefficients, raw[:, column])))
    if "dnsmos_p808" in keys:
        values["dnsmos_p808"] = float(np.mean([_run(_P808_MODEL, p808_mel(window[:-160]))[0] for window in windows]))
    return {key: MetricResult(values[key]) for key in keys}


def p808_mel(samples: np.ndarray) -> np.ndarray:
    """The input of the P.808 model: mel power in dB below its maximum, scaled to about [-1, 1].

    As librosa computes it: transforms of 321 samples every 160, centred, zeros beyond the ends, at most 80 dB range.

    Args:
        samples: float `[N]` at 16 kHz.

    Returns:
        float32 `[1 + N // 160, 120]`.
    """
    hann = hann_window(_MEL.n_fft, _MEL.win_length)
    padded = np.pad(samples.astype(np.float64), _MEL.n_fft // 2)
    frames = np.lib.stride_tricks.sliding_window_view(padded, _MEL.n_fft)[:: _MEL.hop_length]
    spectrum = np.fft.rfft(frames * hann, axis=1)
    power = (spectrum.real**2 + spectrum.imag**2) @ mel_filterbank(_MEL).T.astype(np.float64)
    decibels = 10 * np.log10(np.maximum(power, 1e-10))
    decibels -= decibels.max()
    return np.asarray((np.maximum(decibels, -80.0) + 40) / 40, np.float32)


def _windows(samples: np.ndarray) -> list[np.ndarray]:
    """Stretches of 9.01 s, one starting every second; a shorter clip is doubled until it is long enough."""
    while len(samples) < WINDOW:
        samples = np.concatenate([samples, samples])
    count = int(len(samples) // SAMPLE_RATE - WINDOW_SECONDS) + 1
    # In floats as the original, whose windows 7 to 23 end a sample early by rounding, and are passed over.
    ends = [(start, int((start + WINDOW_SECONDS) * SAMPLE_RATE)) for start in range(count)]
    windows = [samples[start * SAMPLE_RATE : end] for start, end in ends]
    return [window.astype(np.float32) for window in windows if len(window) == WINDOW]


def _run(model: str, features: np.ndarray) -> np.ndarray:
    output: np.ndarray = _session(model).run(None, {"input_1": features[None]})[0][0]
    return output


@functools.cache
def _session(model: str) -> onnxruntime.InferenceSession:
    import onnxruntime

    # The specification of a top-level package is found without importing it.
    specification = importlib.util.find_spec("speechmos")
    folders = (specification.submodule_search_locations or []) if specification else []
    path = next((path for folder in folders if (path := Path(folder, "dnsmos_models", model)).is_file()), None)
    if path is None:
        raise MetricUnavailable(f"the package speechmos has no dnsmos_models/{model}: pip install speechmos==0.0.1.1")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1  # evaluation runs clips side by side
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
