"""DistillMOS (Stahl, Gamper 2025): predicted naturalness, if the user has PyTorch and the package distillmos."""

from __future__ import annotations

import contextlib
import functools
import io
from collections.abc import Collection
from typing import Any

import numpy as np

from hifigan_rt.errors import MetricUnavailable
from hifigan_rt.tools.evaluation.metrics.results import MetricResult, undefined
from hifigan_rt.tools.evaluation.metrics.signals import SignalPair

SAMPLE_RATE = 16000
MINIMUM_SECONDS = 1.0


def measure(pair: SignalPair, keys: Collection[str]) -> dict[str, MetricResult]:
    """`distillmos` of the generated signal."""
    if pair.seconds < MINIMUM_SECONDS:
        return undefined(keys, f"the clip is shorter than {MINIMUM_SECONDS:g} s")
    if pair.silence is not None:
        return undefined(keys, pair.silence)
    import torch

    samples = torch.from_numpy(pair.generated.at(SAMPLE_RATE).astype(np.float32))[None]
    with torch.inference_mode():
        value = float(_model()(samples))
    return dict.fromkeys(keys, MetricResult(value))


@functools.cache
def _model() -> Any:
    try:
        import distillmos
    except ImportError as error:
        raise MetricUnavailable(f"metric 'distillmos': the package distillmos cannot be imported ({error})") from error
    # It prints where its weights are, and standard output is for results.
    with contextlib.redirect_stdout(io.StringIO()):
        return distillmos.ConvTransformerSQAModel().eval()
