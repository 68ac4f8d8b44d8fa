"""Compares an exported file, run as a user would run it, with the float64 reference."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hifigan_rt.engines import create_engine
from hifigan_rt.engines.base import EngineOptions
from hifigan_rt.engines.reference import generate
from hifigan_rt.errors import ExportError
from hifigan_rt.graph import Generator
from hifigan_rt.model import Model
from hifigan_rt.signal_metrics import snr_db

VERIFICATION_FRAMES = 32
"""More than the reach of V1, 13 frames to each side, so that there is an interior beside the two ends."""

LOWEST_SNR_DB = 90.0
"""float32 gives 100 dB and more on real weights; a wrong slope, a shifted tap or float16 stay far below 90."""

_QUIETEST, _LOUDEST = -11.5, 1.0
"""Range of the original's log-mels: ln(1e-5) to a loud voice."""


@dataclass(frozen=True)
class ExportReport:
    """What was written."""

    path: Path
    snr_db: float | None
    """Against the float64 reference on a random mel; None if it was not verified."""
    size_bytes: int
    seconds: float
    """For everything, verification included."""


def verify_export(
    engine_name: str, subject: Model, generator: Generator, options: EngineOptions | None = None
) -> float:
    """Run a converted file in an engine, and compare it with the reference on a random mel of 32 frames.

    Returns:
        The signal-to-noise ratio in dB.

    Raises:
        ExportError: it is below 90 dB, or the lengths differ.
        EngineError: the engine cannot run the file.
    """
    rng = np.random.default_rng(0)
    shape = (1, generator.graph.num_mels, VERIFICATION_FRAMES)
    mel = rng.uniform(_QUIETEST, _LOUDEST, shape).astype(np.float32)
    engine = create_engine(engine_name, subject, options or EngineOptions())
    try:
        audio = engine.run(mel)[0]
    finally:
        engine.close()
    del engine  # frees what it holds before the reference widens the weights to float64
    truth = generate(generator, mel[0])
    if audio.shape != truth.shape:
        raise ExportError(
            f"the exported model gives {audio.size} samples for {VERIFICATION_FRAMES} frames, the reference "
            f"{truth.size}: nothing was written"
        )
    snr = snr_db(truth, audio)
    if not snr >= LOWEST_SNR_DB:
        raise ExportError(
            f"the exported model is {snr:.1f} dB from the reference, at least {LOWEST_SNR_DB:.0f} dB are needed: "
            "nothing was written; do the weights hold values that float32 cannot carry?"
        )
    return snr
