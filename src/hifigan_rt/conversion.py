"""Exports a model and proves the export: a file takes its name only after it computed what the reference computes.

This room is above both `export`, which builds the file, and `engines`, which run it.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hifigan_rt.config import MelConfig
from hifigan_rt.engines import choose_engine, create_engine
from hifigan_rt.engines.base import EngineOptions
from hifigan_rt.engines.reference import generate
from hifigan_rt.errors import ExportError
from hifigan_rt.export.onnx import DEFAULT_OPSET, build_onnx
from hifigan_rt.files import atomic_path
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


def export_onnx(
    generator: Generator,
    mel: MelConfig | None,
    path: Path,
    *,
    opset: int = DEFAULT_OPSET,
    rank: int = 3,
    keep_channel: bool = False,
    source: str = "",
    verify: bool = True,
) -> ExportReport:
    """Write a generator as ONNX, check it and compare it with the reference.

    Args:
        generator, mel, opset, rank, keep_channel, source: see `hifigan_rt.export.onnx.build_onnx`.
        path: the file to write; its name must end in .onnx, by which it is recognised later.
        verify: run the written file in ONNX Runtime and compare it with the float64 reference.

    Raises:
        ExportError: an argument is not offered, or the file does not compute what the reference computes.
        EngineUnavailable: ONNX Runtime, which verifies, is not installed.
        OutputError: the file could not be written.
    """
    started = time.perf_counter()
    if path.suffix.lower() != ".onnx":
        raise ExportError(f"output {str(path)!r} must end in .onnx: the model is recognised by it when it is loaded")
    if verify:
        choose_engine("onnxruntime")
    model = build_onnx(generator, mel, opset=opset, rank=rank, keep_channel=keep_channel, source=source)
    with atomic_path(path) as temporary:
        temporary.write_bytes(model.SerializeToString())
        del model  # as large as the file; verifying needs the room
        _check(temporary)
        snr = verify_onnx(temporary, generator) if verify else None
        size = temporary.stat().st_size
    return ExportReport(path, snr, size, time.perf_counter() - started)


def verify_onnx(path: Path, generator: Generator) -> float:
    """Run an ONNX file as a user would, and compare it with the reference on a random mel of 32 frames.

    Returns:
        The signal-to-noise ratio in dB.

    Raises:
        ExportError: it is below 90 dB, or the lengths differ.
        EngineError: ONNX Runtime cannot run the file.
    """
    rng = np.random.default_rng(0)
    shape = (1, generator.graph.num_mels, VERIFICATION_FRAMES)
    mel = rng.uniform(_QUIETEST, _LOUDEST, shape).astype(np.float32)
    subject = Model(path.name, path, "onnx", None, path, None)
    engine = create_engine("onnxruntime", subject, EngineOptions())
    try:
        audio = engine.run(mel)[0]
    finally:
        engine.close()
    del engine  # frees the session before the reference widens the weights to float64
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


def _check(path: Path) -> None:
    import onnx

    try:
        onnx.checker.check_model(os.fspath(path), full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ExportError(f"the exported model is not valid ONNX: {error}") from error
