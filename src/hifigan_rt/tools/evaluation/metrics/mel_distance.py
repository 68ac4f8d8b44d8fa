"""Log-mel L1: the distance that HiFi-GAN was trained on."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

import numpy as np

from hifigan_rt.audio.signal_metrics import mel_l1
from hifigan_rt.config import MelConfig
from hifigan_rt.errors import AudioTooShort
from hifigan_rt.mel.analysis import compute_mel
from hifigan_rt.tools.evaluation.metrics.results import MetricResult, undefined
from hifigan_rt.tools.evaluation.metrics.signals import Signal, SignalPair


def measure(pair: SignalPair, keys: Collection[str]) -> dict[str, MetricResult]:
    """`mel_l1` and `mel_l1_full`; natural logarithm and no normalisation whatever the model's own mel has."""
    if pair.mel is None:
        return undefined(keys, "the model's mel settings are not known")
    if pair.mel.sample_rate != pair.sample_rate:
        return undefined(keys, f"the signals have {pair.sample_rate} Hz and the model {pair.mel.sample_rate} Hz")
    plain = replace(pair.mel, log="ln", mean=None, scale=None)
    settings = {"mel_l1": plain, "mel_l1_full": replace(plain, fmax=None)}
    results = {}
    for key in keys:
        try:
            mels = [_mel(signal, settings[key]) for signal in pair.both]
        except AudioTooShort as error:
            return undefined(keys, str(error))
        results[key] = MetricResult(mel_l1(*mels))
    return results


def _mel(signal: Signal, settings: MelConfig) -> np.ndarray:
    return signal.analysed(settings, lambda: compute_mel(signal.samples, settings))
