"""PESQ-WB, if the user has installed the package `pesq`: its licence bars it from our extras."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from hifigan_rt.tools.evaluation.metrics.results import GENERATED, MetricResult, undefined
from hifigan_rt.tools.evaluation.metrics.signals import SignalPair

SAMPLE_RATE = 16000

MAXIMUM_SECONDS = 30.0
"""The longest signal that ITU-T P.862.3 means it for. Its code has room for 50 utterances, parted by 0.2 s or more, and
writes beyond it: speech of one or two minutes ends the process, or is scored by what lay there."""


def measure(pair: SignalPair, keys: Collection[str]) -> dict[str, MetricResult]:
    """`pesq_wb`."""
    import pesq

    reference, generated = (signal.at(SAMPLE_RATE).astype(np.float32) for signal in pair.both)
    for role, samples in (("the reference", reference), (GENERATED, generated)):
        if not samples.any():
            return undefined(keys, f"{role} is digital silence")
    if pair.seconds > MAXIMUM_SECONDS:
        return undefined(keys, f"the clip is longer than {MAXIMUM_SECONDS:g} s, the most that PESQ is meant for")
    try:
        value = pesq.pesq(SAMPLE_RATE, reference, generated, "wb")
    except pesq.PesqError as error:
        return undefined(keys, f"PESQ refuses the clip: {_text(error)}")
    return dict.fromkeys(keys, MetricResult(float(value)))


def _text(error: Exception) -> str:
    """The message; the C library's are bytes."""
    message = error.args[0] if error.args else type(error).__name__
    return message.decode(errors="replace") if isinstance(message, bytes) else str(message)
