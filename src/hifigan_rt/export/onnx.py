"""Writes a generator as an ONNX file that was run and compared before it got its name."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path

from hifigan_rt.config import MelConfig, PartialMelConfig
from hifigan_rt.engines import choose_engine
from hifigan_rt.errors import ExportError
from hifigan_rt.export.verification import ExportReport, verify_export
from hifigan_rt.formats.onnx_graph import DEFAULT_OPSET, build_onnx
from hifigan_rt.graph import Generator
from hifigan_rt.model.kinds import OnnxFile
from hifigan_rt.system.files import atomic_path, is_utf8
from hifigan_rt.system.temporary_names import remove_left_over


def export_onnx(
    generator: Generator,
    mel: MelConfig | PartialMelConfig | None,
    path: Path,
    *,
    opset: int = DEFAULT_OPSET,
    rank: int = 3,
    keep_channel: bool = False,
    source: str = "",
    speakers: Mapping[str, int] | None = None,
    verify: bool = True,
) -> ExportReport:
    """Write a generator as ONNX, check it and compare it with the reference.

    Args:
        generator, mel, opset, rank, keep_channel, source, speakers: see `hifigan_rt.formats.onnx_graph.build_onnx`.
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
    model = build_onnx(
        generator, mel, opset=opset, rank=rank, keep_channel=keep_channel, source=source, speakers=speakers
    )
    remove_left_over([path.parent])
    with atomic_path(path) as temporary:
        temporary.write_bytes(model.SerializeToString())
        del model  # as large as the file; verifying needs the room
        _check(temporary)
        snr = verify_export("onnxruntime", _as_model(temporary), generator) if verify else None
        size = temporary.stat().st_size
    return ExportReport(path, snr, size, time.perf_counter() - started)


def _as_model(path: Path) -> OnnxFile:
    return OnnxFile(path.name, path, "onnx")


def _check(path: Path) -> None:
    import onnx

    try:
        # By its bytes where the name is not UTF-8, which the checker cannot open.
        checked = os.fspath(path) if is_utf8(path) else path.read_bytes()
        onnx.checker.check_model(checked, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ExportError(f"the exported model is not valid ONNX: {error}") from error
