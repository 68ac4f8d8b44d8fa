"""Compares an exported file, run as a user would run it, with the float64 reference."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hifigan_rt.audio.signal_metrics import snr_db
from hifigan_rt.engines import create_engine
from hifigan_rt.engines.base import EngineOptions
from hifigan_rt.engines.conditioning import ConditioningRule
from hifigan_rt.engines.reference import generate
from hifigan_rt.errors import ExportError
from hifigan_rt.graph import Generator
from hifigan_rt.mel.analysis import random_mel
from hifigan_rt.mel.check import CheckedMel
from hifigan_rt.model.kinds import Model

VERIFICATION_FRAMES = 32
"""More than the reach of V1, 13 frames to each side, so that there is an interior beside the two ends."""

LOWEST_SNR_DB = 90.0
"""float32 gives 100 dB and more on real weights; a wrong slope, a shifted tap or float16 stay far below 90."""


@dataclass(frozen=True)
class ExportReport:
    """What was written."""

    path: Path
    snr_db: float | None
    """Against the float64 reference on a random mel; None if it was not verified."""
    size_bytes: int
    seconds: float
    """Seconds for everything, verification included."""


def verify_export(
    engine_name: str,
    model: Model,
    generator: Generator,
    *,
    batch: int = 1,
    frames: int = VERIFICATION_FRAMES,
    lowest_snr_db: float = LOWEST_SNR_DB,
) -> float:
    """Run a converted file in an engine, and compare it with the reference on a random mel.

    Args:
        engine_name: what runs it.
        model: the file.
        generator: what it was made from.
        batch, frames: what a file of a fixed shape takes. The first item is compared, and of a long one the first 32
            frames, since the reference is slow; the rest is the same layers again.
        lowest_snr_db: below which the file is refused.

    Returns:
        The signal-to-noise ratio in dB.

    Raises:
        ExportError: it is below the limit, or the lengths differ.
        EngineError: the engine cannot run the file.
    """
    graph = generator.graph
    frames = max(frames, graph.least_frames)
    mel = random_mel((batch, graph.num_mels, frames))
    engine = create_engine(engine_name, model, EngineOptions())
    try:
        beside = engine.conditioning.example(batch)
        audio = engine.run(CheckedMel(mel), beside)[0]
    finally:
        engine.close()
    del engine  # frees what it holds before the reference widens the weights to float64
    if audio.shape != (graph.output_length(frames),):
        raise ExportError(
            f"the exported model gives {audio.size} samples for {frames} frames, the reference "
            f"{graph.output_length(frames)}: nothing was written"
        )
    vector = ConditioningRule.of_generator(generator).check(beside, batch)
    expected = _beginning(generator, mel[0], None if vector is None else vector[0])
    snr = snr_db(expected, audio[: expected.size])
    if not snr >= lowest_snr_db:
        raise ExportError(
            f"the exported model is {snr:.1f} dB from the reference, at least {lowest_snr_db:.0f} dB are needed: "
            "nothing was written; do the weights hold values that its precision cannot carry?"
        )
    return snr


def _beginning(generator: Generator, mel: np.ndarray, conditioning: np.ndarray | None) -> np.ndarray:
    """The reference's samples, as far as the first 32 frames and what they need ahead determine them."""
    field = generator.graph.receptive_field
    needed = max(VERIFICATION_FRAMES, generator.graph.least_frames) + field.right_frames
    if mel.shape[1] <= needed:
        return generate(generator, mel, conditioning)
    end = needed * generator.graph.hop_length + field.first_sample
    return generate(generator, mel[:, :needed], conditioning)[:end]
