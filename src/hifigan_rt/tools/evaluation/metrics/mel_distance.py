"""Log-mel L1: the distance that HiFi-GAN was trained on."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from hifigan_rt.audio.signal_metrics import mel_l1
from hifigan_rt.errors import AudioTooShort
from hifigan_rt.mel.analysis import compute_mel
from hifigan_rt.tools.evaluation.metrics.clips import Clips
from hifigan_rt.tools.evaluation.metrics.results import MetricResult, undefined


def measure(clips: Clips, keys: Collection[str]) -> dict[str, MetricResult]:
    """`mel_l1` and `mel_l1_full`; natural logarithm and no normalisation whatever the model's own mel has."""
    if clips.mel is None:
        return undefined(keys, "the model's mel settings are not known")
    if clips.mel.sample_rate != clips.sample_rate:
        return undefined(keys, f"the signals have {clips.sample_rate} Hz and the model {clips.mel.sample_rate} Hz")
    plain = replace(clips.mel, log="ln", mean=None, scale=None)
    settings = {"mel_l1": plain, "mel_l1_full": replace(plain, fmax=None)}
    results = {}
    for key in keys:
        reference, generated = clips.pair
        try:
            mels = compute_mel(reference, settings[key]), compute_mel(generated, settings[key])
        except AudioTooShort as error:
            return undefined(keys, str(error))
        results[key] = MetricResult(mel_l1(*mels))
    return results
